"""Commands run as a user runs them: as processes of their own."""

import asyncio
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 30.0  # seconds; only a safety net


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it said."""

    status: int
    stdout: str
    stderr: str


class Command:
    """A command that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    async def line_with(self, text: str) -> str:
        """Return the first line of stdout that holds `text`, as soon as it is there."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT):
            while line := (await self._process.stdout.readline()).decode():
                self.lines.append(line)
                if text in line:
                    return line
        raise AssertionError(f"the command ended without saying {text!r}: {self.lines}")

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self) -> Ended:
        """Wait until it ends by itself."""
        async with asyncio.timeout(LIMIT):
            stdout, stderr = await self._process.communicate()
        assert self._process.returncode is not None
        return Ended(self._process.returncode, "".join(self.lines) + (stdout or b"").decode(), stderr.decode())


@asynccontextmanager
async def started(
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    directory: Path = ROOT,
    stdin: bytes | None = None,
    stdout: int = asyncio.subprocess.PIPE,
) -> AsyncIterator[Command]:
    """Start `shop-auth-proxy` with these arguments; it is killed at the end if it still runs.

    With a file as `stdout`, nothing of that is in the result.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SHOP_AUTH_PROXY_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "proxy",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**clean, "PYTHONWARNINGS": "error", "PYTHONPATH": str(ROOT), **(environ or {})},
        cwd=directory,
    )
    if stdin is not None:
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def ran(
    *arguments: str, environ: Mapping[str, str] | None = None, directory: Path = ROOT, stdin: bytes | None = None
) -> Ended:
    """Run `shop-auth-proxy` with these arguments, in a directory and with a text on stdin, to its end."""
    async with started(*arguments, environ=environ, directory=directory, stdin=stdin) as command:
        return await command.end()


# Makes stdin the terminal that Ctrl-C comes from, and becomes the command.
_AT_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A command that runs at a terminal: what it shows, and what is typed."""

    def __init__(self, *arguments: str, directory: Path = ROOT, environ: Mapping[str, str] | None = None) -> None:
        self.shown = ""
        self._waited_for = 0
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SHOP_AUTH_PROXY_")}
        self._terminal, other_end = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _AT_TERMINAL, sys.executable, "-m", "proxy", *arguments],
            stdin=other_end,
            stdout=other_end,
            stderr=other_end,
            start_new_session=True,
            cwd=directory,
            env={**clean, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **(environ or {})},
        )
        os.close(other_end)

    def wait_for(self, text: str) -> None:
        """Wait until it has shown `text` behind what was waited for before; at its end, that is an error."""
        while (found := self.shown.find(text, self._waited_for)) < 0:
            if not select.select([self._terminal], [], [], LIMIT)[0]:
                raise AssertionError(f"it waits without showing {text!r}: {self.shown}")
            try:
                self.shown += os.read(self._terminal, 65536).decode().replace("\r\n", "\n")
            except OSError:
                raise AssertionError(f"it ended without showing {text!r}: {self.shown}") from None
        self._waited_for = found + len(text)

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def end(self, key: str = "") -> int:
        """Press a key, again if nothing comes of it, and read what is shown until the end; return the exit status.

        A Ctrl-C between Python's last look for signals and its read goes unseen until the next one.
        """
        self.type(key)
        with suppress(OSError):
            while True:
                if select.select([self._terminal], [], [], 3.0)[0]:
                    self.shown += os.read(self._terminal, 65536).decode().replace("\r\n", "\n")
                else:
                    self.type(key)
        os.close(self._terminal)
        return self._process.wait(LIMIT)


async def listening(port: int) -> None:
    """Wait until somebody listens; the log does not say so at every level."""
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            return
