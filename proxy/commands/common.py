"""What the commands share: loading the configuration, and telling what is wrong."""

import os
import sys
from itertools import islice
from pathlib import Path
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from proxy.config import Config, ConfigError, load_config, locate
from proxy.config.environment import CONFIG, SHOP, mistyped
from proxy.config.files import closest, is_there, shown
from proxy.config.location import DEFAULT
from proxy.config.sharing import secrets_of
from proxy.telemetry.redaction import SHORTEST_TOKEN, Redactor

_TOO_SHORT = (
    f"a platform grants tokens of fewer than {SHORTEST_TOKEN} characters: they are used, but not hidden in the log"
)


_SIMILAR = 0.8  # of 1: nearly the same name
_MOST_FILES = 1000  # of a directory that are looked at


class Conceal(Protocol):
    """Keeps a token out of the log until some time after its `lifetime` in seconds, `None` if not known."""

    def __call__(self, token: str, lifetime: float | None = None) -> None: ...


def read_config(named: Path | None) -> Config | None:
    """Return the configuration; if it has problems, print them and return `None`.

    `named` is the file that the command line names, if it does.
    """
    path = named
    try:
        path = locate(named, os.environ)
        if path is None and is_there(DEFAULT):
            complain(f"warning: {DEFAULT} is not read, because {SHOP} is set; to use it, name it with --config")
        config = load_config(path, os.environ)
    except ConfigError as error:
        count = len(error.problems)
        named_there = named is None and CONFIG in os.environ
        where = "" if path is None else f" (file {shown(path)}{', named by ' + CONFIG if named_there else ''})"
        complain(f"the configuration has {'a problem' if count == 1 else f'{count} problems'}{where}:")
        for problem in error.told:
            print(f"  {problem}", file=sys.stderr)
        for line in error.excerpt:
            print(f"      {line}", file=sys.stderr)
        if path is None and SHOP not in os.environ and (similar := _similar_file()):
            print(
                f"  {similar} is here, but only {DEFAULT} is read: rename it, or name it with --config", file=sys.stderr
            )
        return None
    for sentence in mistyped(os.environ, config.variables):
        complain(f"warning: {sentence}")
    return config


def _similar_file() -> str | None:
    """Return the file that was probably meant for the configuration: Notepad saves config.toml.txt."""
    try:
        with os.scandir() as entries:
            files = [
                each.name for each in islice(entries, _MOST_FILES) if "toml" in each.name.lower() and each.is_file()
            ]
            meant = closest(str(DEFAULT), files, cutoff=_SIMILAR)
    except OSError:
        return None
    return meant and shown(Path(meant))


def complain(sentence: str) -> None:
    """Tell the user what is wrong."""
    print(f"shop-auth-proxy: {sentence}", file=sys.stderr)


def redactor_for(config: Config) -> Redactor:
    """Return what keeps the configured secrets out of the log."""
    redactor = Redactor()
    learn_secrets(redactor, config)
    return redactor


def learn_secrets(redactor: Redactor, config: Config) -> None:
    """Keep the secrets of this configuration out of the log too."""
    for credentials in config.shops.all_credentials():
        redactor.add(credentials.client_secret.reveal())
    for client in config.clients.values():
        if client.secret is not None:
            redactor.add(client.secret.reveal())
    for proxy in (config.upstream.proxy, *(platform.proxy for platform in config.platforms.values())):
        if proxy is not None and proxy.password is not None:
            redactor.add(proxy.password.reveal())
    for text in secrets_of(config.shared):
        redactor.add(text)


def concealer(redactor: Redactor, log: FilteringBoundLogger) -> Conceal:
    """Return what keeps tokens out of the log; it warns once of a token that is too short to be hidden."""
    warned = False

    def conceal(token: str, lifetime: float | None = None) -> None:
        nonlocal warned
        if not redactor.add_transient(token, lifetime) and not warned:
            warned = True
            log.warning("token.not_hidden", characters=len(token), why=_TOO_SHORT)

    return conceal
