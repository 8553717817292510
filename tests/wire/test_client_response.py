"""How answers are framed for each kind of client, and that what breaks off never looks whole."""

import asyncio

import pytest

from tests.peers import Connection, answering, chunked, closing, request, response
from tests.proxies import whole_path

CHUNKED_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS_ANSWER = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("upstream", "modern", "old", "old_kept"),
    [
        (
            response(b"hello"),
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
        ),
        (
            CHUNKED_ANSWER + chunked(b"hello"),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        ),
        (
            CHUNKED_ANSWER + chunked(),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        ),
        (
            CHUNKED_ANSWER + b"5;ext=1\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        ),
        (
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n",
        ),
        (
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
        ),
        (
            b"HTTP/1.1 304 Not Modified\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\n\r\n",
        ),
    ],
    ids=["length", "chunked", "chunked-empty", "trailers", "204", "304-length", "304"],
)
async def test_an_answer_is_framed_for_the_client_and_its_connection_kept_where_it_can_be(
    upstream: bytes, modern: bytes, old: bytes, old_kept: bytes
) -> None:
    async with whole_path(answering(upstream)) as path:
        async with path.connect() as client:
            await client.send(request() * 2)
            assert await client.reader.readexactly(2 * len(modern)) == modern * 2

        async with path.connect() as client:
            await client.send(request(version=b"1.0"))
            assert await client.read_to_end() == (old, True)

        async with path.connect() as client:
            kept = b"keep-alive" in old_kept
            await client.send(request(version=b"1.0", fields=b"Connection: keep-alive\r\n") * 2)
            if kept:
                assert await client.reader.readexactly(2 * len(old_kept)) == old_kept * 2
            else:
                assert await client.reader.readexactly(len(old_kept)) == old_kept


async def test_an_answer_that_ends_with_its_connection_is_chunked_for_modern_clients_and_closed_for_old_ones() -> None:
    async with whole_path(closing(ENDLESS_ANSWER + b"hello")) as path:
        async with path.connect() as client:
            answer = await client.ask(request())
            assert (answer.body, answer.values(b"Transfer-Encoding")) == (b"hello", [b"chunked"])
            assert (await client.ask(request())).body == b"hello"

        async with path.connect() as client:
            await client.send(request(version=b"1.0", fields=b"Connection: keep-alive\r\n"))
            assert await client.read_to_end() == (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", True)


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 1234\r\n", b"Transfer-Encoding: chunked\r\n", b""],
    ids=["length", "chunked", "neither"],
)
async def test_an_answer_to_head_has_no_body_and_leaves_the_connections_in_order(framing: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + framing + b"X: 1\r\n\r\n"
    relayed = b"HTTP/1.1 200 OK\r\nX: 1\r\n" + (framing if b"1234" in framing else b"") + b"\r\n"
    async with whole_path(answering(head, response(b"next"))) as path, path.connect() as client:
        await client.send(request(b"HEAD"))
        assert await client.reader.readexactly(len(relayed)) == relayed
        assert (await client.ask(request())).body == b"next"


async def test_an_error_of_the_proxy_has_no_body_for_head() -> None:
    async with whole_path(answering(response())) as path, path.connect() as client:
        await client.send(request(b"HEAD", b"/nobody/"))
        refused = await client.read_answer(body=False)
        assert refused.status == 404
        assert int(refused.values(b"Content-Length")[0]) > 0
        assert (await client.ask(request())).body == b"{}"


async def test_interim_answers_stay_here() -> None:
    """Old clients take them for the answer (RFC 8297 §3)."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" + hints + b"HTTP/1.1 102 Processing\r\n\r\n"
    hinted, final_answer_due = asyncio.Event(), asyncio.Event()

    async def script(connection: Connection) -> None:
        while await connection.read_request():
            await connection.send(interim)
            hinted.set()
            await final_answer_due.wait()
            await connection.send(interim + response(b"hello"))

    async with whole_path(script) as path, path.connect() as client:
        await client.send(request())
        await hinted.wait()
        assert (await path.ask(request(target=b"/nobody/"))).status == 404  # what the proxy does for the first is done
        final_answer_due.set()
        assert await client.reader.readexactly(len(response(b"hello"))) == response(b"hello")
        assert (await client.ask(request(version=b"1.0"))).body == b"hello"

    assert path.api.connections == 1


async def test_an_upstream_that_switches_protocols_unasked_is_refused() -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    async with whole_path(answering(switching)) as path:
        answer = await path.ask(request(fields=b"Upgrade: websocket\r\nConnection: Upgrade\r\n"))

    assert answer.status == 502
    assert b'"code": "upstream_protocol_error"' in answer.body


async def test_errors_of_the_proxy_carry_proxy_status_and_relayed_ones_do_not() -> None:
    async with whole_path(answering(response(status=b"404 Not Found"))) as path, path.connect() as client:
        relayed, own = await client.ask(request()), await client.ask(request(target=b"/nobody/x"))

    assert relayed.values(b"Proxy-Status") == []
    assert own.values(b"Proxy-Status") == [b"shop-auth-proxy; error=destination_not_found"]
    assert own.values(b"Content-Type") == [b"application/problem+json"]
    assert own.status == 404


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def script(connection: Connection) -> None:
        while received := await connection.read_request():
            await connection.send(response(received.request_line))

    async with whole_path(script) as path, path.connect() as client:
        await client.send(b"".join(request(target=b"/demo/%d" % number) for number in range(100)))
        answers = [(await client.read_answer()).body for _ in range(100)]

    assert answers == [b"GET /api/%d HTTP/1.1" % number for number in range(100)]


async def test_a_client_that_pipelines_and_does_not_read_is_not_answered_without_end() -> None:
    # Far more than all buffers on the way hold.
    count, answer = 30_000, response(b"x", fields=b"X-Filler: " + b"x" * 2000 + b"\r\n")
    async with whole_path(answering(answer)) as path, path.connect() as client, path.connect() as other:
        client.stop_reading()
        client.writer.write(request(fields=b"X-Request-ID: stuck\r\n") * count)
        # What the stuck client causes is done when 50 requests of another one pass without more of it.
        quiet, served_before = 0, -1
        while quiet < 50:
            await other.ask(request())
            served = sum(entry.get("request_id") == "stuck" for entry in path.proxy.events)
            quiet, served_before = (quiet + 1 if served == served_before > 0 else 0), served
        assert served_before < count
