"""A setting that is not documented fails here; the settings come from the schema, so that none can be forgotten."""

import re
import textwrap
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from msgspec.structs import fields

from proxy.config import load_config
from proxy.config.environment import CONFIG, PREFIX, VARIABLES
from proxy.config.schema import NAMED_SECTIONS, SECTIONS, setting_names
from proxy.errors import ProxyError

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
OPERATING = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
TROUBLES = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "migrating-from-basic-auth.md").read_text(encoding="utf-8")
PLATFORMS = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*.md")])
THREATS = (ROOT / "THREAT_MODEL.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "config.example.toml").read_text(encoding="utf-8")
# The names that stand for NAME in the example.
AUTHORITY = trustme.CA()
EXAMPLE_NAMES = {"shops": "demo", "clients": "erp", "platforms": "mine"}


def without_comment_signs(text: str) -> str:
    """The example with every setting switched on: `#port = 8080` -> `port = 8080`; prose begins with `# `."""
    return re.sub(r"^#(?=[\[a-z])", "", text, flags=re.MULTILINE)


def at(document: dict[str, Any], path: str) -> Any:
    """What stands at a path such as `shops.demo.platform`; a KeyError says that nothing does."""
    value: Any = document
    for key in path.split("."):
        value = value[key]
    return value


def rows(text: str) -> list[tuple[list[str], str]]:
    """The rows of a text's Markdown tables: what stands between backticks in the first column, and the second one."""
    cells = [line.split("|") for line in text.splitlines() if line.startswith("|") and line.count("|") > 2]
    return [(re.findall(r"`([^`]+)`", first), second.strip()) for _, first, second, *_ in cells]


def defaults_in_tables(text: str, names: Iterable[str]) -> dict[str, str]:
    """What the tables say is the default of each setting; any name may stand for NAME. What they lack is left out."""
    patterns = {name: re.escape(name).replace("NAME", r'(?:[A-Za-z<>-]+|\*|"\*")') for name in names}
    return {
        name: default
        for spans, default in rows(text)
        for name, pattern in patterns.items()
        if any(re.fullmatch(pattern, span) for span in spans)
    }


def default_of(name: str) -> Any:
    """The default of a setting as TOML has it; None if there is none, or if it means that there is nothing."""
    section, *_, key = name.split(".")
    [field] = [field for field in fields({**SECTIONS, **NAMED_SECTIONS}[section]) if field.name == key]
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if default is msgspec.NODEFAULT:
        return None
    return list(default) if isinstance(default, tuple) else default


def names_variable(text: str, name: str) -> bool:
    """Whether a text names an environment variable, in full or as in `…_PORT`."""
    return re.search(rf"\b{name}\b|…_{name.removeprefix(PREFIX)}\b", text) is not None


def code_blocks(text: str, language: str) -> list[str]:
    """The contents of a text's fenced blocks in this language, without the indentation that a list gives them."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for block in found]


def cells_of_codes(text: str) -> list[tuple[list[int], list[str]]]:
    """The rows of the table of codes: the statuses, and the code."""
    found = re.findall(r"^\| (\d{3}(?:, \d{3})*) \| `(\w+)` \|", text, re.MULTILINE)
    return [([int(status) for status in statuses.split(", ")], [code]) for statuses, code in found]


def kinds_of_errors(kind: type[ProxyError] = ProxyError) -> set[type[ProxyError]]:
    """Every error that has a code."""
    below = {found for each in kind.__subclasses__() for found in kinds_of_errors(each)}
    return below | ({kind} if hasattr(kind, "code") else set())


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example as a file whose secrets are to be found."""
    (tmp_path / "demo").write_text("s3cret\n", encoding="utf-8")
    path = tmp_path / "config.toml"
    path.write_text(EXAMPLE.replace("/run/secrets", str(tmp_path)), encoding="utf-8")
    return path


def test_the_example_is_a_configuration_with_nothing_but_defaults(example: Path, tmp_path: Path) -> None:
    least = tmp_path / "least.toml"
    least.write_text(
        '[shops.demo]\nclient_id = "0123456789abcdef"\nclient_secret = { file = "demo" }\n', encoding="utf-8"
    )

    whole, small = (msgspec.structs.replace(load_config(path, {}), files={}) for path in (example, least))
    assert whole == small


def test_the_example_with_every_setting_switched_on_is_a_configuration(example: Path) -> None:
    text = without_comment_signs(example.read_text(encoding="utf-8"))
    # The files that would have to be real, and what stands for another setting.
    text = re.sub(r"^(ca_file|tls|secret_sha256) .*\n", "", text, flags=re.MULTILINE)
    (example.parent / "erp").write_text("s3cret-of-the-client\n", encoding="utf-8")
    example.write_text(text, encoding="utf-8")

    config = load_config(example, {"APP_SECRET": "s3cret", "REDIS_PASSWORD": "s3cret", "SHARED_KEY": "0f" * 32})

    assert config.shops.wildcard is not None
    assert "mine" in config.platforms
    assert "erp" in config.clients


@pytest.mark.parametrize("name", setting_names())
def test_a_setting_stands_in_the_example_with_its_default(name: str) -> None:
    document = tomllib.loads(without_comment_signs(EXAMPLE))
    default = default_of(name)

    try:
        shown = at(document, name.replace("NAME", EXAMPLE_NAMES.get(name.partition(".")[0], "")))
    except KeyError:
        pytest.fail(f"config.example.toml does not show {name}; add it with its default and a comment")

    if default is not None:
        assert shown == default, f"config.example.toml shows {shown!r} for {name}, the default is {default!r}"


@pytest.mark.parametrize("name", setting_names())
def test_a_setting_in_the_example_has_a_comment(name: str) -> None:
    key = name.rpartition(".")[2]
    lines = [line for line in EXAMPLE.splitlines() if re.match(rf"#?{key} = ", line)]

    assert any(re.search(r"  # \S", line) for line in lines), f"config.example.toml says nothing about {name}"


def test_every_setting_stands_in_the_table() -> None:
    missing = set(setting_names()) - defaults_in_tables(SETTINGS, setting_names()).keys()

    assert not missing, f"docs/settings.md has no table row that begins with: {', '.join(sorted(missing))}"


def test_the_table_names_no_setting_that_there_is_not() -> None:
    told = [spans[0] for spans, _ in rows(SETTINGS) if spans and "." in spans[0]]

    assert len(told) > 50
    assert set(told) <= set(setting_names())


@pytest.mark.parametrize("name", [name for name in setting_names() if default_of(name) is not None])
def test_a_default_in_the_table_is_the_real_one(name: str) -> None:
    told = defaults_in_tables(SETTINGS, setting_names()).get(name, "").strip("`")

    assert tomllib.loads(f"default = {told}") == {"default": default_of(name)}, f"docs/settings.md: look at {name}"


def test_every_variable_stands_in_the_settings() -> None:
    missing = [name for name in (*VARIABLES, CONFIG) if not names_variable(SETTINGS, name)]

    assert not missing, f"docs/settings.md does not name the environment variables {', '.join(missing)}"


def test_every_code_stands_with_its_statuses_among_the_troubles() -> None:
    told = {code[0]: statuses for statuses, code in cells_of_codes(TROUBLES)}

    assert told.keys() == {error.code for error in kinds_of_errors()}
    for error in kinds_of_errors():
        assert not hasattr(error, "status") or error.status in told[error.code], error.code


PLATFORM_SETTINGS = [name for name in setting_names() if name.startswith("platforms.")]


def test_every_setting_of_a_platform_stands_in_the_page_about_them_with_its_default() -> None:
    told = defaults_in_tables(PLATFORMS, PLATFORM_SETTINGS)

    assert set(PLATFORM_SETTINGS) == told.keys()
    for name in PLATFORM_SETTINGS:
        if (default := default_of(name)) is not None:
            assert tomllib.loads(f"default = {told[name].strip('`')}") == {"default": default}, name


def test_the_readme_is_short_and_says_first_where_it_runs_also_to_those_who_search_in_other_languages() -> None:
    lines = README.splitlines()

    assert len(lines) < 200
    assert all(word in " ".join(lines[2:4]) for word in ("Linux", "macOS", "Windows", "WSL 2", "Docker"))
    for heading in ("## Magyarul", "## 한국어"):
        part = README.split(f"{heading}\n")[1].split("\n## ")[0]
        assert len([line for line in part.splitlines() if line]) <= 10


def test_the_readme_uses_no_command_before_it_says_how_to_install_it() -> None:
    before, _ = README.split("## Install it")

    assert "shop-auth-proxy" not in before


@pytest.mark.parametrize(
    "block", [each for text in (README, GUIDE, OPERATING, PLATFORMS) for each in code_blocks(text, "toml")]
)
def test_a_piece_of_configuration_in_the_documentation_is_valid(block: str, tmp_path: Path) -> None:
    for name in ("demo", "demo.secret"):
        (tmp_path / name).write_text("s3cret\n", encoding="utf-8")
    certificate = AUTHORITY.issue_cert("proxy.example")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    path = tmp_path / "config.toml"
    shop = "" if "[shops." in block else '[shops.demo]\nclient_id = "0123456789abcdef"\nclient_secret = "s3cret"\n'
    path.write_text(block.replace("/run/secrets", str(tmp_path)) + shop, encoding="utf-8")

    assert "demo" in load_config(path, {}).shops.named


def test_the_guide_has_the_configuration_in_four_lines() -> None:
    whole, *_ = code_blocks(GUIDE, "toml")

    assert len(whole.splitlines()) == 4
    assert "[shops.demo]" in whole


def test_the_guide_tells_the_codes_and_statuses_that_there_are() -> None:
    told = {match[0] for spans, _ in rows(GUIDE) for span in spans if (match := re.fullmatch(r"\d{3} [a-z_]+", span))}
    real = {f"{error.status} {error.code}" for error in kinds_of_errors() if hasattr(error, "status")}

    assert {"404 unknown_shop", "502 token_refused", "503 paced_out"} <= told
    assert told <= real


def test_the_guide_aliases_only_the_old_hosts() -> None:
    blocks = [*code_blocks(GUIDE, "text"), *code_blocks(GUIDE, "yaml")]
    lines = [re.findall(r"[a-z0-9.-]+\.(?:hu|net)", block) for block in blocks]

    assert lines == [["demo.api.myshoprenter.hu", "demo.api.shoprenter.hu"]] * 2


def missing_tests(text: str) -> list[str]:
    """The tests that a text names and that do not exist."""
    return [
        f"{file}::{name}"
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
        if not (ROOT / file).is_file() or not re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(), re.M)
    ]


def test_every_threat_names_tests_that_exist() -> None:
    threats = [line for line in THREATS.splitlines() if line.startswith("| ") and line.count("|") == 4]
    told = [line for line in threats if not line.startswith(("| ---", "| what they", "| | may", "| **"))]

    assert len(told) >= 25
    assert [line for line in told if "`tests/" not in line] == []
    assert missing_tests(THREATS) == []
    assert missing_tests("`tests/test_docs.py::test_nothing`, `tests/nowhere.py::test_x`") == [
        "tests/test_docs.py::test_nothing",
        "tests/nowhere.py::test_x",
    ]


def anchors(text: str) -> set[str]:
    """Where a link into a Markdown text may lead: its headings, in lower case, with hyphens for blanks."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_a_link_leads_to_a_file_and_to_a_heading_in_it(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    wrong = []
    for link in links:
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if "://" not in link and (
            not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8")))
        ):
            wrong.append(link)

    assert wrong == []


def test_the_readme_leads_to_the_threats_and_to_where_to_report() -> None:
    assert "](THREAT_MODEL.md)" in README
    assert "](SECURITY.md)" in README


def test_a_setting_that_the_table_lacks_is_found() -> None:
    table = """
    Not in a table: `server.port`.
| setting | default | meaning |
| --- | --- | --- |
| `server.host` | `"127.0.0.1"` | beside `server.drain_timeout` |
| `shops.<name>.client_id`, `shops.*.client_secret` | | |
| `shops."*".platform` | | |
"""
    names = ["server.host", "server.port", "server.drain_timeout", "shops.NAME.client_id", "shops.NAME.client_secret"]

    assert defaults_in_tables(table, [*names, "shops.NAME.platform", "shops.NAME.shop_name"]) == {
        "server.host": '`"127.0.0.1"`',
        "shops.NAME.client_id": "",
        "shops.NAME.client_secret": "",
        "shops.NAME.platform": "",
    }
