"""What the pages for people point at is there."""

import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from proxy.commands.arguments import make_parser, parse
from proxy.config import load_config, locate
from proxy.config.schema import AdminConfig, ServerConfig
from tests.deploy.places import DEPLOY, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(DEPLOY.rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    paths = re.findall(r"\bdeploy/[\w./-]+\w", text)

    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert not missing


OPERATING = ROOT / "docs" / "operating.md"


@pytest.mark.parametrize("page", [OPERATING, ROOT / "Dockerfile"], ids=["operating.md", "Dockerfile"])
def test_docker_mounts_folders_so_that_a_file_that_is_replaced_is_seen(page: Path) -> None:
    mounted = re.findall(r'-v "?([^\s":]+):([^\s":]+):ro', page.read_text(encoding="utf-8"))

    assert "/etc/shop-auth-proxy" in [target for _, target in mounted]
    assert not [target for _, target in mounted if Path(target).suffix]


def docker_runs(page: Path) -> list[str]:
    """The commands of a page that run a container, each on one line."""
    found = re.findall(r"^\$ (docker run (?:.*\\\n)*.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [command.replace("\\\n", " ") for command in found]


def test_what_is_said_of_docker_publishes_both_ports_and_listens_on_them() -> None:
    text = OPERATING.read_text(encoding="utf-8")
    [command] = [each for each in docker_runs(OPERATING) if " -p " in each]
    [tables] = [
        tomllib.loads(block)
        for block in re.findall(r"^```toml\n(.*?)^```", text.split("## With Docker")[1].split("\n## ")[0], re.M | re.S)
    ]

    assert re.findall(r"-p (\S+)", command) == [
        f"127.0.0.1:{port}:{port}" for port in (ServerConfig().port, AdminConfig().port)
    ]
    assert tables == {"server": {"host": "", "allow_anonymous": True}, "admin": {"host": ""}}


def test_the_line_of_the_readme_without_a_file_is_a_whole_configuration() -> None:
    [command] = docker_runs(ROOT / "README.md")
    words = shlex.split(command)
    given = [word for flag, word in pairwise(words) if flag == "-e"]
    environ = {name: value if equals else "a-s3cret-from-the-shell" for name, equals, value in map(split, given)}

    config = load_config(locate(None, environ), environ)

    assert config.server == ServerConfig(host="", allow_anonymous=True)
    assert f"127.0.0.1:{config.server.port}:{config.server.port}" in words
    assert words[-1] == "shop-auth-proxy"  # what it is to do, the image knows
    assert list(config.shops.named) == ["demo"]


def split(word: str) -> tuple[str, str, str]:
    return word.partition("=")


def test_the_demo_in_a_container_listens_where_its_ports_are_published() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [command] = re.findall(r"`(docker run [^`]+ demo [^`]+)`", text)
    words = shlex.split(command)

    options = parse(make_parser(), words[words.index("shop-auth-proxy") + 1 :])

    assert (options.command, options.host) == ("demo", "")
    assert [word for flag, word in pairwise(words) if flag == "-p"] == ["8080:8080", "9090:9090"]
