"""Connections to clients: what ends them, and how requests in flight outlive a stop."""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from proxy.config import ServerConfig
from proxy.wire import lingering, listener
from tests.peers import CHUNKED, Connection, RawClient, answering, chunked, closing, request, response
from tests.proxies import WholePath, whole_path
from tests.wire.slow_reading import connect_with_small_buffer, send_buffers_of

OK = answering(response(b"ok"))
PATIENT = ServerConfig(port=0, drain_timeout=3600.0)  # so that nothing passes because the proxy gave up


async def test_a_connection_is_kept_for_many_requests() -> None:
    async with whole_path(OK) as path, path.connect() as client:
        for number in range(50):
            sent = request(b"POST", body=b"x" * number) if number % 2 else request()
            assert (await client.ask(sent)).body == b"ok"


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("behind", [b"\r\n", b"\n", b"\r\n" * 20])
async def test_an_empty_line_behind_a_body_begins_no_request(behind: bytes) -> None:
    """Old programs send one (RFC 9112 §2.2), and may not go on before long."""
    server = ServerConfig(port=0, header_timeout=0.2)
    async with whole_path(OK, server=server) as path, path.connect() as client:
        await client.ask(request(b"POST", body=b"content"))
        await client.send(behind)
        await asyncio.sleep(0.5)
        assert (await client.ask(request())).status == 200


async def test_a_client_that_wants_the_connection_closed_gets_that() -> None:
    async with whole_path(OK) as path, path.connect() as client:
        answer = await client.ask(request(fields=b"Connection: close\r\n"))
        assert answer.values(b"Connection") == [b"close"]
        assert await client.at_end()


async def test_an_upgrade_is_served_as_an_ordinary_request() -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    async with whole_path(OK) as path, path.connect() as client:
        await client.send(request(fields=upgrade) + request(target=b"/demo/next"))
        assert [(await client.read_answer()).body, (await client.read_answer()).body] == [b"ok", b"ok"]

    assert [each.values(b"Upgrade") for each in path.api.received] == [[], []]
    assert path.api.received[1].request_line == b"GET /api/next HTTP/1.1"


@pytest.mark.parametrize("body", [b"", b"content"])
async def test_an_upgrade_to_http2_is_not_taken_and_the_connection_is_kept(body: bytes) -> None:
    """Java's client asks for it with each first request, unless told otherwise."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    async with whole_path(OK) as path, path.connect() as client:
        await client.send(request(b"POST", fields=upgrade, body=body) + request(target=b"/demo/next") + b"GET /demo/la")
        answers = [
            await client.read_answer(),
            await client.read_answer(),
            await client.ask(b"st HTTP/1.1\r\nHost: proxy\r\n\r\n"),
        ]

    assert [(answer.body, answer.values(b"Connection")) for answer in answers] == [(b"ok", [])] * 3
    assert [each.request_line for each in path.api.received] == [
        b"POST /api/x HTTP/1.1",
        b"GET /api/next HTTP/1.1",
        b"GET /api/last HTTP/1.1",
    ]
    assert path.api.received[0].body == body
    assert path.api.received[0].values(b"Upgrade") == path.api.received[0].values(b"HTTP2-Settings") == []


async def test_what_is_sent_behind_a_refused_upgrade_is_answered_too() -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    async with whole_path(OK) as path, path.connect() as client:
        await client.send(request(target=b"/nobody/", fields=upgrade) + request())
        assert [(await client.read_answer()).status, (await client.read_answer()).status] == [404, 200]


async def test_garbage_behind_a_request_is_refused_after_its_answer() -> None:
    async with whole_path(OK) as path, path.connect() as client:
        await client.send(request())
        assert (await client.read_answer()).body == b"ok"
        await client.send(b"garbage\r\n\r\n")
        assert (await client.read_answer()).status == 501
        assert await client.at_end()


async def test_a_client_that_goes_without_a_word_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with whole_path(OK) as path:
        for sent in (b"", b"GET /de", request(b"POST", fields=b"Content-Length: 5\r\n") + b"he"):
            async with path.connect() as client:
                await client.send(sent)
        assert (await path.ask(request())).status == 200
        assert path.proxy.running.forwarder.in_flight == 0

    assert caplog.records == []


async def test_a_refused_client_that_does_not_close_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "_AT_MOST", 0.05)
    async with whole_path(OK) as path, path.connect() as client:
        assert (await client.ask(b"garbage\r\n\r\n")).status == 501
        assert await client.at_end()
        with suppress(ConnectionError):
            while True:
                await client.send(b"x" * 1_000_000)


# Stop


class Slow:
    """An API that begins an answer and waits with the rest of it."""

    def __init__(self) -> None:
        self.begun, self.finish = asyncio.Event(), asyncio.Event()

    async def __call__(self, connection: Connection) -> None:
        while await connection.read_request(body=False):
            self.begun.set()
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
            await self.finish.wait()
            await connection.send(b"later")


async def begin_to_stop(path: WholePath) -> asyncio.Future[None]:
    """Begin to stop the proxy, and return when it takes no more connections."""
    stopping = asyncio.ensure_future(path.stop())
    with suppress(ConnectionError):
        while True:
            async with path.connect():
                pass
    return stopping


async def test_an_answer_in_flight_is_finished_when_the_proxy_stops() -> None:
    api = Slow()
    async with whole_path(api, server=PATIENT) as path, path.connect() as client:
        await client.send(request())
        await api.begun.wait()
        stopping = await begin_to_stop(path)
        api.finish.set()
        assert (await client.read_answer()).body == b"firstlater"
        assert await client.at_end()
        await stopping

    assert [entry["status"] for entry in path.proxy.logged("request.forwarded")] == [200]
    assert path.proxy.events[-1]["event"] == "proxy.stopped"


async def test_a_connection_that_a_client_was_told_to_keep_is_kept_for_a_moment_when_the_proxy_stops() -> None:
    """The head of an answer may have gone out before that; whoever has read the rest sends the next request at once."""
    api = Slow()
    async with whole_path(api, server=PATIENT) as path, path.connect() as client:
        await client.send(request())
        await client.reader.readuntil(b"first")
        stopping = await begin_to_stop(path)
        api.finish.set()
        assert await client.reader.readexactly(5) == b"later"
        answer = await client.ask(request())
        assert (answer.body, answer.values(b"Connection")) == (b"firstlater", [b"close"])
        await stopping


@pytest.mark.parametrize("size", [1000, 3_000_000], ids=["small", "streaming"])
async def test_an_upload_in_flight_is_finished_when_the_proxy_stops(size: int) -> None:
    async with whole_path(OK, server=PATIENT) as path, path.connect() as client:
        body = b"x" * size
        await client.send(request(b"PUT", fields=CHUNKED) + b"%x\r\n" % size + body[: size // 2])
        async with path.connect() as other:
            assert (await other.ask(request(target=b"/nobody/"))).status == 404  # the beginning is read by now
        stopping = await begin_to_stop(path)
        await client.send(body[size // 2 :] + b"\r\n" + chunked())
        answer = await client.read_answer()
        assert (answer.status, answer.values(b"Connection")) == (200, [b"close"])
        assert await client.at_end()
        await stopping

    assert path.api.received[0].body == body


async def test_a_request_without_end_is_broken_off_after_the_drain_timeout() -> None:
    api = Slow()
    async with whole_path(api, server=ServerConfig(port=0, drain_timeout=0.1)) as path, path.connect() as client:
        await client.send(request())
        await client.reader.readuntil(b"first")
        await path.stop()
        assert await client.read_to_end() == (b"", True)  # 10 bytes were announced

    [told] = path.proxy.logged("request.forwarded")
    assert (told["code"], told["upstream_status"]) == ("draining", 200)


async def test_a_request_that_is_not_answered_in_the_drain_timeout_is_told_so() -> None:
    asked = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        asked.set()
        await connection.read_request()

    async with whole_path(api, server=ServerConfig(port=0, drain_timeout=0.1)) as path, path.connect() as client:
        await client.send(request())
        await asked.wait()
        await path.stop()
        answer = await client.read_answer()
        assert await client.at_end()

    assert (answer.status, answer.values(b"Connection")) == (503, [b"close"])
    assert json.loads(answer.body)["code"] == "draining"
    assert len(path.proxy.logged("request.refused")) == 1


async def test_a_request_that_still_comes_over_a_kept_connection_is_served_and_is_the_last() -> None:
    async with (
        whole_path(OK, server=PATIENT) as path,
        path.connect() as kept,
        path.connect() as half,
    ):
        await kept.ask(request())
        await half.send(b"GET /demo/x HTTP/1.1\r\nHo")
        await path.ask(request())  # the beginning of that is read by now
        stopping = await begin_to_stop(path)
        answers = [await kept.ask(request()), await half.ask(b"st: proxy\r\n\r\n")]
        assert [await client.at_end() for client in (kept, half)] == [True, True]
        await stopping

    assert [(answer.status, answer.values(b"Connection")) for answer in answers] == [(200, [b"close"])] * 2


class KeptBusy:
    """An event loop that is kept busy `by` something that arrives as soon as a timer is set, until that is due."""

    def __init__(self, loop: asyncio.AbstractEventLoop, by: Callable[[], object]) -> None:
        self._loop = loop
        self._by = by

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, seconds: float, *what: Any) -> asyncio.TimerHandle:
        near, far = socket.socketpair()

        def keep_busy() -> None:
            self._loop.remove_reader(near)
            near.close()
            far.close()
            self._by()
            time.sleep(2 * seconds)

        self._loop.add_reader(near, keep_busy)
        far.send(b"!")
        return self._loop.call_later(seconds, *what)


async def test_a_request_that_came_in_time_is_served_although_the_proxy_was_kept_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An event loop that comes late may run its timers before it looks what has arrived meanwhile."""
    monkeypatch.setattr(listener, "_LAST_WORDS", 0.2)
    async with whole_path(OK, server=PATIENT) as path, path.connect() as kept:
        await kept.ask(request())
        server = path.proxy.running._server
        monkeypatch.setattr(server, "loop", KeptBusy(server.loop, lambda: kept.writer.write(request())))
        await path.stop()
        answer = await kept.read_answer()

    assert (answer.status, answer.values(b"Connection")) == (200, [b"close"])


async def test_an_answer_that_ends_with_its_connection_looks_broken_if_the_proxy_ends_before_all_was_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing goes out any more when the process has ended, but the system would close the connection in order."""
    send_buffers_of(4096, monkeypatch)
    page = b"x" * 100_000
    api = closing(b"HTTP/1.1 200 OK\r\n%s\r\n%s" % (CHUNKED, chunked(page)))
    async with whole_path(api, server=ServerConfig(port=0, drain_timeout=0.1)) as path:
        sock = await connect_with_small_buffer(path.proxy.port)
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 9)
        writer.write(request(version=b"1.0"))
        data = b""
        while not path.proxy.logged("request.forwarded"):  # then all has come, and is written
            data += await reader.read(1 << 9)
        await path.stop()
        rest, orderly = await RawClient(reader, writer).read_to_end()
        writer.close()

    assert not orderly
    assert len(data + rest) < len(page)


async def test_idle_and_refused_connections_do_not_hold_up_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_LAST_WORDS", 0.05)
    async with (
        whole_path(OK, server=PATIENT) as path,
        path.connect() as unused,
        path.connect() as idle,
        path.connect() as refused,
    ):
        await idle.ask(request())
        await refused.ask(b"garbage\r\n\r\n")
        await path.stop()
        assert [await client.at_end() for client in (unused, idle, refused)] == [True] * 3
