"""The 401 that is tried once more, and the log line that every request ends in."""

import asyncio

import pytest

from tests.peers import CHUNKED, Connection, answering, chunked, request, response, token_response
from tests.proxies import whole_path

UNAUTHORIZED = response(b'{"error":"expired"}', status=b"401 Unauthorized", fields=b"WWW-Authenticate: Bearer\r\n")
TWO_TOKENS = (token_response("token-1"), token_response("token-2"))
BIG = bytes(range(256)) * 20_480  # 5 MB


def big_chunked() -> bytes:
    return chunked(*(BIG[start : start + 100_000] for start in range(0, len(BIG), 100_000)))


# Retry on 401


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PROPFIND"])
async def test_a_401_is_tried_once_more_with_a_fresh_token(method: bytes) -> None:
    api = answering(UNAUTHORIZED if method != b"HEAD" else b"HTTP/1.1 401 Unauthorized\r\n\r\n", response(b""))
    async with whole_path(api, tokens=answering(*TWO_TOKENS)) as path:
        answer = await path.ask(request(method, b"/demo/x?y", fields=b"X: caf\xe9\r\nx: 2\r\n", body=b"payload"))
        first, second = path.api.received

    assert answer.status == 200
    assert first.values(b"Authorization") == [b"Bearer token-1"]
    assert second.values(b"Authorization") == [b"Bearer token-2"]
    assert first.head.replace(b"token-1", b"token-2") == second.head
    assert first.body == second.body == b"payload"
    assert [entry["attempts"] for entry in path.proxy.logged("request.forwarded")] == [2]


@pytest.mark.parametrize(
    ("sent", "body", "framing"),
    [
        (request(b"POST"), b"", b"Content-Length: 0"),
        (request(b"POST", body=b""), b"", b"Content-Length: 0"),
        (request(b"POST", body=b"small"), b"small", b"Content-Length: 5"),
        (request(b"POST", fields=CHUNKED) + chunked(b"sm", b"all"), b"small", b"Content-Length: 5"),
        (request(b"POST", fields=CHUNKED) + chunked(), b"", b"Content-Length: 0"),
        (request(b"POST", body=BIG), BIG, b"Content-Length: 5242880"),
        (request(b"POST", fields=CHUNKED) + big_chunked(), BIG, b"Transfer-Encoding: chunked"),
    ],
    ids=["none", "empty", "small", "small-chunked", "empty-chunked", "5MB", "5MB-chunked"],
)
async def test_the_same_body_is_sent_again(sent: bytes, body: bytes, framing: bytes) -> None:
    async with whole_path(answering(UNAUTHORIZED, response(b"ok")), tokens=answering(*TWO_TOKENS)) as path:
        answer = await path.ask(sent)
        first, second = path.api.received

    assert answer.body == b"ok"
    assert first.body == second.body == body
    assert b"\r\n" + framing + b"\r\n" in first.head
    # By the second time, the length of all of them is known.
    assert second.values(b"Content-Length") == [b"%d" % len(body)]
    assert second.values(b"Transfer-Encoding") == []


@pytest.mark.parametrize("known_length", [True, False], ids=["length", "chunked"])
async def test_a_401_that_comes_while_the_body_still_arrives_is_tried_again_with_all_of_it(known_length: bool) -> None:
    refused, in_second_attempt = asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        received = await connection.read_request(body=False)
        assert received is not None
        if received.values(b"Authorization") == [b"Bearer token-1"]:
            await connection.reader.readexactly(1 << 20)
            await connection.send(UNAUTHORIZED)
            refused.set()
            await connection.reader.read()
        else:
            in_second_attempt.set()
            received.body = await connection.read_body(received)
            await connection.send(response(b"ok"))

    framed = BIG if known_length else big_chunked()
    framing = b"Content-Length: %d\r\n" % len(BIG) if known_length else CHUNKED
    async with whole_path(api, tokens=answering(*TWO_TOKENS)) as path, path.connect() as client:
        await client.send(request(b"POST", fields=framing) + framed[: 1 << 21])
        await refused.wait()
        await in_second_attempt.wait()
        await client.send(framed[1 << 21 :])
        assert (await client.read_answer()).body == b"ok"
        # The whole body was read, so that the connection can be kept.
        assert (await client.ask(request(target=b"/nobody/"))).status == 404

    assert path.api.received[1].body == BIG


async def test_a_second_401_passes_through_as_it_is() -> None:
    second = response(b"never", status=b"401 Really Not", fields=b"WWW-Authenticate: Bearer realm=x\r\n")
    async with whole_path(answering(UNAUTHORIZED, second), tokens=answering(*TWO_TOKENS)) as path:
        answer = await path.ask(request())

    assert answer.head + answer.body == second
    assert len(path.api.received) == len(path.tokens.received) == 2


@pytest.mark.parametrize(
    "tokens",
    [response(b"busy", status=b"503 Unavailable"), response(b"{}", status=b"401 Unauthorized"), response(b"<html>")],
)
async def test_the_first_401_reaches_the_client_whole_if_no_fresh_token_can_be_had(tokens: bytes) -> None:
    async with whole_path(answering(UNAUTHORIZED), tokens=answering(token_response(), tokens)) as path:
        answer = await path.ask(request())

    assert answer.head + answer.body == UNAUTHORIZED
    assert len(path.api.received) == 1
    assert path.proxy.logged("request.forwarded")[0]["upstream_status"] == 401


@pytest.mark.parametrize("status", [b"400 Bad Request", b"403 Forbidden", b"407 P", b"429 Slow", b"500 E", b"503 U"])
async def test_other_statuses_are_not_tried_again(status: bytes) -> None:
    async with whole_path(answering(response(status=status))) as path:
        answer = await path.ask(request())

    assert answer.head.startswith(b"HTTP/1.1 " + status)
    assert len(path.api.received) == len(path.tokens.received) == 1


# The log


async def test_a_forwarded_request_is_one_line_with_what_an_operator_asks_for() -> None:
    async with whole_path(answering(response(b"hello", status=b"404 Not Found"))) as path:
        await path.ask(request(b"PUT", b"/demo/a/b?secret=1", body=b"abc", fields=b"X-Request-ID: id-1\r\n"))
        lines = [entry for entry in path.proxy.events if entry["event"].startswith("request.")]

    assert len(lines) == 1
    assert lines[0].pop("duration_ms") >= lines[0].pop("token_ms") + lines[0].pop("upstream_ms") - 0.1 > 0
    assert lines[0] == {
        "event": "request.forwarded",
        "level": "info",
        "address": "127.0.0.1",
        "shop": "demo",
        "method": "PUT",
        "path": "/a/b",
        "status": 404,
        "upstream_status": 404,
        "attempts": 1,
        "bytes_in": 3,
        "bytes_out": 5,
        "request_id": "id-1",
    }


async def test_a_refused_request_is_one_line_with_its_code() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(request(b"POST", b"/nobody/x?secret=1", body=b"abc"))
        lines = [entry for entry in path.proxy.events if entry["event"].startswith("request.")]

    assert len(lines) == 1
    assert {name: lines[0][name] for name in ("event", "level", "code", "shop", "path", "status", "attempts")} == {
        "event": "request.refused",
        "level": "info",
        "code": "unknown_shop",
        "shop": "nobody",
        "path": "/x",
        "status": 404,
        "attempts": 0,
    }


async def test_an_answer_to_options_from_here_is_one_line() -> None:
    async with whole_path(answering(response())) as path:
        await path.ask(request(b"OPTIONS", fields=b"Max-Forwards: 0\r\n"))

    assert [(entry["code"], entry["status"]) for entry in path.proxy.logged("request.refused")] == [
        ("max_forwards", 204)
    ]
