"""Real servers for tests of what replicas share: Redis, and Valkey where it is there, each on a Unix socket of its own.

They are found in PATH; SHARED_TEST_SERVERS names others, with colons between them. Without any, the tests are skipped.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

MISSING = "there is no redis-server or valkey-server here (Debian: the package redis-server)"


def servers() -> list[str]:
    """The programs that there are."""
    named = [name for name in os.environ.get("SHARED_TEST_SERVERS", "").split(":") if name]
    return named or [found for name in ("redis-server", "valkey-server") if (found := shutil.which(name))]


def each_server() -> list[object]:
    """The programs as parameters of a test; a skipped one if there is none."""
    found: list[object] = [pytest.param(name, id=Path(name).name) for name in servers()]
    return found or [pytest.param("", marks=pytest.mark.skip(reason=MISSING))]


class Server:
    """A server that is stopped, frozen and emptied to order; it keeps nothing on the disk."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self.socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, *options: str) -> None:
        """Start it, empty."""
        self._options = options or self._options
        settings = ("--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no")
        self._process = subprocess.Popen(  # noqa: ASYNC220 - it is started, not waited for
            [self._program, *settings, "--dir", str(self.socket.parent), *self._options], stdout=subprocess.DEVNULL
        )
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_unix_connection(str(self.socket))
                    writer.close()
                    await writer.wait_closed()
                    return
                except OSError:
                    await asyncio.sleep(0.005)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hang with all its connections."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@asynccontextmanager
async def serving_redis(program: str, *options: str) -> AsyncIterator[Server]:
    """Run a server with these options."""
    with TemporaryDirectory(prefix="redis-") as folder:
        server = Server(program, Path(folder))
        await server.start(*options)
        try:
            yield server
        finally:
            server.kill()


async def settled(asking: Callable[[], bool]) -> None:
    """Let everything happen that happens without time; `asking` tells whether a server has yet to answer somebody."""
    loop: Any = asyncio.get_running_loop()
    quiet = 0
    while quiet < 3:
        await asyncio.sleep(0)
        busy = loop._ready or asking()
        if busy:
            await asyncio.sleep(0.0002)
        quiet = 0 if busy else quiet + 1
