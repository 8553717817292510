"""`init`, as a process and at a terminal: what it writes, with which modes, and what it never does."""

import io
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.cli import main
from tests.commands.processes import Ended, Terminal, ran

Run = Callable[..., Ended]

SECRET = "0a1b2c3d4e5f6071"
GIVEN = ("--shop", "demo", "--client-id", "demo-client-1")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `init` in an empty directory, with a text on stdin."""
    monkeypatch.chdir(tmp_path)

    def init(*arguments: str, stdin: str = SECRET) -> Ended:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        status = main(["init", *arguments])
        return Ended(status, *capsys.readouterr())

    return init


def shop_in(directory: Path) -> dict[str, object]:
    document = tomllib.loads((directory / "config.toml").read_text())
    assert set(document) == {"shops"}
    [(name, shop)] = document["shops"].items()
    return {"name": name, **shop}


async def test_by_options_it_writes_a_configuration_and_a_secret_for_its_owner_alone(tmp_path: Path) -> None:
    ended = await ran("init", *GIVEN, "--offline", directory=tmp_path, stdin=f"{SECRET}\n".encode())

    assert (ended.status, ended.stderr) == (0, "")
    assert shop_in(tmp_path) == {
        "name": "demo",
        "platform": "shoprenter",
        "client_id": "demo-client-1",
        "client_secret": {"file": "demo.secret"},
    }
    assert (tmp_path / "demo.secret").read_text() == f"{SECRET}\n"
    assert (tmp_path / "demo.secret").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "demo.secret"]
    assert "http://localhost:8080/demo/" in ended.stdout
    assert "The configuration is valid: 1 shop." in ended.stdout
    assert SECRET not in ended.stdout + (tmp_path / "config.toml").read_text()


@pytest.mark.parametrize("checked", [0, 1])
def test_it_checks_what_it_wrote_and_says_how_to_go_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checked: int
) -> None:
    seen: list[Path] = []

    async def check(path: Path, *, offline: bool) -> int:  # the real one would ask the real platform
        assert not offline
        seen.append(path)
        return checked

    monkeypatch.setattr("proxy.commands.init.check", check)

    ended = run(*GIVEN)

    assert (ended.status, ended.stderr, seen) == (checked, "", [Path("config.toml")])
    assert ended.stdout.endswith("Run it: shop-auth-proxy serve\n")
    assert ("When that is fixed: shop-auth-proxy check\n" in ended.stdout) == bool(checked)
    assert ("give your application: http://localhost:8080/demo/\n" in ended.stdout) == bool(checked)
    assert (tmp_path / "config.toml").exists()
    assert SECRET not in ended.stdout


def test_a_secret_that_is_in_a_file_already_is_named_where_it_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "own").write_text(SECRET)
    (tmp_path / "elsewhere").write_text(SECRET)
    config = ("--config", "conf/config.toml", "--offline", "--platform", "toss-shopping")

    run(*GIVEN, *config, "--client-secret-file", "conf/own")
    inside = shop_in(tmp_path / "conf")
    (tmp_path / "conf" / "config.toml").unlink()
    ended = run(*GIVEN, *config, "--client-secret-file", "elsewhere")

    assert (ended.status, ended.stderr) == (0, "")
    assert (inside["client_secret"], inside["platform"]) == ({"file": "own"}, "toss-shopping")
    assert shop_in(tmp_path / "conf")["client_secret"] == {"file": str(tmp_path / "elsewhere")}
    assert "shop-auth-proxy serve --config conf/config.toml" in ended.stdout
    assert sorted(path.name for path in (tmp_path / "conf").iterdir()) == ["config.toml", "own"]


@pytest.mark.parametrize("there", ["config.toml", "demo.secret"])
def test_nothing_is_overwritten_and_nothing_is_left_half_done(run: Run, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")

    ended = run(*GIVEN, "--offline")

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"shop-auth-proxy: {there} exists, and init overwrites nothing: ")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]


@pytest.mark.parametrize(
    ("arguments", "stdin", "told"),
    [
        ((), "", "without a terminal, --shop and --client-id must be given"),
        (("--shop", "demo"), "", "without a terminal, --client-id must be given"),
        (GIVEN, "", "the secret on standard input is empty"),
        (GIVEN, "\n", "the secret on standard input is empty"),
        (GIVEN, "one\ntwo\n", "the secret on standard input has more than one line"),
        ((*GIVEN, "--client-secret-file", "none"), "", "the file none does not exist"),
        ((*GIVEN, "--platform", "shop-renter"), "x", "platform: unknown platform: did you mean shoprenter?"),
        ((*GIVEN[2:], "--shop", "www.myshop.hu"), "x", "shop's name: a shop name has 1 to 63 of the characters"),
        ((*GIVEN[2:], "--shop", ""), "x", "shop's name: a shop name has 1 to 63 of the characters"),
        ((*GIVEN[:2], "--client-id", " "), "x", "client id: is empty"),
        ((*GIVEN, "--config", "no/config.toml"), "x", "there is no directory no: create it first"),
    ],
)
def test_what_can_not_be_used_is_told_and_nothing_is_written(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], stdin: str, told: str
) -> None:
    ended = run(*arguments, stdin=stdin)

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"shop-auth-proxy: {told}")
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "written", ["Demo", " demo ", "demo.myshoprenter.hu", "https://demo.api2.myshoprenter.hu/api/"]
)
def test_the_address_of_a_shop_is_taken_for_its_name(run: Run, tmp_path: Path, written: str) -> None:
    arguments = ("--shop", written, "--client-id", 'an "id" {0}', "--offline")

    run(*arguments)

    assert shop_in(tmp_path)["name"] == "demo"
    assert shop_in(tmp_path)["client_id"] == 'an "id" {0}'


def test_at_a_terminal_it_asks_again_until_it_understands_and_does_not_show_the_secret(tmp_path: Path) -> None:
    command = Terminal("init", "--offline", directory=tmp_path)
    for question, answer in [
        ("Platform (shoprenter, toss-shopping, toss-shopping-alpha) [shoprenter]: ", "shoprentr"),
        ("did you mean shoprenter?", ""),
        ("Shop's name (demo of demo.myshoprenter.hu, not the shop's own domain): ", "www.myshop.hu"),
        ("Shop's name (demo of demo.myshoprenter.hu", "demo.myshoprenter.hu"),
        ("Client id (the API client in the shop's admin, Settings > API Settings", "demo-client-1"),
        ("Client secret (not shown): ", ""),
        ("is empty\nClient secret (not shown): ", f" {SECRET}"),
    ]:
        command.wait_for(question)
        command.type(f"{answer}\n")
    status = command.end()

    assert status == 0, command.shown
    assert SECRET not in command.shown
    assert shop_in(tmp_path)["client_id"] == "demo-client-1"
    assert (tmp_path / "demo.secret").read_text() == f"{SECRET}\n"
    assert (tmp_path / "demo.secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("key", "status"), [("\x03", 130), ("\x04", 2)])
def test_ctrl_c_and_ctrl_d_end_it_without_a_trace(tmp_path: Path, key: str, status: int) -> None:
    command = Terminal("init", "--shop", "demo", "--client-id", "x", directory=tmp_path)
    command.wait_for("Platform")

    assert command.end(key) == status
    assert "Traceback" not in command.shown
    assert list(tmp_path.iterdir()) == []
