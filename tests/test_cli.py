"""The command line."""

import asyncio
import shlex
import sys
from collections.abc import Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import proxy.__main__
from proxy import __version__
from proxy.cli import main
from tests.commands.processes import ran


async def test_version_is_told() -> None:
    assert (await ran("--version")).stdout == f"shop-auth-proxy {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [("serv",), ("serve", "--conf", "x"), ("token",), ("check", "--nothing"), ("new-client",)]
)
async def test_wrong_usage_ends_with_2_and_a_usage_line(arguments: tuple[str, ...]) -> None:
    ended = await ran(*arguments)

    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: shop-auth-proxy")
    assert "Traceback" not in ended.stderr


async def test_without_arguments_there_is_help() -> None:
    ended = await ran()

    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: shop-auth-proxy")


@pytest.mark.parametrize("command", ["serve", "init", "check", "token", "new-client", "demo", "completion"])
async def test_every_command_has_help(command: str) -> None:
    ended = await ran(command, "--help")

    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"usage: shop-auth-proxy {command}")


@pytest.mark.parametrize(("raised", "status"), [(KeyboardInterrupt, 130)])
def test_ctrl_c_ends_a_command_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, raised: type[BaseException], status: int
) -> None:
    def interrupted(_command: Coroutine[Any, Any, int]) -> int:
        _command.close()
        raise raised

    monkeypatch.setattr("proxy.cli._run", interrupted)

    assert main(["demo", "--once"]) == status


def test_so_does_ctrl_c_while_the_program_is_being_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "proxy.cli", Interrupted("proxy.cli"))

    assert proxy.__main__.main() == 130


@pytest.mark.parametrize("command", ["init", "init --shop demo --client-id a --offline"])
async def test_questions_with_nobody_to_answer_them_are_told_in_a_sentence(tmp_path: Path, command: str) -> None:
    process = await asyncio.create_subprocess_shell(
        f"{shlex.quote(sys.executable)} -m proxy {command} <&-",
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(proxy.__file__).parents[1])},
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()

    assert process.returncode == 2
    assert stderr.startswith((b"shop-auth-proxy: without a terminal, ", b"shop-auth-proxy: the secret on standard in"))
    assert stderr.count(b"\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_uvloop_the_loop_of_the_standard_library_serves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)

    assert main(["demo", "--once"]) == 0

    assert "40101" in capsys.readouterr().out


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_closed_standard_streams_are_no_harm(closed: str) -> None:
    process = await asyncio.create_subprocess_shell(
        f"{shlex.quote(sys.executable)} -m proxy demo --once {closed}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()

    assert (process.returncode, stderr) == (0, b"")


async def test_output_that_can_not_be_written_is_told_without_a_traceback() -> None:
    process = await asyncio.create_subprocess_shell(
        f"{shlex.quote(sys.executable)} -m proxy demo --once >/dev/full", stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await process.communicate()

    assert process.returncode == 1
    assert stderr == b"shop-auth-proxy: No space left on device\n"


@pytest.mark.parametrize("missing", ["fcntl", "resource", "termios"])
@pytest.mark.parametrize("arguments", [["serve"], ["demo", "--once"], ["init"], ["new-client", "erp"]])
def test_where_it_can_not_run_it_says_so_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str, arguments: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # as on Windows: importing it fails

    assert main(arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(
        f"shop-auth-proxy runs on Linux and macOS (this Python has no {missing}). On Windows, run it in "
    )
    assert "WSL 2" in err
    assert "Docker" in err
    assert err.count("\n") == 1


async def test_so_does_the_whole_program_under_a_python_without_them() -> None:
    script = (
        "import sys\nfor name in ('fcntl', 'resource', 'termios'): sys.modules[name] = None\n"
        "from proxy.cli import main\nsys.exit(main(['demo', '--once']))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    stdout, stderr = await process.communicate()

    assert (process.returncode, stdout) == (2, b"")
    assert stderr.startswith(b"shop-auth-proxy runs on Linux and macOS")
    assert b"Traceback" not in stderr
