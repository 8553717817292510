"""Answers that break off in the middle look broken to every client, at once, however they break.

One with a length, or chunked, is visibly short, and ends in order after what there is (RFC 9112 §8). One that ends with
the connection would look whole, so that is reset.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from proxy.config import UpstreamConfig
from proxy.errors import UpstreamTimeout
from proxy.forwarding.fields import answer_fields
from proxy.wire import upstream_connection as module
from proxy.wire.upstream_connection import UpstreamConnection
from tests.peers import DATE, Connection, request, serving
from tests.proxies import whole_path

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nfirst"


def visibly_short(head: bytes, body: bytes) -> bool:
    """Tell whether a client sees of an answer, by itself, that something is missing."""
    if b"Content-Length: 10\r\n" in head:
        return len(body) < 10
    return b"Transfer-Encoding: chunked\r\n" in head and not body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (LENGTH, Connection.close),
        (LENGTH, Connection.reset),
        (CHUNKED, Connection.close),
        (CHUNKED, Connection.reset),
        (CHUNKED + b"0\r\n", Connection.close),
        (CHUNKED[:-3], Connection.close),
        (ENDLESS, Connection.reset),
    ],
    ids=[
        "length-closed",
        "length-reset",
        "chunked-closed",
        "chunked-reset",
        "chunked-without-the-last-line",
        "chunked-in-mid-chunk",
        "endless-reset",
    ],
)
async def test_an_answer_that_breaks_off_never_looks_whole(
    answer: bytes, end: Callable[[Connection], None], version: bytes
) -> None:
    relayed = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(answer)
        await relayed.wait()
        end(connection)

    async with whole_path(api) as path, path.connect() as client:
        await client.send(request(version=version))
        head = await client.reader.readuntil(b"\r\n\r\n")
        relayed.set()
        rest, orderly = await client.read_to_end()

        assert orderly == visibly_short(head, rest)
        assert b"firs" in rest or not orderly  # all that came, unless a reset has overtaken it
        assert [(entry["code"], entry["status"]) for entry in path.proxy.logged("request.forwarded")] == [
            ("upstream_protocol_error", 200)
        ]


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_broken_chunks_in_mid_answer_break_it_off_at_once(version: bytes) -> None:
    relayed, done = asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(CHUNKED)
        await relayed.wait()
        await connection.send(b"ZZ\r\nno chunk\r\n")
        await done.wait()  # the connection stays open: nothing else tells the proxy

    async with whole_path(api) as path, path.connect() as client:
        await client.send(request(version=version))
        head = await client.reader.readuntil(b"\r\n\r\n")
        relayed.set()
        rest, orderly = await client.read_to_end()
        done.set()

    assert orderly == visibly_short(head, rest) == (version == b"1.1")
    assert b"no chunk" not in rest


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, ENDLESS], ids=["length", "chunked", "endless"])
async def test_an_api_that_falls_silent_in_mid_answer_breaks_it_off(answer: bytes) -> None:
    done = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(answer)
        await done.wait()

    async with whole_path(api, upstream=UpstreamConfig(read_timeout=0.1)) as path, path.connect() as client:
        await client.send(request())
        head = await client.reader.readuntil(b"\r\n\r\n")
        rest, orderly = await client.read_to_end()
        done.set()
        assert [entry["code"] for entry in path.proxy.logged("request.forwarded")] == ["upstream_timeout"]

    assert orderly
    assert visibly_short(head, rest)


async def test_a_head_that_comes_a_byte_at_a_time_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that sends a large one so would else take the time of all others for it."""
    searched = 0

    class Counting:
        def search(self, data: bytes, begin: int) -> object:
            nonlocal searched
            searched += len(data) - begin
            return any_end.search(data, begin)

    any_end = module._ANY_END
    monkeypatch.setattr(module, "_ANY_END", Counting())
    head = b"HTTP/1.1 200 OK\nContent-Length: 0\r\nX-Large: %b\r\n\n" % (b"x" * 5000)

    async def silent(connection: Connection) -> None:
        await connection.reader.read()

    async with serving(silent) as peer:
        raw, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", peer.port)
        connection = UpstreamConnection(raw, answer_fields(), lambda _: None)
        answer = connection.ask(b"GET / HTTP/1.1\r\n\r\n", bodiless=False, read_timeout=10.0, whole=True)
        for number in range(len(head)):
            assert not answer.done()
            connection.data_received(head[number : number + 1])
        status, *_ = await answer
        connection.abort()

    assert status == 200
    assert searched < 5 * len(head)


async def test_a_shorter_time_counts_for_a_connection_that_is_kept() -> None:
    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await connection.reader.read()

    async with serving(api) as peer, asyncio.timeout(20):
        loop = asyncio.get_running_loop()
        raw, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", peer.port)
        lost = asyncio.Event()
        connection = UpstreamConnection(raw, answer_fields(), lambda _: lost.set())
        raw.set_protocol(connection)
        asked = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
        await connection.ask(asked, bodiless=False, read_timeout=3600.0, whole=True)
        with pytest.raises(UpstreamTimeout):
            await connection.ask(asked, bodiless=False, read_timeout=0.1, whole=True)
        await lost.wait()


@pytest.mark.usefixtures("counted")
async def test_a_client_that_reads_slowly_does_not_make_the_api_time_out() -> None:
    sent = asyncio.Event()
    body = b"x" * 20_000_000

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        sent.set()
        await connection.reader.read()

    async with whole_path(api, upstream=UpstreamConfig(read_timeout=0.1)) as path, path.connect() as client:
        client.stop_reading()
        await client.send(request())
        # Longer than the time-out, by the same clock and set afterwards, so that it would have struck.
        loop = asyncio.get_running_loop()
        longer = asyncio.Event()
        loop.call_later(0.4, longer.set)
        await longer.wait()
        client.start_reading()
        assert len((await client.read_answer()).body) == len(body)


# More than was announced


LONGER = {
    "a longer body": (b"GET", b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 5\r\n\r\nhello", b" and more of it"),
    "an empty body": (b"GET", b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 0\r\n\r\n", b"hello"),
    "behind the last chunk": (b"GET", b"HTTP/1.1 200 OK\r\n" + DATE + CHUNKED[17:] + b"0\r\n\r\n", b"5\r\nhello\r\n"),
    "204": (b"DELETE", b"HTTP/1.1 204 No Content\r\n" + DATE + b"\r\n", b'{"deleted":true}'),
    "204 with a length": (b"DELETE", b"HTTP/1.1 204 No Content\r\n" + DATE + b"Content-Length: 2\r\n\r\n", b"{}"),
    "204 in chunks": (b"DELETE", b"HTTP/1.1 204 No Content\r\n" + DATE + CHUNKED[17:-10], b"2\r\n{}\r\n0\r\n\r\n"),
    "304": (b"GET", b"HTTP/1.1 304 Not Modified\r\n" + DATE + b"\r\n", b"hello"),
    "304 with a length": (b"GET", b"HTTP/1.1 304 Not Modified\r\n" + DATE + b"Content-Length: 5\r\n\r\n", b"hello"),
    "HEAD": (b"HEAD", b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 5\r\n\r\n", b"hello"),
}


def expected_of(announced: bytes) -> tuple[bytes, bytes]:
    """What the client gets of an answer; a 204 says nothing of a body (RFC 9110 §8.6)."""
    head, _, body = announced.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 204"):
        head = head.partition(b"\r\nContent-")[0].partition(b"\r\nTransfer-")[0]
    return head + b"\r\n\r\n", b"first" if b"first" in body else body


@pytest.mark.parametrize("what", LONGER)
async def test_what_was_announced_passes_however_it_is_cut_and_the_rest_is_dropped(what: str) -> None:
    method, announced, more = LONGER[what]
    sent, expected = announced + more, expected_of(announced)
    cuts = iter(range(len(sent) + 1))

    async def api(connection: Connection) -> None:
        while await connection.read_request():
            cut = next(cuts)
            await connection.send(sent[:cut])
            await asyncio.sleep(0)
            with suppress(ConnectionError):
                await connection.send(sent[cut:])

    async with whole_path(api) as path, path.connect() as client:
        for _ in sent:
            await client.send(request(method))
            answer = await client.read_answer(body=method != b"HEAD")
            assert (answer.head, answer.body) == expected
        assert (await client.ask(request(target=b"/nobody/"))).status == 404  # nothing more came, and all goes on


@pytest.mark.parametrize("what", LONGER)
async def test_what_comes_too_late_is_no_answer_to_another_request(what: str) -> None:
    method, announced, more = LONGER[what]
    expected = expected_of(announced)
    first = True

    async def api(connection: Connection) -> None:
        nonlocal first
        while await connection.read_request():
            late, first = first, False
            await connection.send(announced)
            if late:
                await connection.read_request()  # the connection is used again, since all seemed well
                await connection.send(more)

    async with whole_path(api) as path, path.connect() as client:
        for _ in range(3):
            await client.send(request(method))
            answer = await client.read_answer(body=method != b"HEAD")
            assert (answer.head, answer.body) == expected

    # Where a 204 speaks of a body, one may follow: such a connection is not used again.
    assert path.api.connections == (3 if what.startswith("204 ") else 2)
