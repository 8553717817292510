"""What is compared: a program that serves `/SHOP/…` with what the upstream has at `/api/…`, and brings the bearer.

Rules: each run has a process of its own, on a core of its own, and a fresh folder for configuration and log. It is
measured only after it has given the right answer.
"""

import http.client
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.processes import free_ports, program

CLIENT, PASSWORD = "erp", "old-erp-password-12"
TOKEN = "tok-abcdefghijkl"
BASIC = "Basic " + b64encode(f"{CLIENT}:{PASSWORD}".encode()).decode()
SHOPS = 1000  # demo, and shop1 to shop999
_START_TIMEOUT = 20.0  # seconds


class Invalid(Exception):
    """A run says nothing; the text says why."""


class Setup(NamedTuple):
    """What a contender is to do: where to listen, and which upstream to reach (over TLS if there is a `ca` file)."""

    folder: Path
    port: int
    admin_port: int
    upstream: int
    ca: Path | None

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.upstream}"

    @property
    def scheme(self) -> str:
        return "https" if self.ca else "http"

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder, and return where it is."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


class Contender(NamedTuple):
    """One of those compared. `command` writes what it needs into the folder, and returns the program's arguments."""

    name: str
    command: Callable[[Setup], list[str | Path]]
    kind: Literal["peer", "extra", "ours", "ours, rewriting"] = "peer"


class Running(NamedTuple):
    """A contender that serves."""

    contender: Contender
    setup: Setup
    process: subprocess.Popen[bytes]
    started: float  # time.perf_counter() right before it was executed

    @property
    def pid(self) -> int:
        return self.process.pid


@contextmanager
def started(contender: Contender, upstream: int, ca: Path | None, core: int) -> Iterator[Running]:
    """Start a contender in a folder of its own; it may not serve yet. All that it says is in the file `log` there."""
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        folder = Path(name)
        setup = Setup(folder, *free_ports(2), upstream, ca)
        command = contender.command(setup)
        with (folder / "log").open("wb") as log:
            before = time.perf_counter()
            with program(command, core=core, stdout=log, stderr=subprocess.STDOUT) as process:
                yield Running(contender, setup, process, before)


def wait_for(running: Running, target: str, *, port: int | None = None, pause: float = 0.05) -> bytes:
    """Ask until the answer is 200, and return its body. Raises `Invalid` if that takes too long."""
    seen = "no connection"
    while running.process.poll() is None and time.perf_counter() - running.started < _START_TIMEOUT:
        try:
            status, body = ask(port or running.setup.port, target)
        except (OSError, http.client.HTTPException):
            time.sleep(pause)
            continue
        if status == 200:
            return body
        seen = f"{status} {body[:200]!r}"
        time.sleep(pause)
    log = (running.setup.folder / "log").read_text(errors="replace")[-500:]
    raise Invalid(f"{running.contender.name} did not come to serve {target}: {seen}\n{log}")


def ask(port: int, target: str, authorization: str = BASIC) -> tuple[int, bytes]:
    """Make one call, and return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_TIMEOUT)
    try:
        connection.request("GET", target, headers={"Authorization": authorization, "Accept": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
