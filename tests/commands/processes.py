"""Commands run as a user runs them: as processes of their own."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

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
    *arguments: str, environ: Mapping[str, str] | None = None, stdout: int = asyncio.subprocess.PIPE
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
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**clean, "PYTHONWARNINGS": "error", **(environ or {})},
        cwd=Path(__file__).resolve().parents[2],
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def ran(*arguments: str, environ: Mapping[str, str] | None = None) -> Ended:
    """Run `shop-auth-proxy` with these arguments to its end."""
    async with started(*arguments, environ=environ) as command:
        return await command.end()


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def listening(port: int) -> None:
    """Wait until somebody listens; the log does not say so at every level."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            continue
        writer.close()
        return
