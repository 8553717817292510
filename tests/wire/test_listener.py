"""Too many, too slow, too long: none of it keeps a client from being served that does what it should."""

import asyncio
import gc
import json
import socket
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from proxy.config import ClientConfig, ServerConfig
from proxy.secret import Secret
from proxy.wire.client import ClientConnection
from tests.peers import (
    CHUNKED,
    Answer,
    Connection,
    RawClient,
    answering,
    chunked,
    connected,
    request,
    response,
    token_response,
)
from tests.proxies import WholePath, whole_path
from tests.wire.slow_reading import (
    connect_with_small_buffer,
    looks_at_the_unread,
    read_steadily,
    send_buffers_of,
)

OK = answering(response(b"ok"))
# As long as a real socket has to be waited on; what must not be waited for has hours.
SOON = 0.15
PASSWORD = "the-password-of-the-erp"
CLIENTS = {"erp": ClientConfig(secret=Secret(PASSWORD))}


def server(**limits: Any) -> ServerConfig:
    patient = {"header_timeout": 3600.0, "rate_window": 3600.0, "keep_alive_timeout": 3600.0}
    return ServerConfig(port=0, drain_timeout=1.0, **(patient | limits))


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["code"]


class Held:
    """An API that answers when it is let, and tells how many requests it has."""

    def __init__(self) -> None:
        self.arrived = asyncio.Semaphore(0)
        self.let = asyncio.Event()

    async def __call__(self, connection: Connection) -> None:
        while await connection.read_request():
            self.arrived.release()
            await self.let.wait()
            await connection.send(response(b"ok"))


async def connect(stack: AsyncExitStack, path: WholePath, count: int) -> list[RawClient]:
    return [await stack.enter_async_context(connected(path.proxy.port)) for _ in range(count)]


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    send_buffers_of(4096, monkeypatch)


async def ended(client: RawClient) -> bool:
    """Whether the connection ends, in whichever way, without a byte."""
    data, _ = await client.read_to_end()
    return data == b""


async def read_all(client: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(client, 1 << 16):
        pass


# Time


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("sent", [b"G", request()[:-1]], ids=["a byte", "all but a byte"])
@pytest.mark.parametrize("kept", [False, True])
async def test_headers_that_do_not_end_are_answered_408(sent: bytes, kept: bool) -> None:
    async with whole_path(OK, server=server(header_timeout=SOON)) as path, path.connect() as client:
        if kept:
            await client.ask(request())
        await client.send(sent)
        answer = await client.read_answer()
        assert code(answer) == (408, "request_timeout")
        assert answer.values(b"Connection") == [b"close"]
        assert await client.at_end()

    assert len(path.api.received) == kept
    assert [entry["code"] for entry in path.proxy.logged("request.refused")] == ["request_timeout"]


@pytest.mark.usefixtures("counted")
async def test_a_connection_on_which_nothing_comes_is_closed_without_a_word() -> None:
    async with whole_path(OK, server=server(header_timeout=SOON)) as path, path.connect() as client:
        assert await client.read_to_end() == (b"", True)

    assert path.proxy.logged("request.refused") == []


@pytest.mark.usefixtures("counted")
async def test_an_idle_connection_is_closed_after_its_time_and_not_after_that_for_headers() -> None:
    async with (
        whole_path(OK, server=server(header_timeout=SOON, keep_alive_timeout=3 * SOON)) as path,
        path.connect() as client,
    ):
        asked = asyncio.get_running_loop().time()
        assert (await client.ask(request())).status == 200
        assert await client.read_to_end() == (b"", True)
        assert asyncio.get_running_loop().time() - asked > 2 * SOON

    assert path.proxy.logged("request.refused") == []


@pytest.mark.usefixtures("counted")
async def test_a_request_that_begins_before_the_idle_time_is_over_has_the_time_for_headers() -> None:
    async with (
        whole_path(OK, server=server(keep_alive_timeout=SOON)) as path,
        path.connect() as client,
    ):
        clock = asyncio.get_running_loop().time
        assert (await client.ask(request())).status == 200
        await client.send(request()[:1])
        begun = clock()
        while clock() < begun + 2 * SOON:
            assert (await path.ask(request(target=b"/nobody/"))).status == 404  # takes a moment
        assert (await client.ask(request()[1:])).status == 200


@pytest.mark.parametrize("announced", [10, 3_000_000], ids=["small", "streaming"])
async def test_a_body_that_stops_is_answered_408_and_holds_no_connection_of_the_upstream(announced: int) -> None:
    async with whole_path(OK, server=server(rate_window=SOON, min_body_rate=1.0)) as path, path.connect() as client:
        head = request(b"PUT", fields=b"Content-Length: %d\r\n" % announced)
        await client.send(head + b"x" * (announced // 2))
        answer = await client.read_answer()
        assert code(answer) == (408, "request_timeout")
        assert await client.at_end()
        assert (await path.ask(request())).status == 200

    # Up to what fits in memory, nothing is asked of the upstream before the body is there.
    assert path.api.connections == (1 if announced == 10 else 2)


async def test_a_body_that_the_proxy_held_up_has_its_whole_time_after_that() -> None:
    let = asyncio.Event()

    async def tokens(connection: Connection) -> None:
        await connection.read_request()
        await let.wait()
        await connection.send(token_response())

    window = 2 * SOON
    limits = server(rate_window=window, min_body_rate=1e9)
    async with whole_path(OK, tokens=tokens, server=limits) as path, path.connect() as client:
        clock = asyncio.get_running_loop().time
        begun = clock()
        # More than is read before there is a token, and less than the body.
        await client.send(request(b"PUT", fields=b"Content-Length: 5000000\r\n") + b"x" * 1_500_000)
        while clock() < begun + 1.5 * window:
            assert (await path.ask(request(target=b"/nobody/"))).status == 404  # takes a moment
        held_until = clock()
        let.set()
        assert code(await client.read_answer()) == (408, "request_timeout")
        assert clock() - held_until > 0.99 * window


@pytest.mark.usefixtures("counted")
async def test_a_body_that_comes_at_the_rate_may_take_longer_than_the_period() -> None:
    period = SOON
    async with whole_path(OK, server=server(rate_window=period, min_body_rate=1.0)) as path, path.connect() as client:
        clock = asyncio.get_running_loop().time
        end = clock() + 2.5 * period
        await client.send(request(b"PUT", fields=CHUNKED))
        count = 0
        while clock() < end:
            await client.send(b"1\r\nx\r\n")
            count += 1
            assert (await path.ask(request(target=b"/nobody/"))).status == 404  # takes a moment
        await client.send(b"0\r\n\r\n")
        assert (await client.read_answer()).status == 200

    assert path.api.received[0].body == b"x" * count


@pytest.mark.usefixtures("counted")
async def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    large = response(b"x" * 30_000_000)
    async with (
        whole_path(answering(large), server=server(rate_window=3 * SOON, min_body_rate=1e6)) as path,
        path.connect() as client,
        path.connect() as reading,
    ):
        client.stop_reading()
        await client.send(request())
        assert (await reading.ask(request())).body == b"x" * 30_000_000
        await path.proxy.until_logged("request.abandoned")
        assert path.proxy.running.forwarder.in_flight == 0
        client.start_reading()
        data, orderly = await client.read_to_end()

    assert not orderly
    assert len(data) < len(large)


async def test_a_client_that_takes_its_answer_slowly_but_steadily_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system takes the next piece from the proxy only when a good part of a large buffer has been read."""
    send_buffers_of(1 << 20, monkeypatch)
    limits = server(rate_window=2 * SOON, min_body_rate=10_000.0)
    async with whole_path(answering(response(b"x" * 30_000_000)), server=limits) as path:
        assert await read_steadily(path, rate=100_000.0, seconds=8 * SOON) > 100_000


@pytest.mark.usefixtures("small_buffers", "counted")
@pytest.mark.parametrize("fields", [b"Connection: close\r\n", b""], ids=["close", "keep-alive"])
async def test_an_answer_that_is_written_but_never_taken_does_not_keep_its_connection(
    fields: bytes,
) -> None:
    """It waits in the proxy's memory, below the mark at which writing stops: nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    api = answering(response(b"x" * 60_000))
    limits = server(rate_window=SOON, max_requests_per_connection=1_000_000)
    async with whole_path(api, server=limits) as path, path.connect() as other:
        with await connect_with_small_buffer(path.proxy.port) as client:
            await loop.sock_sendall(client, request(fields=fields))
            await path.proxy.until_logged("request.forwarded")
            open_at_first = path.proxy.running.connections.open
            while path.proxy.running.connections.open > 1:
                await other.ask(request(target=b"/nobody/"))
            assert open_at_first == 2
            with pytest.raises(ConnectionResetError):
                await read_all(client)


# Number


async def test_the_last_request_of_a_connection_is_told_so() -> None:
    async with whole_path(OK, server=server(max_requests_per_connection=3)) as path, path.connect() as client:
        answers = [await client.ask(request()) for _ in range(3)]
        assert [answer.values(b"Connection") for answer in answers] == [[], [], [b"close"]]
        assert await client.at_end()


async def test_requests_sent_behind_the_last_one_are_not_served_and_do_not_cost_its_answer() -> None:
    async with whole_path(OK, server=server(max_requests_per_connection=2)) as path, path.connect() as client:
        await client.send(request() * 10)
        assert [(await client.read_answer()).body for _ in range(2)] == [b"ok", b"ok"]
        assert await client.read_to_end() == (b"", True)

    assert len(path.api.received) == 2


async def test_a_connection_that_takes_no_more_requests_makes_room_for_others() -> None:
    limits = server(max_connections=1, max_requests_per_connection=1)
    async with whole_path(OK, server=limits) as path, path.connect() as client:
        await client.send(request() * 2)
        assert (await client.read_answer()).body == b"ok"
        assert (await path.ask(request())).status == 200


async def test_one_request_too_many_at_once_is_told_when_to_come_again() -> None:
    api = Held()
    async with whole_path(api, server=server(max_requests=2, max_share=1.0)) as path, AsyncExitStack() as stack:
        clients = await connect(stack, path, 3)
        for client in clients[:2]:
            await client.send(request())
            await api.arrived.acquire()
        refused = await clients[2].ask(request())
        assert code(refused) == (503, "overloaded")
        assert refused.values(b"Retry-After") == [b"1"]
        api.let.set()
        assert [(await client.read_answer()).status for client in clients[:2]] == [200, 200]
        assert (await clients[2].ask(request())).status == 200  # over the same connection


async def test_one_connection_too_many_takes_the_place_of_one_that_waits() -> None:
    async with whole_path(OK, server=server(max_connections=3)) as path, AsyncExitStack() as stack:
        kept, silent, half = await connect(stack, path, 3)
        assert (await kept.ask(request())).status == 200
        await half.send(b"GET /demo/x HTTP/1.1\r\n")
        assert (await path.ask(request())).status == 200
        assert await ended(silent)
        assert (await kept.ask(request())).status == 200

    [told] = path.proxy.logged("connections.crowded")
    assert (told["setting"], told["limit"]) == ("server.max_connections", 3)


@pytest.mark.usefixtures("small_buffers")
async def test_the_rest_of_an_answer_is_never_taken_for_its_end_where_another_one_takes_the_place() -> None:
    page = b"x" * 100_000
    api = answering(b"HTTP/1.1 200 OK\r\n%s\r\n%s" % (CHUNKED, chunked(page)))
    async with whole_path(api, server=server(max_connections=1)) as path:
        client = await connect_with_small_buffer(path.proxy.port)
        reader, writer = await asyncio.open_connection(sock=client, limit=1 << 9)
        writer.write(request(version=b"1.0"))
        data = b""
        while not (path.proxy.running.connections.displaced or reader.at_eof()):  # as soon as most of it has gone
            data += await reader.read(1 << 9)
            async with path.connect() as other:
                with suppress(ConnectionError):
                    await other.send(request())
                    await other.at_end()
        rest, orderly = await RawClient(reader, writer).read_to_end()
        writer.close()

    _, _, body = (data + rest).partition(b"\r\n\r\n")
    assert orderly == (body == page)


async def test_where_all_connections_are_in_use_a_new_one_is_closed_at_once() -> None:
    api = Held()
    async with whole_path(api, server=server(max_connections=2)) as path, AsyncExitStack() as stack:
        clients = await connect(stack, path, 2)
        for client in clients:
            await client.send(request())
            await api.arrived.acquire()
        [refused] = await connect(stack, path, 1)
        assert await ended(refused)
        api.let.set()
        assert [(await client.read_answer()).status for client in clients] == [200, 200]
        assert (await path.ask(request())).status == 200

    assert len(path.api.received) == 3


async def test_where_all_connections_of_an_address_are_in_use_others_are_served() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback, and connections from there count only in all")
        address = probe.getsockname()[0]
    api = Held()
    limits = server(host="0.0.0.0", max_connections_per_address=2)
    async with whole_path(api, server=limits) as path, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(path.proxy.port, address)) for _ in range(2)]
        for client in clients:
            await client.send(request())
            await api.arrived.acquire()
        async with connected(path.proxy.port, address) as refused:
            assert await ended(refused)
        api.let.set()
        assert (await path.ask(request())).status == 200

    [told] = path.proxy.logged("connections.crowded")
    assert (told["setting"], told["address"]) == ("server.max_connections_per_address", address)


def with_credentials(fields: bytes = b"") -> bytes:
    return request(fields=b"Authorization: Bearer %s\r\n" % PASSWORD.encode() + fields)


async def test_requests_that_are_refused_earn_no_place() -> None:
    async with whole_path(OK, server=server(max_connections=10), clients=CLIENTS) as path, AsyncExitStack() as stack:
        [kept] = await connect(stack, path, 1)
        assert (await kept.ask(with_credentials())).status == 200
        for _ in range(30):
            [client] = await connect(stack, path, 1)
            assert (await client.ask(request())).status == 401
        assert (await kept.ask(with_credentials())).status == 200


@pytest.mark.usefixtures("small_buffers")
async def test_refused_requests_whose_answers_nobody_reads_keep_nobody_out() -> None:
    async with whole_path(OK, server=server(max_connections=5), clients=CLIENTS) as path, AsyncExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(await connect_with_small_buffer(path.proxy.port))
            client.send(request() * 1000)
        await path.proxy.until_logged("request.refused", 50)
        while path.proxy.running.connections.open < 5:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        assert (await path.ask(with_credentials())).status == 200


async def test_an_application_on_the_same_machine_may_have_more_than_the_share_of_an_address() -> None:
    async with whole_path(OK, server=server(max_connections_per_address=1)) as path, AsyncExitStack() as stack:
        for client in await connect(stack, path, 5):
            assert (await client.ask(request())).status == 200


async def test_300_clients_that_hardly_send_anything_keep_nobody_from_being_served() -> None:
    """More than there are places for, at each stage of a request, none of them ending by time."""
    stages = (b"", b"G", b"GET /demo/x HTTP/1.1\r\nHo", request()[:-2])
    async with whole_path(OK, server=server(max_connections=100)) as path, AsyncExitStack() as stack:
        healthy = (await connect(stack, path, 1))[0]
        assert (await healthy.ask(request())).status == 200
        slow = []
        for number in range(300):
            [client] = await connect(stack, path, 1)
            await client.send(stages[number % len(stages)])
            slow.append(client)
            if number % 50 == 0:
                assert (await healthy.ask(request())).status == 200
                assert (await path.ask(request())).status == 200
        # Those who lost their places know it; the others still send a byte at a time.
        assert all([await ended(client) for client in slow[:150]])
        for client, stage in zip(slow[-90:], (stages * 75)[-90:], strict=True):
            await client.send(b"x" if len(stage) > 1 else b"")
        assert (await healthy.ask(request())).status == 200
        assert (await path.ask(request())).status == 200

    assert len(path.proxy.logged("connections.crowded")) == 1
    assert path.proxy.logged("request.refused") == []


async def test_300_bodies_that_do_not_come_keep_nobody_from_being_served_and_the_upstream_knows_of_none() -> None:
    limits = server(max_connections=500, rate_window=4 * SOON, min_body_rate=100.0)
    async with whole_path(OK, server=limits) as path, AsyncExitStack() as stack:
        slow = await connect(stack, path, 300)
        for client in slow:
            await client.send(request(b"PUT", fields=b"Content-Length: 1000\r\n") + b"x")
        assert (await path.ask(request())).status == 200
        assert path.api.connections == 1
        for client in slow:
            assert code(await client.read_answer()) == (408, "request_timeout")
        assert (await path.ask(request())).status == 200

    assert len(path.api.received) == 2


async def test_nothing_is_left_of_connections_that_were_refused_or_closed() -> None:
    def reset(client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()

    async with whole_path(OK, server=server(max_connections=5)) as path:
        loop = asyncio.get_running_loop()
        tasks = len(asyncio.all_tasks())
        for number in range(300):
            client = socket.socket()
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", path.proxy.port))
            await loop.sock_sendall(client, (b"", b"\0", b"garbage\r\n\r\n", request()[:20])[number % 4])
            reset(client)
        assert (await path.ask(request())).status == 200
        for _ in range(20):
            async with path.connect() as client_:
                await client_.ask(b"garbage\r\n\r\n")
        assert path.proxy.running.connections.open <= 5
        gc.collect()
        assert sum(isinstance(each, ClientConnection) for each in gc.get_objects()) <= 5 + 1  # one is on its way out
        assert len(asyncio.all_tasks()) <= tasks + 5 * 2 + 2


async def test_a_connection_that_is_closed_with_an_answer_unread_is_looked_at_no_more_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send_buffers_of(4096, monkeypatch)
    sizes = list(range(4_000, 40_000, 3_000))  # of some of them, a rest waits in the proxy that is no reason to wait
    async with whole_path(
        answering(*(response(b"x" * size) for size in sizes)),
        server=server(keep_alive_timeout=SOON, rate_window=5.0, min_body_rate=1.0),
    ) as path:
        assert await looks_at_the_unread(path, monkeypatch, sizes, after=3 * SOON) < 10 * len(sizes)


async def test_an_empty_line_behind_a_body_is_no_request_that_keeps_the_place_of_another() -> None:
    async with whole_path(OK, server=server(max_connections=1)) as path, path.connect() as client:
        assert (await client.ask(request(b"POST", body=b"{}") + b"\r\n")).status == 200
        assert (await path.ask(request())).status == 200


async def test_what_a_client_sends_ahead_is_served_in_turn_with_what_others_send() -> None:
    async with whole_path(OK) as path, path.connect() as many, path.connect() as other:
        assert (await other.ask(request(target=b"/nobody/"))).status == 404
        await many.send(request(target=b"/nobody/") * 150)
        assert (await other.ask(request(target=b"/nobody/"))).status == 404
        served = len(path.proxy.logged("request.refused"))
        for _ in range(150):
            assert (await many.read_answer()).status == 404

    assert served < 75
