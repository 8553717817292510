"""What the contenders are given: the upstream's page, this proxy's configuration, what a command line names."""

import json
from pathlib import Path

import pytest

from benchmarks.compare import ours
from benchmarks.compare.contender import CLIENT, Setup
from benchmarks.compare.envoy import contenders as envoys
from benchmarks.compare.starting import imports_in
from benchmarks.compare.upstream import LINKS, page
from proxy.config import load_config


def setup(folder: Path, ca: Path | None = None) -> Setup:
    return Setup(folder, port=8080, admin_port=9090, upstream=9000, ca=ca)


def test_the_page_has_as_many_links_and_bytes_as_is_said() -> None:
    body = page("http://127.0.0.1:9000/api", 5)

    assert body.count(b"http:\\/\\/127.0.0.1:9000\\/api\\/") == LINKS == 34
    assert round(len(body) / 1000, 1) == 5.4
    assert round(len(page("http://127.0.0.1:9000/api", 49)) / 1000) == 50
    assert json.loads(body)["items"][4]["innerId"] == "4"


@pytest.mark.parametrize("links", [True, False])
def test_this_proxy_runs_as_users_run_it(tmp_path: Path, links: bool) -> None:
    config = load_config(ours.configuration(setup(tmp_path), links=links), {})

    assert (config.server.port, config.admin.port, config.admin.enabled) == (8080, 9090, True)
    assert (config.logging.format, config.logging.level) == ("auto", "info")  # JSON, since it goes to a file
    assert list(config.clients) == [CLIENT]
    platform = config.platforms["bench"]
    assert (platform.rewrite_links, platform.rate_limit) == (links, None)


def test_a_command_gets_its_places_filled_in(tmp_path: Path) -> None:
    contender = ours.command("floor=python 'a b.py' {port} --to={upstream} {log}")

    assert (contender.name, contender.kind) == ("floor", "extra")
    assert contender.command(setup(tmp_path)) == ["python", "a b.py", "8080", "--to=9000", str(tmp_path / "lines")]


def test_another_checkout_is_run_with_what_is_installed_there(tmp_path: Path) -> None:
    script = tmp_path / ".venv" / "bin" / "shop-auth-proxy"
    script.parent.mkdir(parents=True)
    script.touch()

    plain, links = ours.checkout(f"before={tmp_path}")

    assert (plain.name, plain.kind) == ("before", "ours")
    assert (links.name, links.kind) == ("before, links rewritten", "ours, rewriting")
    assert plain.command(setup(tmp_path))[:2] == [script, "serve"]


@pytest.mark.parametrize("option", ["before", "=x", "before=", "before=/nowhere"])
def test_a_checkout_that_can_not_be_run_is_refused_with_what_to_do(option: str) -> None:
    with pytest.raises(ValueError, match=r"write NAME=DIR; DIR must hold \.venv/bin/shop-auth-proxy"):
        ours.checkout(option)


@pytest.mark.parametrize("option", ["floor", "=x", "floor="])
def test_a_command_without_a_name_or_nothing_to_run_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match="write NAME=COMMAND"):
        ours.command(option)


def test_envoy_has_the_same_duties_only_where_that_is_said(tmp_path: Path) -> None:
    def duties(index: int) -> tuple[bool, bool]:
        envoys(Path("envoy"))[index].command(setup(tmp_path))
        text = (tmp_path / "envoy.json").read_text()
        return "filters.http.basic_auth" in text, "access_loggers.file" in text

    assert (duties(0), duties(1)) == ((False, False), (True, True))


def test_modules_and_their_time_are_counted_in_what_python_writes() -> None:
    log = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       150 |        150 |   _io\n"
        "import time:      1850 |       2000 | aiohttp\n"
        '{"event":"proxy.started"}\n'
    )

    assert imports_in(log) == (2, 2.0)
