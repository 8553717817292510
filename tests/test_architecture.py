"""Holds the plan of the house: who may import whom, a test file per module, no long file, none without a docstring.

Each check takes a source tree and returns sentences that say what is wrong and what to do about it. They run on the
real tree first, then on small trees made for the purpose, since a check that finds nothing proves nothing.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 300

# A room is a file or a folder right under proxy/. What stands beside it is what it may import, besides itself.
# cli → commands → app → admin, forwarding → tokens, links, wire → guards → shared, platforms → errors; a room may skip
# steps on its way down. wire and links know neither each other nor guards and tokens, and wire knows no platform, nor
# does shared, which guards and tokens use.
GROUND = frozenset({"__init__", "certificate", "errors", "files", "secret", "threads"})
SERVING = GROUND | {"guards", "tokens", "platforms", "tasks"}
MAY_IMPORT: dict[str, frozenset[str]] = {
    "__init__": frozenset(),
    "__main__": frozenset({"cli"}),
    "cli": frozenset({"__init__", "commands"}),
    "commands": SERVING | {"app", "config", "simulator", "systemd", "shared"},
    "app": SERVING | {"config", "admin", "forwarding", "wire", "links", "systemd", "shared"},
    "config": GROUND | {"platforms"},  # known by app and commands alone: others get the values they need
    "admin": SERVING | {"wire"},
    "forwarding": SERVING | {"wire", "links"},
    "wire": GROUND | {"tasks"},
    "links": GROUND | {"platforms"},
    "guards": GROUND | {"platforms", "shared"},
    "tokens": GROUND | {"guards", "platforms", "shared", "tasks"},
    "shared": frozenset({"tasks"}),
    "platforms": GROUND,
    "errors": frozenset({"__init__"}),
    "certificate": frozenset({"files"}),
    "files": frozenset(),
    "secret": frozenset(),
    "systemd": frozenset(),
    "tasks": frozenset(),
    "threads": frozenset(),
    "telemetry": frozenset({"secret"}),  # used by all, uses none
    "simulator": frozenset(),  # so that it can't share the proxy's mistakes
}
WITHOUT_TELEMETRY = (GROUND - {"errors"}) | {"__main__", "simulator", "systemd", "tasks"}


def modules(root: Path) -> list[Path]:
    """Every module under proxy/, relative to root."""
    return sorted(path.relative_to(root) for path in (root / "proxy").rglob("*.py"))


def room_of(module: Path) -> str:
    return module.parts[1].removesuffix(".py")


def imported_rooms(module: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and the room of every import from proxy, wherever it stands: in functions and for type checking too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(module.parent.parts[: len(module.parent.parts) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, [package, node.module]))
            names = [f"{origin}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, *rest = name.split(".")
            if head == "proxy":
                # What is no room is a name that proxy/__init__.py defines: `from proxy import __version__`.
                yield node.lineno, rest[0] if rest and rest[0] in MAY_IMPORT else "__init__"


def forbidden_imports(root: Path) -> list[str]:
    problems = []
    for module in modules(root):
        room = room_of(module)
        if room not in MAY_IMPORT:
            problems.append(f"{module}: proxy/{room} is no room of the plan; put it into one, or add it to MAY_IMPORT")
            continue
        allowed = MAY_IMPORT[room] | {room} | (set() if room in WITHOUT_TELEMETRY else {"telemetry"})
        for line, imported in imported_rooms(module, ast.parse((root / module).read_bytes())):
            if imported not in allowed:
                problems.append(
                    f"{module}:{line}: {room} must not import {imported}, only {', '.join(sorted(allowed - {room}))};"
                    f" move the code, or hand the value in from above"
                )
    return problems


def modules_without_tests(root: Path) -> list[str]:
    problems = []
    for module in modules(root):
        if module.name in {"__init__.py", "__main__.py"}:
            continue
        test_file = Path("tests", *module.parts[1:-1], f"test_{module.name}")
        if not (root / test_file).is_file():
            problems.append(f"{module}: has no test file; write {test_file}")
        elif not has_tests(ast.parse((root / test_file).read_bytes())):
            problems.append(f"{test_file}: has no test in it; write one for {module}")
    return problems


def has_tests(tree: ast.Module) -> bool:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(node, functions) and node.name.startswith("test") for node in ast.walk(tree))


def long_files(root: Path) -> list[str]:
    counted = [(module, len((root / module).read_bytes().splitlines())) for module in modules(root)]
    return [
        f"{module}: has {count} lines, {MAX_LINES} are allowed; split it by what its parts are about"
        for module, count in counted
        if count > MAX_LINES
    ]


def modules_without_docstring(root: Path) -> list[str]:
    return [
        f"{module}: has no docstring; open it with what it is for"
        for module in modules(root)
        if not ast.get_docstring(ast.parse((root / module).read_bytes()))
    ]


CHECKS = [forbidden_imports, modules_without_tests, long_files, modules_without_docstring]


@pytest.mark.parametrize("check", CHECKS)
def test_the_source_tree_keeps_to_the_plan(check: Callable[[Path], list[str]]) -> None:
    found = {module.as_posix() for module in modules(ROOT)}
    assert {"proxy/__init__.py", "proxy/platforms/platform.py"} <= found, "the checks look at the wrong folder"

    problems = check(ROOT)

    assert not problems, "\n" + "\n".join(problems)


# The checks themselves


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("commands/serve.py", "from proxy.app import serve"),
        ("commands/demo.py", "import proxy.simulator.shoprenter"),
        ("__main__.py", "from proxy.cli import main"),
        ("app.py", "from proxy import config, errors"),
        ("forwarding/forwarder.py", "from proxy.errors import ProxyError"),  # steps may be skipped downwards
        ("forwarding/forwarder.py", "from proxy.forwarding import fields"),
        ("forwarding/forwarder.py", "from . import fields"),
        ("forwarding/relay.py", "from proxy.links.body_editor import BodyEditor"),
        ("wire/client.py", "from proxy.errors import ProxyError"),
        ("wire/listener.py", "from proxy.tasks import BackgroundTasks"),
        ("links/api_links.py", "from proxy.platforms.url_prefix import parse_prefix"),
        ("tokens/cache.py", "from ..platforms.platform import Platform"),
        ("tokens/cache.py", "from proxy.telemetry.logs import log"),
        ("tokens/cache.py", "from proxy import __version__"),
        ("telemetry/logs.py", "from proxy.telemetry import metrics"),
        ("simulator/toss.py", "from .shoprenter import Shop"),
        ("simulator/toss.py", "import proxyfoo.tokens"),
        ("tokens/sharing.py", "from proxy.shared.store import SharedStore"),
        ("errors.py", "import asyncio"),
    ],
)
def test_an_import_along_the_plan_passes(tmp_path: Path, module: str, line: str) -> None:
    write(tmp_path, f"proxy/{module}", line)

    assert forbidden_imports(tmp_path) == []


@pytest.mark.parametrize(
    ("module", "line", "imported"),
    [
        ("app.py", "import proxy.cli", "cli"),
        ("app.py", "from proxy.simulator import shoprenter", "simulator"),
        ("admin/status.py", "from proxy.forwarding.forwarder import Forwarder", "forwarding"),
        ("forwarding/forwarder.py", "from proxy.config import Config", "config"),
        ("forwarding/forwarder.py", "from proxy import errors, app", "app"),
        ("wire/body.py", "from proxy.links.api_links import LinkMap", "links"),
        ("wire/listener.py", "from proxy.guards.connections import ConnectionGuard", "guards"),
        ("wire/dialing.py", "from proxy.platforms.egress_proxy import EgressProxy", "platforms"),
        ("wire/client.py", "if TYPE_CHECKING:\n    from proxy.forwarding.forwarder import Forwarder", "forwarding"),
        ("links/requests.py", "from proxy.wire.head import Head", "wire"),
        ("links/answers.py", "from proxy.forwarding.exchange import Exchange", "forwarding"),
        ("guards/connections.py", "from proxy.wire.client import ClientConnection", "wire"),
        ("guards/access.py", "from ..tokens.cache import TokenCache", "tokens"),
        ("guards/access.py", "from .. import tokens", "tokens"),
        ("shared/store.py", "from proxy.tokens.state import TokenState", "tokens"),
        ("forwarding/forwarder.py", "from proxy.shared.store import SharedStore", "shared"),
        ("platforms/platform.py", "if TYPE_CHECKING:\n    from proxy.tokens.token import AccessToken", "tokens"),
        ("platforms/platform.py", "def late() -> None:\n    import proxy.guards.pacing", "guards"),
        ("errors.py", "from .platforms import platform", "platforms"),
        ("telemetry/logs.py", "from proxy.errors import ProxyError", "errors"),
        ("simulator/toss.py", "from proxy.telemetry.logs import log", "telemetry"),
        ("simulator/toss.py", "from proxy import __version__", "__init__"),
        ("simulator/toss.py", "import proxy", "__init__"),
        ("__main__.py", "from proxy.app import serve", "app"),
        ("__init__.py", "from .config import Config", "config"),
    ],
)
def test_an_import_against_the_plan_is_found(tmp_path: Path, module: str, line: str, imported: str) -> None:
    write(tmp_path, f"proxy/{module}", line)

    [problem] = forbidden_imports(tmp_path)

    assert problem.startswith(f"proxy/{module}:{1 + line.count(chr(10))}: ")
    assert f"must not import {imported}, " in problem


def test_a_room_that_the_plan_does_not_know_is_found(tmp_path: Path) -> None:
    write(tmp_path, "proxy/helpers/strings.py", "")

    [problem] = forbidden_imports(tmp_path)

    assert "proxy/helpers is no room of the plan" in problem


def test_only_app_and_commands_know_config_and_only_commands_know_the_simulator() -> None:
    assert {room for room, allowed in MAY_IMPORT.items() if "config" in allowed} == {"app", "commands"}
    assert {room for room, allowed in MAY_IMPORT.items() if "simulator" in allowed} == {"commands"}


def test_no_two_rooms_import_each_other() -> None:
    for room, allowed in MAY_IMPORT.items():
        assert all(room not in MAY_IMPORT[other] for other in allowed), room


def test_a_module_without_its_test_file_is_found(tmp_path: Path) -> None:
    write(tmp_path, "proxy/__init__.py", "")
    write(tmp_path, "proxy/__main__.py", "")
    write(tmp_path, "proxy/cli.py", "")
    write(tmp_path, "proxy/tokens/cache.py", "")
    write(tmp_path, "proxy/tokens/token.py", "")
    write(tmp_path, "proxy/tokens/store.py", "")
    write(tmp_path, "tests/tokens/test_token.py", "async def test_it(): ...")
    write(tmp_path, "tests/tokens/test_store.py", "import proxy.tokens.store")
    write(tmp_path, "tests/test_cache.py", "def test_it(): ...")  # not where it belongs

    assert modules_without_tests(tmp_path) == [
        "proxy/cli.py: has no test file; write tests/test_cli.py",
        "proxy/tokens/cache.py: has no test file; write tests/tokens/test_cache.py",
        "tests/tokens/test_store.py: has no test in it; write one for proxy/tokens/store.py",
    ]


def test_a_file_over_the_limit_is_found_and_one_at_the_limit_passes(tmp_path: Path) -> None:
    write(tmp_path, "proxy/at_limit.py", "x = 1\n" * MAX_LINES)
    write(tmp_path, "proxy/over.py", "x = 1\n" * (MAX_LINES + 1))

    assert long_files(tmp_path) == [
        "proxy/over.py: has 301 lines, 300 are allowed; split it by what its parts are about"
    ]


def test_a_module_without_a_docstring_is_found(tmp_path: Path) -> None:
    write(tmp_path, "proxy/tokens/__init__.py", "")
    write(tmp_path, "proxy/tokens/cache.py", '"""Holds tokens."""\n')
    write(tmp_path, "proxy/tokens/store.py", "# Holds tokens.\nx = 1\n")

    assert modules_without_docstring(tmp_path) == [
        "proxy/tokens/__init__.py: has no docstring; open it with what it is for",
        "proxy/tokens/store.py: has no docstring; open it with what it is for",
    ]


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
