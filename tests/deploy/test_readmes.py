"""What the pages for people point at is there."""

import re
import tomllib
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "Dockerfile"], ids=["README.md", "Dockerfile"])
def test_docker_mounts_folders_so_that_a_file_that_is_replaced_is_seen(page: Path) -> None:
    mounted = re.findall(r'-v "?([^\s":]+):([^\s":]+):ro', page.read_text(encoding="utf-8"))

    assert "/etc/shop-auth-proxy" in [target for _, target in mounted]
    assert not [target for _, target in mounted if Path(target).suffix]


def test_what_the_readme_says_of_docker_publishes_both_ports_and_listens_on_them() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^\$ docker run (?:.*\\\n)*.*", text, re.MULTILINE)
    [tables] = [
        tomllib.loads(block)
        for block in re.findall(r"^```toml\n(.*?)^```", text.split(command)[1].split("\n### ")[0], re.M | re.S)
    ]

    assert re.findall(r"-p (\S+)", command) == [
        f"127.0.0.1:{port}:{port}" for port in (ServerConfig().port, AdminConfig().port)
    ]
    assert tables == {"server": {"host": "", "allow_anonymous": True}, "admin": {"host": ""}}
