"""Connections to an API: kept, reused, found dead, and never trusted with more than they can bear."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from proxy.errors import UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from proxy.forwarding.upstream import Upstream, UpstreamRequest, UpstreamResponse
from proxy.guards.pacing import UNPACED, Turn
from proxy.tasks import BackgroundTasks
from proxy.threads import in_thread
from proxy.wire.body import RequestBody
from proxy.wire.incoming import Incoming
from proxy.wire.pool import Destination, Pool
from proxy.wire.sockets import end_writing
from tests.dialing import dialer
from tests.peers import CHUNKED, Connection, answering, chunked, request, response, serving
from tests.proxies import whole_path
from tests.streams import body_stream, request_body

BIG = bytes(range(256)) * 8192  # 2 MiB: streams


def streaming(stream: Incoming, announced: int | None = None) -> RequestBody:
    return request_body(stream, announced=announced)


async def content_of(answer: UpstreamResponse) -> bytes:
    """The whole body of an answer, however it came."""
    if answer.body is None:
        return answer.content or b""
    content = b""
    while piece := await answer.body.read():
        content += piece
    return content


@dataclass
class Caller:
    """Sends requests through an `Upstream`, by a clock that stands still unless told otherwise."""

    port: int
    now: float = 0.0
    upstream: Upstream = field(init=False)

    def request(self, method: str, content: bytes | None, body: RequestBody | None = None) -> UpstreamRequest:
        destination = Destination("http", "127.0.0.1", self.port, None)
        length = b"Content-Length: %d\r\n" % len(content) if content else b""
        start = method.encode() + b" /x HTTP/1.1\r\nHost: h\r\n" + length
        return UpstreamRequest(destination, method, start, content, body)

    async def start(
        self, method: str, content: bytes | None, body: RequestBody | None = None, *, turn: Turn = UNPACED
    ) -> UpstreamResponse:
        """Send a request; return the answer, which has to be closed."""
        return await self.upstream.send(self.request(method, content, body), b"Authorization: Bearer t\r\n", turn)

    async def send(self, method: str = "GET", content: bytes = b"") -> bytes:
        """Send a request; return the answer's body."""
        body = streaming(body_stream(content, end=True), len(content))
        answer = await self.start(method, await body.read_ahead(), body)
        try:
            return await content_of(answer)
        finally:
            await answer.close()
            body.close()


@contextlib.asynccontextmanager
async def calling(port: int, *, read_timeout: float = 10.0) -> AsyncIterator[Caller]:
    tasks, caller = BackgroundTasks(), Caller(port)
    pool = Pool(lambda: caller.now, most=500)
    async with asyncio.timeout(20):
        caller.upstream = Upstream(dialer(), pool, tasks, read_timeout=read_timeout)
        yield caller
        await tasks.close()
        pool.close()


class DyingApi:
    """Answers one request per connection; then waits for the next one, and dies of it without an answer."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, bytes]] = []
        self.bodies: list[bytes] = []
        self.connections = 0

    async def __call__(self, connection: Connection) -> None:
        self.connections += 1
        number = self.connections
        received = await connection.read_request()
        while received is not None:
            self.requests.append((number, received.request_line.split(b" ")[0]))
            self.bodies.append(received.body)
            answer = response(b"%d" % number)
            await connection.send(answer[:-1] if received.request_line.startswith(b"HEAD") else answer)
            received = await connection.read_request(body=False)
            if received is not None:
                self.requests.append((number, received.request_line.split(b" ")[0]))
                connection.reset()
                return


async def test_a_connection_is_kept_and_used_again() -> None:
    async with serving(answering(response())) as api, calling(api.port) as caller:
        for method in ("GET", "PUT", "POST", "DELETE", "GET"):
            await caller.send(method)

    assert api.connections == 1


@pytest.mark.parametrize("content", [b"", b"small", BIG], ids=["none", "small", "big"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_an_idempotent_request_on_a_dead_connection_is_sent_again_on_a_new_one(
    method: str, content: bytes
) -> None:
    dying = DyingApi()
    async with serving(dying) as api, calling(api.port) as caller:
        await caller.send("GET")
        caller.now += 14.9
        answer = await caller.send(method, content)

    assert answer == (b"2" if method != "HEAD" else b"")
    assert dying.requests == [(1, b"GET"), (1, method.encode()), (2, method.encode())]
    assert dying.bodies == [b"", content]


@pytest.mark.parametrize("content", [b"", b"small", BIG], ids=["none", "small", "big"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PROPFIND"])
async def test_other_requests_are_never_sent_twice(method: str, content: bytes) -> None:
    dying = DyingApi()
    async with serving(dying) as api, calling(api.port) as caller:
        await caller.send("GET")
        caller.now += 0.9  # fresh enough to be used, and yet dead
        with pytest.raises(UpstreamUnreachable):
            await caller.send(method, content)

    assert dying.requests == [(1, b"GET"), (1, method.encode())]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_other_requests_do_not_use_a_connection_that_was_idle_for_a_second(method: str) -> None:
    async with serving(answering(response())) as api, calling(api.port) as caller:
        await caller.send("GET")
        caller.now += 1.0
        await caller.send(method, b"x")
        caller.now += 0.9
        await caller.send(method, b"x")

    assert api.connections == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_new_connection_that_dies_is_not_tried_again(method: str) -> None:
    async def dead(connection: Connection) -> None:
        await connection.read_request()
        connection.reset()

    async with serving(dead) as api, calling(api.port) as caller:
        with pytest.raises(UpstreamUnreachable):
            await caller.send(method)

    assert api.connections == 1


async def test_what_is_never_sent_twice_uses_no_connection_whose_end_has_arrived_and_was_not_read_yet() -> None:
    accepted: list[Connection] = []

    async def api(connection: Connection) -> None:
        accepted.append(connection)
        while await connection.read_request() is not None:
            await connection.send(response(b"ok"))

    async with serving(api) as peer, calling(peer.port) as caller:
        assert await caller.send() == b"ok"
        end_writing(cast("asyncio.Transport", accepted[0].writer.transport))  # without giving the event loop a turn
        assert await caller.send("POST", b"content") == b"ok"

    assert peer.connections == 2


async def test_a_request_is_sent_again_only_once() -> None:
    async def dead_after_one(connection: Connection) -> None:
        await connection.read_request()
        if len(api.received) == 1:
            await connection.send(response())
            await connection.read_request()
        connection.reset()

    async with serving(dead_after_one) as api, calling(api.port) as caller:
        await caller.send("GET")
        with pytest.raises(UpstreamUnreachable):
            await caller.send("GET")

    assert len(api.received) == 3


async def test_a_connection_closed_while_idle_costs_nobody_an_answer() -> None:
    closed = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(response())
        connection.close()
        await connection.writer.wait_closed()
        closed.set()

    async with whole_path(api) as path, path.connect() as client:
        for method in (b"GET", b"POST", b"PUT", b"POST"):
            assert (await client.ask(request(method, body=b"x"))).status == 200
            await closed.wait()
            closed.clear()


async def test_an_answer_that_nobody_asked_for_does_not_answer_the_next_request() -> None:
    async def api(connection: Connection) -> None:
        while await connection.read_request():
            await connection.send(response(b"asked for") + response(b"smuggled"))

    async with serving(api) as peer, calling(peer.port) as caller:
        for _ in range(3):
            assert await caller.send("GET") == b"asked for"

    assert peer.connections == 3


async def test_an_answer_that_comes_while_nothing_was_asked_does_not_answer_the_next_request() -> None:
    smuggle, smuggled = asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        while await connection.read_request():
            await connection.send(response(b"asked for"))
            await smuggle.wait()
            await connection.send(response(b"smuggled"))
            smuggled.set()

    async with serving(api) as peer, calling(peer.port) as caller, serving(answering(response())) as other:
        assert await caller.send("GET") == b"asked for"
        smuggle.set()
        await smuggled.wait()
        caller.port, port = other.port, caller.port
        for _ in range(3):
            await caller.send("GET")  # by then it has arrived
        caller.port = port
        assert await caller.send("GET") == b"asked for"

    assert peer.connections == 2


@pytest.mark.usefixtures("counted")
async def test_the_read_timeout_ends_with_the_answer_even_if_the_upload_ends_later() -> None:
    async def api(connection: Connection) -> None:
        received = await connection.read_request(body=False)
        assert received is not None
        await connection.send(response(b"early"))
        await connection.read_body(received)
        while await connection.read_request():
            await connection.send(response(b"next"))

    async with serving(api) as peer, calling(peer.port, read_timeout=0.1) as caller:
        stream = body_stream(BIG)
        body = streaming(stream)
        assert await body.read_ahead() is None
        answer = await caller.start("PUT", None, body)
        stream.end()
        assert answer._pump is not None
        await asyncio.wait([answer._pump])
        await answer.close()
        body.close()
        longer = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, longer.set)
        await longer.wait()
        assert await caller.send("POST") == b"next"

    assert peer.connections == 1


async def test_a_reset_right_behind_the_beginning_of_an_answer_is_seen_at_once() -> None:
    """The event loop finds both at one time, and tells of them once."""
    loop = asyncio.get_running_loop()

    def api(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        connection.recv(1 << 16)
        loop.call_soon_threadsafe(time.sleep, 0.3)
        time.sleep(0.1)  # by then the loop is kept busy
        connection.sendall(response(b"all of it")[:-1])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving_it = in_thread(lambda: api(listening), name="api")
        async with calling(listening.getsockname()[1], read_timeout=3600.0) as caller:
            with pytest.raises(UpstreamProtocolError):
                await caller.send()
        await serving_it


async def test_an_answer_that_came_in_time_is_taken_although_the_proxy_was_kept_busy() -> None:
    """An event loop that comes late may run its timers before it looks what has arrived meanwhile."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()

    async def api(connection: Connection) -> None:
        await connection.read_request()

        def keep_busy() -> None:
            loop.remove_reader(near)
            connection.writer.write(response(b"ok"))  # which goes out at once
            time.sleep(1.2)

        loop.add_reader(near, keep_busy)
        far.send(b"!")
        await connection.read_request()

    with near, far:
        async with serving(api) as peer, calling(peer.port, read_timeout=1.0) as caller:
            assert await caller.send() == b"ok"


async def test_a_connection_that_the_api_wants_closed_is_not_used_again() -> None:
    async with serving(answering(response(fields=b"Connection: close\r\n"))) as api, calling(api.port) as caller:
        await caller.send("POST")
        await caller.send("POST")

    assert api.connections == 2


async def test_a_304_that_announces_a_length_leaves_no_confusion() -> None:
    not_modified = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
    async with serving(answering(not_modified, response(b"whole"))) as api, calling(api.port) as caller:
        assert [await caller.send("GET"), await caller.send("GET")] == [b"", b"whole"]


async def test_an_answer_before_the_whole_request_was_sent_ends_the_connection() -> None:
    async def early(connection: Connection) -> None:
        while await connection.read_request(body=False):
            await connection.send(response(b"early"))
            await connection.reader.read()

    async with serving(early) as api, calling(api.port) as caller:
        stream = body_stream(BIG)
        body = streaming(stream, 2 * len(BIG))
        assert await body.read_ahead() is None
        answer = await caller.start("PUT", None, body)
        assert await content_of(answer) == b"early"
        # The client is gone: the upload ends, and yet the request is not whole.
        stream.fail(ConnectionResetError("gone"))
        assert answer._pump is not None
        await asyncio.wait([answer._pump])
        await answer.close()
        body.close()
        assert await caller.send("GET") == b"early"

    assert api.connections == 2


async def test_a_connection_is_not_kept_while_its_request_waits_to_be_taken() -> None:
    """It was answered early: whether the rest of it will ever be read nobody knows, nor what comes behind it."""

    async def api(connection: Connection) -> None:
        while (received := await connection.read_request(body=False)) is not None:
            if received.request_line.startswith(b"POST"):
                connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await connection.send(response(b"ok"))

    async with serving(api) as peer, calling(peer.port) as caller:
        await caller.start("POST", BIG)
        assert await caller.send() == b"ok"

    assert peer.connections == 2


async def test_interim_answers_are_not_the_answer_and_cost_no_connection() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    async with serving(answering(interim + response(b"final"))) as api, calling(api.port) as caller:
        for _ in range(3):
            answer = await caller.start("GET", b"")
            assert (answer.status, answer.content, answer.head.fields[0].name) == (200, b"final", b"Date")

    assert api.connections == 1


async def test_interim_answers_without_end_are_a_protocol_error() -> None:
    async def chatty(connection: Connection) -> None:
        await connection.read_request()
        while True:
            await connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")

    async with serving(chatty) as api, calling(api.port) as caller:
        with pytest.raises(UpstreamProtocolError):
            await caller.send("GET")


async def test_silence_after_an_interim_answer_is_a_timeout() -> None:
    done = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await done.wait()

    async with serving(api) as peer, calling(peer.port, read_timeout=0.1) as caller:
        for content in (b"", BIG):
            with pytest.raises(UpstreamTimeout):
                await caller.send("PUT", content)
        done.set()


@pytest.mark.usefixtures("counted")
async def test_a_slow_client_does_not_make_the_api_time_out() -> None:
    """The API's silence counts from when it has the whole request."""
    body_begun = asyncio.Event()

    async def api(connection: Connection) -> None:
        received = await connection.read_request(body=False)
        assert received is not None
        await connection.reader.readexactly(100)
        body_begun.set()
        await connection.reader.readexactly(len(BIG) * 2 - 100)
        await connection.send(response(b"ok"))

    async with serving(api) as peer, calling(peer.port, read_timeout=0.1) as caller:
        stream = body_stream(BIG)
        body = streaming(stream, 2 * len(BIG))
        assert await body.read_ahead() is None
        sending = asyncio.create_task(caller.start("PUT", None, body))
        await body_begun.wait()
        longer = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, longer.set)
        await longer.wait()
        stream.feed(BIG)
        stream.end()
        answer = await sending
        await answer.close()
        body.close()

    assert answer.status == 200


async def test_a_streaming_body_goes_with_its_length_as_soon_as_that_is_known() -> None:
    """A first attempt may be over before the client has sent all of it; the next one is told how long it is."""
    async with serving(answering(response(status=b"401 No"), response())) as api, calling(api.port) as caller:
        stream = body_stream(BIG)
        body = streaming(stream)
        assert await body.read_ahead() is None
        sending = asyncio.create_task(caller.start("PUT", None, body))
        await asyncio.sleep(0)
        stream.end()
        await (await sending).close()
        await (await caller.start("PUT", None, body)).close()
        body.close()

    first, second = api.received
    assert first.values(b"Transfer-Encoding") == [b"chunked"]
    assert second.values(b"Content-Length") == [b"%d" % len(BIG)]
    assert first.values(b"Content-Length") == second.values(b"Transfer-Encoding") == []
    assert first.body == second.body == BIG


async def test_the_token_stands_last_in_the_head_and_once() -> None:
    async with serving(answering(response())) as api, calling(api.port) as caller:
        await caller.send("PUT", b"content")

    assert api.received[0].head.endswith(b"Content-Length: 7\r\nAuthorization: Bearer t\r\n\r\n")
    assert api.received[0].body == b"content"


class NotedTurn(Turn):
    """A turn that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def begun(self) -> None:
        self.told.append("begun")

    def sent(self) -> None:
        self.told.append("sent")

    async def again(self) -> None:
        self.told.append("again")


async def test_the_pace_is_told_of_each_time_that_a_request_goes_out() -> None:
    turn = NotedTurn()
    async with serving(DyingApi()) as api, calling(api.port) as caller:
        for _ in range(2):
            await (await caller.start("GET", b"", turn=turn)).close()

    assert turn.told == ["begun", "sent", "begun", "sent", "again", "begun", "sent"]


async def test_a_request_that_never_went_out_takes_no_slot() -> None:
    turn = NotedTurn()
    async with serving(answering(response())) as api:
        port = api.port
    async with calling(port) as caller:
        with pytest.raises(UpstreamUnreachable):
            await caller.start("GET", b"", turn=turn)

    assert turn.told == []


@pytest.mark.parametrize(
    ("fields", "seconds"), [(b"", None), (b"Retry-After: 7\r\n", 7.0), (b"Retry-After: soon\r\n", None)]
)
async def test_an_answer_says_when_to_try_again(fields: bytes, seconds: float | None) -> None:
    async with serving(answering(response(fields=fields))) as api, calling(api.port) as caller:
        answer = await caller.start("GET", b"")

    assert answer.retry_after == seconds


# What is looked into before it goes on


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("framing", [b"length", b"chunked", b"closed"])
@pytest.mark.parametrize(("size", "small"), [(0, True), (99, True), (100, True), (101, False), (300_000, False)])
async def test_a_small_body_is_looked_into_and_nothing_of_it_is_lost(
    size: int, small: bool, framing: bytes, apart: bool
) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    head, sent = {
        b"length": (b"Content-Length: %d\r\n" % size, body),
        b"chunked": (CHUNKED, chunked(body[:50], body[50:]) if size > 50 else chunked(*[body] * bool(body))),
        b"closed": (b"", body),
    }[framing]

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + (b"" if apart else sent))
        await connection.send(sent if apart else b"")

    async with serving(api) as peer, calling(peer.port) as caller:
        answer = await caller.start("GET", b"")
        assert await answer.small(100) == (body if small else None)
        assert await content_of(answer) == body
        await answer.close()


async def test_an_answer_that_breaks_off_while_it_is_looked_into_is_an_error() -> None:
    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")
        connection.close()

    async with serving(api) as peer, calling(peer.port) as caller:
        answer = await caller.start("GET", b"")
        with pytest.raises(UpstreamProtocolError):
            await answer.small(100)
        await answer.close()


# Leaving in the middle


async def test_a_caller_that_leaves_while_it_waits_ends_the_connection() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        asked.set()
        await connection.reader.read()
        ended.set()

    async with serving(api) as peer, calling(peer.port) as caller:
        sending = asyncio.create_task(caller.start("GET", b""))
        await asked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await ended.wait()


async def test_an_answer_that_is_closed_in_the_middle_ends_its_connection() -> None:
    async def api(connection: Connection) -> None:
        while await connection.read_request():
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")

    async with serving(api) as peer, calling(peer.port) as caller:
        for _ in range(2):
            answer = await caller.start("GET", b"")
            assert answer.open
            await answer.close()
            assert not answer.open

    assert peer.connections == 2


async def test_an_answer_that_came_whole_needs_no_closing_and_does_no_harm_by_it() -> None:
    async with serving(answering(response())) as api, calling(api.port) as caller:
        first = await caller.start("GET", b"")
        assert not first.open
        second = asyncio.create_task(caller.start("GET", b""))
        await asyncio.sleep(0)
        await first.close()  # by now the connection is another's
        assert (await second).content == b"{}"

    assert api.connections == 1
