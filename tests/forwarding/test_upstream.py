"""Connections to an API: kept, reused, found dead, and never trusted with more than they can bear."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from proxy.errors import UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from proxy.wire.body import RequestBody
from proxy.forwarding.headers import Fields
from proxy.forwarding.upstream import Upstream, UpstreamRequest
from proxy.guards.pacing import UNPACED
from proxy.platforms.platform import Origin
from proxy.tasks import BackgroundTasks
from tests.peers import Connection, answering, request, response, serving
from tests.proxies import whole_path
from tests.streams import body_stream

BIG = bytes(range(256)) * 8192  # 2 MiB: streams


@dataclass
class Caller:
    """Sends requests through an `Upstream`, by a clock that stands still unless told otherwise."""

    port: int
    connector: aiohttp.BaseConnector
    now: float = 0.0
    interim: list[tuple[int, bytes, Fields]] = field(default_factory=list)
    upstream: Upstream = field(init=False)

    def start(self, method: str, body: RequestBody, content: bytes | None) -> UpstreamRequest:
        origin = Origin("http", "127.0.0.1", self.port)
        return UpstreamRequest(origin, method, b"/x", [(b"Host", b"h")], body, content, UNPACED)

    async def send(self, method: str = "GET", content: bytes = b"") -> bytes:
        """Send a request; return the answer's body."""
        body = RequestBody(body_stream(content, end=True), announced=len(content) or None, max_size=1 << 30)
        kept = await body.read_ahead()
        answer = await self.upstream.send(
            self.start(method, body, kept), b"Bearer t", lambda *interim: self.interim.append(interim)
        )
        try:
            whole = answer.read_nowait()
            while not answer.complete:
                whole += await answer.read()
            return whole
        finally:
            await answer.close()
            body.close()


@contextlib.asynccontextmanager
async def calling(port: int, *, read_timeout: float = 10.0) -> AsyncIterator[Caller]:
    tasks = BackgroundTasks()
    connector = aiohttp.TCPConnector(limit=0)
    async with asyncio.timeout(20), connector:
        caller = Caller(port, connector)
        caller.upstream = Upstream(
            connector, tasks, connect_timeout=5.0, read_timeout=read_timeout, clock=lambda: caller.now
        )
        yield caller
        await tasks.close()


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
        caller.now = 1000.0
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
        body = RequestBody(stream, announced=None, max_size=1 << 30)
        await body.read_ahead()
        answer = await caller.upstream.send(caller.start("PUT", body, None), b"Bearer t", lambda *_: None)
        stream.feed_eof()
        assert answer._pump is not None
        await asyncio.wait([answer._pump])
        await answer.close()
        body.close()
        longer = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, longer.set)
        await longer.wait()
        assert await caller.send("POST") == b"next"

    assert peer.connections == 1


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
        body = RequestBody(stream, announced=2 * len(BIG), max_size=1 << 30)
        assert await body.read_ahead() is None
        answer = await caller.upstream.send(caller.start("PUT", body, None), b"Bearer t", lambda *_: None)
        while not answer.complete:
            answer.read_nowait() or await answer.read()
        # The client is gone: the upload ends, and yet the request is not whole.
        stream.set_exception(ConnectionResetError("gone"))
        assert answer._pump is not None
        await asyncio.wait([answer._pump])
        await answer.close()
        body.close()
        assert await caller.send("GET") == b"early"

    assert api.connections == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_others_have_used_is_not_taken_for_a_new_one(method: str) -> None:
    """Token requests share the pool, and their endpoint may be the API's own host."""
    dying = DyingApi()
    async with serving(dying) as api, calling(api.port) as caller:
        async with (
            aiohttp.ClientSession(connector=caller.connector, connector_owner=False) as session,
            session.get(f"http://127.0.0.1:{api.port}/") as answer,
        ):
            await answer.read()
        assert await caller.send(method) == b"2"

    assert dying.connections == 2
    assert dying.requests.count((1, method.encode())) == (2 if method == "GET" else 0)


async def test_interim_answers_are_handed_over_and_100_is_not() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    async with serving(answering(interim + response(b"final"))) as api, calling(api.port) as caller:
        assert await caller.send("GET") == b"final"

    assert caller.interim == [(103, b"Early Hints", [(b"Link", b"<a>")])]


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
        body = RequestBody(stream, announced=2 * len(BIG), max_size=1 << 30)
        await body.read_ahead()
        sending = asyncio.create_task(
            caller.upstream.send(caller.start("PUT", body, None), b"Bearer t", lambda *_: None)
        )
        await body_begun.wait()
        longer = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, longer.set)
        await longer.wait()
        stream.feed_data(BIG)
        stream.feed_eof()
        answer = await sending
        await answer.close()
        body.close()

    assert answer.status == 200
