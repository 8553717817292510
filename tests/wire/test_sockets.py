"""What transports do not tell of their sockets: how much the peer has not got, and how a connection is broken off."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.wire.sockets import reset, unsent
from proxy.wire.transports import upstream_loop

SMALL_BUFFER = 1 << 14  # bytes, of the system


class Told(asyncio.Protocol):
    """A protocol that knows when its connection has ended."""

    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(exc)


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[asyncio.Transport, Told, socket.socket]]:
    """A transport, its protocol, and the peer's socket, which reads nothing by itself."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        own.connect(listening.getsockname())
        own.setblocking(False)
        peer, _ = listening.accept()
    with peer:
        peer.setblocking(False)
        async with asyncio.timeout(20):
            transport, told = await loop.create_connection(Told, sock=own)
            yield transport, told, peer
            transport.abort()
            await told.lost


async def read(peer: socket.socket, count: int) -> None:
    loop = asyncio.get_running_loop()
    while count:
        count -= len(await loop.sock_recv(peer, min(count, 1 << 16)))


async def until_unsent(transport: asyncio.Transport, at_most: int) -> int:
    while unsent(transport) > at_most:  # noqa: ASYNC110 - nobody tells when the peer has acknowledged something
        await asyncio.sleep(0.001)
    return unsent(transport)


async def test_what_the_peer_has_got_is_not_unsent() -> None:
    async with connection() as (transport, _, peer):
        assert unsent(transport) == 0
        transport.write(b"x" * 1000)
        await read(peer, 1000)

        assert await until_unsent(transport, 0) == 0


async def test_what_waits_here_and_what_waits_in_the_system_both_count() -> None:
    async with connection() as (transport, _, peer):
        transport.write(b"x" * 10_000_000)
        await asyncio.sleep(0)
        waiting = transport.get_write_buffer_size()
        assert 0 < waiting <= 10_000_000
        before = unsent(transport)
        # The system's part of it is more than what waits here tells, and less than all.
        assert waiting < before <= 10_000_000

        await read(peer, 5_000_000)
        assert await until_unsent(transport, 5_000_000) <= 5_000_000
        await read(peer, 5_000_000)
        assert await until_unsent(transport, 0) == 0


async def test_of_a_connection_that_has_ended_something_is_told_too() -> None:
    async with connection() as (transport, told, peer):
        transport.write(b"x" * 10_000_000)
        peer.close()
        await told.lost

        assert unsent(transport) >= 0


async def test_a_reset_is_seen_by_the_peer_at_once_whatever_waits() -> None:
    async with connection() as (transport, told, peer):
        transport.write(b"x" * 10_000_000)
        reset(transport)
        await told.lost
        with pytest.raises(ConnectionResetError):
            await read(peer, 10_000_001)


async def test_a_connection_that_is_closing_can_still_be_reset() -> None:
    async with connection() as (transport, told, peer):
        transport.write(b"x" * 10_000_000)
        transport.close()
        assert not told.lost.done()
        reset(transport)
        await told.lost
        with pytest.raises(ConnectionResetError):
            await read(peer, 10_000_001)


async def test_what_has_ended_can_be_reset_without_harm() -> None:
    async with connection() as (transport, told, _):
        transport.abort()
        await told.lost
        reset(transport)


async def test_upstream_transports_can_be_reset_too() -> None:
    loop = upstream_loop(asyncio.get_running_loop())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        transport, told = await loop.create_connection(Told, *listening.getsockname())
        peer, _ = await asyncio.get_running_loop().sock_accept(listening)
    with peer:
        transport.write(b"x")
        reset(transport)
        await told.lost
        with pytest.raises(ConnectionResetError):
            await read(peer, 2)
