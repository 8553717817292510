"""Upstream connections have aiofastnet's transports on uvloop where it is installed, and the loop's own elsewhere."""

import asyncio
import platform
import socket
import ssl
import subprocess
import sys
from typing import Any, cast

import pytest
import trustme

from proxy.wire.sockets import resume_reading
from proxy.wire.transports import most_kept, upstream_loop
from tests.egress import certified
from tests.peers import Connection, answering, request, response, serving

AUTHORITY = trustme.CA()
MUCH = 1_000_000  # bytes
READING = """
import asyncio, resource, socket
from proxy.wire.transports import upstream_loop

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

loop = asyncio.new_event_loop()
upstream_loop(loop)
here, there = socket.socketpair()
before = faults()
for _ in range(500):
    there.sendall(b"x" * 5000)
    here.recv(1 << 18)
print(faults() - before)
loop.close()
"""


class Told(asyncio.Protocol):
    """What a transport tells; `enough` is set when much has come."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.data = b""
        self.enough: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[BaseException | None] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > MUCH and not self.enough.done():
            self.enough.set_result(None)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(exc)


async def test_on_uvloop_others_make_the_connections_and_elsewhere_the_loop() -> None:
    loop = asyncio.get_running_loop()
    on_uvloop = type(loop).__module__.startswith("uvloop")

    assert (upstream_loop(loop) is not loop) is on_uvloop


async def test_without_aiofastnet_the_loop_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiofastnet", None)
    loop = asyncio.get_running_loop()

    assert upstream_loop(loop) is loop


async def test_fewer_connections_are_kept_where_each_holds_more(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    kept = most_kept(loop)
    monkeypatch.setitem(sys.modules, "aiofastnet", None)

    assert most_kept(loop) == 87
    assert kept == (500 if type(loop).__module__.startswith("uvloop") else 87)


async def test_all_else_is_the_loops_own() -> None:
    loop = asyncio.get_running_loop()
    other = upstream_loop(loop)

    assert loop.time() <= other.time() <= loop.time()
    assert other.is_running()
    called = loop.create_future()
    other.call_soon(called.set_result, "called")
    assert await called == "called"
    assert await other.create_task(asyncio.sleep(0, "done")) == "done"


@pytest.mark.parametrize("tls", [False, True])
async def test_much_goes_over_them_both_ways(tls: bool) -> None:
    certificate = certified(AUTHORITY, "api.example") if tls else None
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    options: dict[str, Any] = {"ssl": context, "server_hostname": "api.example"} if tls else {}
    answer = response(b"x" * MUCH)
    loop = upstream_loop(asyncio.get_running_loop())
    async with asyncio.timeout(20), serving(answering(answer), certificate) as peer:
        transport, told = await loop.create_connection(Told, "127.0.0.1", peer.port, **options)
        transport.write(request(b"POST", body=b"y" * MUCH))
        await told.enough
        transport.close()
        assert await told.lost is None

    assert told.data == answer
    assert peer.received[0].body == b"y" * MUCH


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_end_is_told_from_a_reset(how: str) -> None:
    """A body that ends with its connection is whole only if that was closed in order."""

    async def ending(connection: Connection) -> None:
        connection.close() if how == "close" else connection.reset()

    loop = upstream_loop(asyncio.get_running_loop())
    async with asyncio.timeout(20), serving(ending) as peer:
        _, told = await loop.create_connection(Told, "127.0.0.1", peer.port)
        error = await told.lost

    assert (error is None) if how == "close" else isinstance(error, ConnectionResetError)


class Halting(Told):
    """Reads no more for a moment whenever something has come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(0.01, resume_reading, self.transport)


async def test_an_end_over_tls_that_came_together_with_the_rest_is_told_though_that_was_not_read_at_once() -> None:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)

    async def api(connection: Connection) -> None:
        await connection.read_request()
        connection.writer.write(b"all")
        connection.close()  # which waits until the other side says so too

    loop = upstream_loop(asyncio.get_running_loop())
    async with asyncio.timeout(20), serving(api, certified(AUTHORITY, "api.example")) as peer:
        options: dict[str, Any] = {"ssl": context, "server_hostname": "api.example"}
        transport, told = await loop.create_connection(Halting, "127.0.0.1", peer.port, **options)
        transport.write(request())
        assert await told.lost is None

    assert told.data == b"all"


async def test_the_socket_can_be_asked_and_does_not_wait_to_gather_writes() -> None:
    loop = upstream_loop(asyncio.get_running_loop())
    async with asyncio.timeout(20), serving(answering(response())) as peer:
        transport, told = await loop.create_connection(Told, "127.0.0.1", peer.port)
        own = transport.get_extra_info("socket")
        assert own.getpeername() == ("127.0.0.1", peer.port)
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not transport.is_closing()
        transport.abort()
        assert transport.is_closing()
        await told.lost


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep blocks by other rules")
def test_reading_takes_no_block_from_the_system_each_time() -> None:
    """Three page faults each, which a fresh interpreter has without what is done for it."""
    ended = subprocess.run([sys.executable, "-c", READING], check=True, capture_output=True, text=True)
    assert int(ended.stdout) < 250
