"""The connections of the admin port: nobody keeps others out, whether silent or slow to send or to take an answer."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from proxy.admin import connections
from proxy.admin.connections import MAX_CONNECTIONS, Connections, limits
from proxy.admin.making import plain_page
from proxy.errors import ProxyError
from proxy.forwarding.fields import request_fields
from proxy.tasks import BackgroundTasks
from proxy.wire.client import ClientConnection
from proxy.wire.date import DateLine
from proxy.wire.listener import ClientServer
from proxy.wire.request import ClientRequest
from tests.admin.asking import admin_port, ask
from tests.peers import RawClient, answering, connected, response
from tests.proxies import whole_path

LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = b"GET /livez HTTP/1.1\r\nHost: local"
LONG = b"x" * (1 << 25)  # far more than the buffers of two sockets hold


@asynccontextmanager
async def listening(body: bytes = LONG, *, made_in: float = 0.0) -> AsyncIterator[tuple[Connections, int]]:
    """A server that gives an answer, long and at once if nothing else is said, and its port."""
    made, tasks = Connections(), BackgroundTasks()

    async def answer(request: ClientRequest) -> bool:
        request.connection.admitted()
        if made_in:
            await asyncio.sleep(made_in)
        return await made.send(request, plain_page(body).answer("text/plain"), whole=True)

    async def refuse(_: ClientRequest, __: ProxyError) -> bool:
        return False

    server = ClientServer(answer, refuse, made, limits(), request_fields(), DateLine(lambda: 0), tasks=tasks)
    listener = await asyncio.get_running_loop().create_server(server.door, "127.0.0.1", 0)
    try:
        yield made, listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for connection in made.held():
            connection.drop()
        await tasks.close()


@pytest.mark.parametrize("data", [b"", HALF, LIVE.replace(b"livez", b"metrics") * 12])
async def test_who_holds_all_connections_keeps_nobody_out(data: bytes) -> None:
    async with asyncio.timeout(20), whole_path(answering(response())) as path, AsyncExitStack() as stack:
        held = [await stack.enter_async_context(connected(admin_port(path.proxy))) for _ in range(MAX_CONNECTIONS)]
        for client in held:
            client.stop_reading()
            await client.send(data)

        assert [(await ask(path.proxy, "/livez")).status for _ in range(3)] == [200] * 3


async def test_who_came_first_makes_room() -> None:
    async with asyncio.timeout(20), listening() as (made, port), AsyncExitStack() as stack:
        held = [await stack.enter_async_context(connected(port)) for _ in range(MAX_CONNECTIONS)]
        last = await stack.enter_async_context(connected(port))

        assert await held[0].at_end()
        assert len(made) == MAX_CONNECTIONS
        for client in (held[1], last):
            await client.send(LIVE)
            assert (await client.read_answer(body=False)).status == 200


@asynccontextmanager
async def connected_from(address: str, port: int) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    yield RawClient(reader, writer)
    writer.close()


async def test_who_has_asked_is_not_ended_for_those_who_have_not() -> None:
    async with asyncio.timeout(10), listening() as (_, port), connected(port) as asking, AsyncExitStack() as stack:
        asking.stop_reading()
        await asking.send(LIVE)
        async with connected(port) as later:  # so that it has come by now
            await later.ask(LIVE)
        for _ in range(3 * MAX_CONNECTIONS):
            await stack.enter_async_context(connected(port))
        asking.start_reading()

        assert (await asking.read_answer()).body == LONG


async def test_an_address_with_many_connections_makes_room_for_its_own_next_ones() -> None:
    async with asyncio.timeout(10), listening() as (made, port), AsyncExitStack() as stack:
        slow = await stack.enter_async_context(connected_from("127.0.0.2", port))
        many = [await stack.enter_async_context(connected(port)) for _ in range(2 * MAX_CONNECTIONS)]
        for client in (slow, *many):
            client.stop_reading()
            await client.send(LIVE)
        for _ in range(MAX_CONNECTIONS):
            await stack.enter_async_context(connected(port))
        slow.start_reading()

        assert (await slow.read_answer()).body == LONG
        assert len(made) <= MAX_CONNECTIONS


@pytest.mark.usefixtures("counted")
async def test_the_time_that_a_page_takes_to_be_made_is_not_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_ASKED_WITHIN", 0.05)
    monkeypatch.setattr(connections, "_TAKEN_WITHIN", 0.05)

    async with asyncio.timeout(20), listening(b"made", made_in=0.15) as (_, port), connected(port) as client:
        assert (await client.ask(LIVE)).body == b"made"
        assert await client.at_end()


async def test_a_connection_has_one_answer() -> None:
    async with whole_path(answering(response())) as path, connected(admin_port(path.proxy)) as client:
        await client.send(LIVE * 3)
        answer = await client.read_answer()

        assert (answer.status, answer.values(b"Connection")) == (200, [b"close"])
        assert await client.at_end()


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(
    ("data", "answered"),
    [
        (b"", b""),
        (HALF, b""),
        (b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.1 405"),
    ],
)
async def test_a_connection_ends_in_time(data: bytes, answered: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_ASKED_WITHIN", 0.1)
    monkeypatch.setattr(connections, "_TAKEN_WITHIN", 0.1)
    async with (
        asyncio.timeout(20),
        whole_path(answering(response())) as path,
        connected(admin_port(path.proxy)) as client,
    ):
        await client.send(data)

        assert (await client.read_to_end())[0][:12] == answered


@pytest.mark.usefixtures("counted")
async def test_who_does_not_take_an_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_ASKED_WITHIN", 0.1)
    monkeypatch.setattr(connections, "_TAKEN_WITHIN", 0.1)
    async with asyncio.timeout(20), listening() as (made, port), connected(port) as slow:
        slow.stop_reading()
        await slow.send(LIVE)
        async with connected(port) as later:
            assert await later.at_end()
        while len(made):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        slow.start_reading()

        assert 0 < len((await slow.read_to_end())[0]) < len(LONG)


async def test_a_long_answer_is_held_once_and_comes_whole() -> None:
    async with asyncio.timeout(20), listening() as (made, port), connected(port) as slow:
        slow.stop_reading()
        await slow.send(LIVE)
        async with connected(port) as quick:
            answer = await quick.ask(LIVE)
            assert await quick.at_end()
        [waiting] = made.held()

        assert (answer.values(b"Content-Length"), answer.body == LONG) == ([b"%d" % len(LONG)], True)
        assert isinstance(waiting, ClientConnection)
        assert waiting.transport is not None
        assert 0 < waiting.transport.get_write_buffer_size() < 1 << 20


@pytest.mark.parametrize(
    "data",
    [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nAuthorization : Bearer my-s3cret\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-My-S3cret\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nX: " + b"my-s3cret" * 1000 + b"\r\n\r\n",
        b"\x16\x03\x01 my-s3cret\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_told_so_and_not_repeated_to_anybody(data: bytes) -> None:
    async with whole_path(answering(response())) as path, connected(admin_port(path.proxy)) as client:
        answer = await client.ask(data)

        assert (answer.status, answer.body) == (400, b"This is not an HTTP request.\n")
        assert answer.values(b"Server") == [b"shop-auth-proxy"]
        assert answer.values(b"Content-Security-Policy") != []
        assert await client.at_end()
        assert not [event for event in path.proxy.events if re.search("s3cret|aiohttp", repr(event), re.IGNORECASE)]


async def test_a_mistake_of_ours_is_logged_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.admin.server.exposition", lambda *_: 1 / 0)
    async with whole_path(answering(response())) as path:
        answer = await ask(path.proxy, "/metrics")

        assert (answer.status, answer.body) == (500, b"The page could not be rendered; the log says why.\n")
        assert answer.values(b"Server") == [b"shop-auth-proxy"]
        assert len(path.proxy.logged("admin.page_failed")) == 1
