"""What an upstream may say, and what is refused before anything of it reaches the client."""

import json

import pytest

from tests.peers import Connection, answering, closing, request, response
from tests.proxies import whole_path

BODY = b"\r\n\r\nok"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length : 2" + BODY,
        b"HTTP/1.1 200 OK\r\nConnection : X-Y\r\nContent-Length: 2" + BODY,
        b"HTTP/1.1 200 OK\r\nA(b): c\r\nContent-Length: 2" + BODY,
        b"HTTP/1.1 200 O\x01\x1b[31mK\r\nContent-Length: 2" + BODY,
        b"HTTP/1.1 000 x\r\nContent-Length: 2" + BODY,
        b"HTTP/1.1 001 x\r\n\r\n" + response(),
        b"HTTP/1.1 199 O\x1b[31mK\r\n\r\n" + response(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615" + BODY,
    ],
)
async def test_an_answer_that_is_not_clear_is_refused(answer: bytes) -> None:
    async with whole_path(closing(answer)) as path:
        got = await path.ask(request())

    assert (got.status, json.loads(got.body)["code"]) == (502, "upstream_protocol_error")


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    ("method", "head", "body"),
    [
        (b"DELETE", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", b"ok"),
    ],
)
async def test_a_body_where_none_may_be_costs_nobody_the_answer(
    method: bytes, head: bytes, body: bytes, apart: bool
) -> None:
    async def api(connection: Connection) -> None:
        while await connection.read_request():
            if apart:
                await connection.send(head)
            await connection.send(body if apart else head + body)

    async with whole_path(api) as path:
        for _ in range(2):
            async with path.connect() as client:
                await client.send(request(method))
                answer = await client.read_answer(body=False)
                assert answer.head.startswith(head[:12])


async def test_a_flood_of_interim_answers_is_not_kept_for_a_client_that_does_not_read() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\n" + b"Link: <%s>\r\n" % (b"x" * 30_000) * 20 + b"\r\n"

    async with whole_path(answering(hint * 90 + response(b"final"))) as path, path.connect() as client:
        client.stop_reading()
        await client.send(request(fields=b"Connection: close\r\n"))
        await path.proxy.until_logged("request.forwarded")
        client.start_reading()
        rest, _ = await client.read_to_end()

    assert rest.endswith(b"final")
    assert 0 < rest.count(b" 103 Early Hints") < 60


async def test_the_fields_of_half_a_head_are_not_logged() -> None:
    async with whole_path(closing(b"HTTP/1.1 200 OK\r\nX-Session: private-session-1\r\n")) as path:
        got = await path.ask(request())
        logged = repr(path.proxy.events)

    assert got.status == 502
    assert "private-session" not in logged
