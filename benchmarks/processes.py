"""The proxy as a process of its own, for the benchmarks."""

import asyncio
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple


class ProxyProcess(NamedTuple):
    """A proxy that serves on a port of loopback."""

    pid: int
    port: int


def memory_of(pid: int, field: str) -> float:
    """Return a field of the process's memory (`VmRSS`, or its peak, `VmHWM`), in MiB; Linux alone has it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(field + ":")[1].split()[0]) / 1024


@asynccontextmanager
async def proxy_process(configuration: str) -> AsyncIterator[ProxyProcess]:
    """Run `serve` with this configuration, without a `[server]` of its own, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(f"[server]\nport = {port}\n[admin]\nenabled = false\n{configuration}")
        file.flush()
        process = subprocess.Popen(  # noqa: ASYNC220 - it is started once
            [sys.executable, "-m", "proxy", "serve", "--config", file.name], stdout=subprocess.DEVNULL
        )
        try:
            await _started(process, port)
            yield ProxyProcess(process.pid, port)
        finally:
            process.terminate()
            process.wait()


async def _started(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if process.poll() is not None:
                raise SystemExit("the proxy did not start") from None
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit("the proxy did not start in time")
