"""What systemd hears: over real datagram sockets, from the functions and from a `serve` process."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.systemd import Supervisor, take_supervisor
from tests.commands.configurations import written
from tests.commands.processes import LIMIT, started


class Ear:
    """The end of the socket at which systemd would listen."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self._socket.setblocking(False)

    async def hear(self) -> dict[str, str]:
        """Return the next message."""
        async with asyncio.timeout(LIMIT):
            return told(await asyncio.get_running_loop().sock_recv(self._socket, 65536))

    def heard(self) -> list[dict[str, str]]:
        """Return the messages that are there."""
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(told(self._socket.recv(65536)))
        return messages

    def close(self) -> None:
        self._socket.close()


def told(message: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in message.decode().split("\n"))


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ear]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@shop-auth-proxy/{os.getpid()}/{tmp_path.name}"
    with contextlib.closing(Ear(name)) as ear:
        yield ear


def supervisor(environ: dict[str, str], pid: int = 1) -> Supervisor:
    return take_supervisor(dict(environ), pid)


# The process


async def test_serve_tells_that_it_is_ready_alive_and_stopping(tmp_path: Path, ear: Ear) -> None:
    file = written(tmp_path / "config.toml", token_url="http://127.0.0.1:9/t", api_url="http://127.0.0.1:9/")
    environ = {"NOTIFY_SOCKET": ear.name, "WATCHDOG_USEC": "20000"}
    async with started("serve", "--config", str(file), environ=environ) as command:
        ready = await ear.hear()
        signs_of_life = [await ear.hear() for _ in range(3)]
        command.send_signal(signal.SIGTERM)
        while (last := await ear.hear()) == {"WATCHDOG": "1"}:
            pass
        ended = await command.end()

    assert ready["READY"] == "1"
    assert re.fullmatch(r"listening on 127\.0\.0\.1 port \d+", ready["STATUS"])
    assert signs_of_life == [{"WATCHDOG": "1"}] * 3
    assert last == {"STOPPING": "1", "STATUS": "finishing the requests in flight"}
    assert (ended.status, ended.stderr) == (0, "")


async def test_serve_tells_of_each_reload_and_that_it_is_over(tmp_path: Path, ear: Ear) -> None:
    file = written(tmp_path / "config.toml", token_url="http://127.0.0.1:9/t", api_url="http://127.0.0.1:9/")
    whole = file.read_text()
    async with started("serve", "--config", str(file), environ={"NOTIFY_SOCKET": ear.name}) as command:
        await ear.hear()
        told = []
        for text in (whole, whole + "[shops.new\n"):
            file.write_text(text)
            before = time.monotonic_ns() // 1000
            command.send_signal(signal.SIGHUP)
            told += [await ear.hear(), await ear.hear()]
            assert before <= int(told[-2].pop("MONOTONIC_USEC")) <= time.monotonic_ns() // 1000
        command.send_signal(signal.SIGTERM)
        ended = await command.end()

    reloading = {"RELOADING": "1", "STATUS": "reading the configuration"}
    assert told == [
        reloading,
        {"READY": "1", "STATUS": "configuration reloaded"},
        reloading,
        {"READY": "1", "STATUS": "the new configuration has problems, the previous one stays in use"},
    ]
    assert (ended.status, ended.stderr) == (0, "")


async def test_serve_that_cannot_start_tells_nothing(tmp_path: Path, ear: Ear) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file = written(
            tmp_path / "config.toml", port=taken.getsockname()[1], token_url="http://127.0.0.1:9/t", api_url="http://a/"
        )
        async with started("serve", "--config", str(file), environ={"NOTIFY_SOCKET": ear.name}) as command:
            ended = await command.end()

    assert ended.status == 2
    assert ear.heard() == []


async def test_serve_runs_on_and_says_so_if_nobody_listens(tmp_path: Path) -> None:
    file = written(tmp_path / "config.toml", token_url="http://127.0.0.1:9/t", api_url="http://127.0.0.1:9/")
    environ = {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "20000"}
    async with started("serve", "--config", str(file), environ=environ) as command:
        await command.line_with("proxy.supervisor_not_told")
        command.send_signal(signal.SIGTERM)
        ended = await command.end()

    assert (ended.status, ended.stderr) == (0, "")


# The messages


def test_a_reload_carries_the_time_of_the_monotonic_clock(ear: Ear) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert supervisor({"NOTIFY_SOCKET": ear.name}).reloading("reading the configuration")
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    [message] = ear.heard()
    assert before <= int(message.pop("MONOTONIC_USEC")) <= after
    assert message == {"RELOADING": "1", "STATUS": "reading the configuration"}


def test_a_status_is_one_line_whatever_stands_in_it(ear: Ear) -> None:
    assert supervisor({"NOTIFY_SOCKET": ear.name}).ready("fine\nSTOPPING=1\r\n\ud800")

    assert ear.heard() == [{"READY": "1", "STATUS": "fine STOPPING=1 ?"}]


async def test_the_watchdog_is_fed_at_half_its_time_with_each_turn_of_the_loop(ear: Ear) -> None:
    turns: list[float] = []

    async def turn(seconds: float) -> None:
        assert ear.heard() == [{"WATCHDOG": "1"}]
        turns.append(seconds)
        if len(turns) == 3:
            raise asyncio.CancelledError

    watched = supervisor({"NOTIFY_SOCKET": ear.name, "WATCHDOG_USEC": "30000000"})
    with pytest.raises(asyncio.CancelledError):
        await watched.keep_alive(turn)

    assert turns == [15.0, 15.0, 15.0]


# What can't be told


@pytest.mark.parametrize("address", [b"/nobody/listens", b"\0nobody listens", b"\0", b"/" + b"too-long" * 50, b"/\0"])
def test_what_cannot_be_told_does_not_raise(address: bytes) -> None:
    assert not Supervisor(address).ready("up")


def test_a_supervisor_that_does_not_listen_holds_nobody_up(ear: Ear) -> None:
    deaf = supervisor({"NOTIFY_SOCKET": ear.name})
    told_in_time = 0
    while deaf.ready("up"):  # its queue is short: net.unix.max_dgram_qlen, or what its buffer takes
        told_in_time += 1

    assert len(ear.heard()) == told_in_time > 0


async def test_without_a_socket_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "socket")
    nobody = supervisor({"WATCHDOG_USEC": "1000000"})

    assert nobody.ready("up")
    assert nobody.reloading("again")
    assert nobody.stopping("down")
    await nobody.keep_alive()


# The variables

NOTIFY = {"NOTIFY_SOCKET": "/run/notify"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Supervisor()),
        ({"NOTIFY_SOCKET": ""}, Supervisor()),
        ({"NOTIFY_SOCKET": "run/notify"}, Supervisor()),
        ({"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "1000000"}, Supervisor()),
        ({"WATCHDOG_USEC": "1000000"}, Supervisor()),
        (NOTIFY, Supervisor(b"/run/notify")),
        ({"NOTIFY_SOCKET": "@a/b"}, Supervisor(b"\0a/b")),
        ({"NOTIFY_SOCKET": "/run/\udcff"}, Supervisor(b"/run/\xff")),
        (NOTIFY | {"WATCHDOG_USEC": "1500000"}, Supervisor(b"/run/notify", 1.5)),
        (NOTIFY | {"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "7"}, Supervisor(b"/run/notify", 1.5)),
        (NOTIFY | {"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "8"}, Supervisor(b"/run/notify")),
        (NOTIFY | {"WATCHDOG_PID": "7"}, Supervisor(b"/run/notify")),
        *(
            (NOTIFY | {"WATCHDOG_USEC": unusable}, Supervisor(b"/run/notify"))
            for unusable in ("", "0", "-1", "1.5", "x", "²", "18446744073709551615")
        ),
    ],
)
def test_the_variables_are_understood_and_taken_out(environ: dict[str, str], expected: Supervisor) -> None:
    left = environ | {"PATH": "/bin"}

    assert take_supervisor(left, pid=7) == expected
    assert left == {"PATH": "/bin"}
