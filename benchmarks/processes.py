"""Programs as processes of their own, for the benchmarks; the proxy among them.

Rules: each has a process group of its own, so that a Ctrl-C at the terminal reaches the benchmark alone, which then
ends what it started: by its id, and its group's where it did not end in time.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

_END_TIMEOUT = 10.0  # seconds; far above what any of them takes without requests in flight


class ProxyProcess(NamedTuple):
    """A proxy that serves on a port of loopback."""

    pid: int
    port: int


def memory_of(pid: int, field: str) -> float:
    """Return a field of the process's memory (`VmRSS`, or its peak, `VmHWM`), in MiB; Linux alone has it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(field + ":")[1].split()[0]) / 1024


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return so many ports, each another one."""
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a port of loopback; without taking it even for a moment."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@contextmanager
def program(
    command: Sequence[str | Path],
    *,
    core: int | None = None,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, on this core alone if one is given, and end it with all that it started."""
    cores = os.sched_getaffinity(0)
    process = None
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})  # the program inherits it
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
        )
        os.sched_setaffinity(0, cores)
        yield process
    finally:
        os.sched_setaffinity(0, cores)
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with contextlib.suppress(ProcessLookupError):  # the usual case: nobody of the group is left
        os.killpg(process.pid, signal.SIGKILL)


@asynccontextmanager
async def proxy_process(configuration: str) -> AsyncIterator[ProxyProcess]:
    """Run `serve` with this configuration, without a `[server]` of its own, on a free port."""
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(f"[server]\nport = {port}\n[admin]\nenabled = false\n{configuration}")
        file.flush()
        with program([sys.executable, "-m", "proxy", "serve", "--config", file.name]) as process:
            await started(process, port)
            yield ProxyProcess(process.pid, port)


async def started(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a proxy listens on its port."""
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
