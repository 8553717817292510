"""This proxy as users run it, and other checkouts of it; and whatever else a command line names.

As users run it: `shop-auth-proxy serve` with its log in JSON to a file, metrics on, and HTTP Basic checked. There is no
pacing, since the platform is one of the configuration's own, which names none.
"""

import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.compare.contender import CLIENT, PASSWORD, Contender, Setup

NAME = "this proxy"
WITH_LINKS = ", links rewritten"

_ROOT = Path(__file__).parent.parent.parent
_ENVIRONMENT = _ROOT / "benchmarks" / ".cache" / "proxy"
_LOCKS = [_ROOT / "requirements.lock", _ROOT / "requirements-build.lock"]

_CONFIGURATION = """
[server]
port = {port}
max_connections = 6000

[admin]
port = {admin_port}

[upstream]
{trust}

[tokens]
first_requests_per_second = 1000.0  # so that a thousand shops are warm at once

[clients.{client}]
secret = "{password}"

[shops.demo]
platform = "bench"
client_id = "bench"
client_secret = "bench-secret"

[shops."*"]
platform = "bench"
client_id = "bench"
client_secret = "bench-secret"

[platforms.bench]
token_url = "{origin}/token/{{shop}}"
api_url = "{origin}/api/"
rewrite_links = {links}
allow_private = true
"""


def configuration(setup: Setup, *, links: bool = False) -> Path:
    """Write the proxy's configuration, and return where it is."""
    text = _CONFIGURATION.format(
        **setup._asdict(),
        origin=setup.origin,
        trust=f'ca_file = "{setup.ca}"' if setup.ca else "",
        client=CLIENT,
        password=PASSWORD,
        links=str(links).lower(),
    )
    return setup.write("config.toml", text)


def contenders() -> list[Contender]:
    """Return the proxy of this checkout, without and with rewriting of links."""
    return _both(NAME, _installed())


def checkout(option: str) -> list[Contender]:
    """Return the same of another checkout, `NAME=DIR`, with what is installed in the `.venv` there."""
    name, _, directory = option.partition("=")
    script = Path(directory).resolve() / ".venv" / "bin" / "shop-auth-proxy"
    if not (name and directory and script.exists()):
        raise ValueError(f"{option}: write NAME=DIR; DIR must hold .venv/bin/shop-auth-proxy (make demo makes it)")
    return _both(name, script)


def command(option: str) -> Contender:
    """Return a contender from `NAME=COMMAND`; {port}, {upstream}, {folder} and {log} (a file's name) are put in."""
    name, _, text = option.partition("=")
    if not (name and text):
        raise ValueError(f"{option}: write NAME=COMMAND")

    def filled_in(setup: Setup) -> list[str | Path]:
        places = {"port": setup.port, "upstream": setup.upstream, "folder": setup.folder, "log": setup.folder / "lines"}
        return [part.format(**places) for part in shlex.split(text)]

    return Contender(name, filled_in, "extra")


def _installed() -> Path:
    """Return the command in an environment with what users have: the development tools make start and memory larger."""
    script = _ENVIRONMENT / "bin" / "shop-auth-proxy"
    if not script.exists() or script.stat().st_mtime < max(lock.stat().st_mtime for lock in _LOCKS):
        print("installing this checkout into", _ENVIRONMENT, flush=True)
        python = _ENVIRONMENT / "bin" / "python"
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"]
        subprocess.run([sys.executable, "-m", "venv", "--clear", _ENVIRONMENT], check=True)
        locked = [part for lock in _LOCKS for part in ("-r", lock)]
        subprocess.run([*pip, "--require-hashes", *locked], check=True)
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--editable", _ROOT], check=True)
    return script


def _both(name: str, script: Path) -> list[Contender]:
    def serve(setup: Setup, *, links: bool) -> list[str | Path]:
        return [script, "serve", "--config", configuration(setup, links=links)]

    return [
        Contender(name, partial(serve, links=False), "ours"),
        Contender(name + WITH_LINKS, partial(serve, links=True), "ours, rewriting"),
    ]
