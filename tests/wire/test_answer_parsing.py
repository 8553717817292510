"""What an upstream may say, and what is refused before anything of it reaches the client."""

import json
from typing import Final

import pytest

from tests.peers import DATE, Answer, Connection, answering, closing, request, response
from tests.proxies import whole_path

BODY = b"\r\n\r\nok"
OK = b"HTTP/1.1 200 OK\r\n" + DATE
MAX_HEAD: Final = 1 << 16  # bytes, the line and the empty line included


async def answered(sent: bytes) -> tuple[Answer, str]:
    """What a client gets of an answer, and the `reason` in the log if it is an error."""
    async with whole_path(closing(sent)) as path:
        answer = await path.ask(request())
        return answer, "".join(line["reason"] for line in path.proxy.logged("request.refused"))


# What can't be read as one clear answer

UNCLEAR: Final = {
    "a blank before the colon of a length": (OK + b"Content-Length : 2" + BODY, "content-length"),
    "a tab before the colon of a length": (OK + b"content-length\t: 2" + BODY, "content-length"),
    "a blank before the colon of a coding": (OK + b"Transfer-Encoding : chunked" + BODY, "transfer-encoding"),
    "a blank before the colon of Connection": (
        OK + b"Connection : X-Y\r\nContent-Length: 2" + BODY,
        "connection",
    ),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3" + BODY, "Content-Length"),
    "two lengths in a list": (OK + b"Content-Length: 2, 3" + BODY, "Content-Length"),
    "a length and no length": (OK + b"Content-Length: 2\r\nContent-Length:" + BODY, "Content-Length"),
    "a length below zero": (OK + b"Content-Length: -2" + BODY, "Content-Length"),
    "a length in letters": (OK + b"Content-Length: two" + BODY, "Content-Length"),
    "a length of 2^64 - 1": (OK + b"Content-Length: 18446744073709551615" + BODY, "Content-Length"),
    "a coding that nobody asked for": (OK + b"Transfer-Encoding: gzip, chunked" + BODY, "Transfer-Encoding"),
    "a coding and a length": (
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Content-Length: together with Transfer-Encoding",
    ),
    "a length and a coding": (
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Content-Length: together with Transfer-Encoding",
    ),
    "a line that is not a header field": (
        OK + b"no field\r\nContent-Length: 2" + BODY,
        "a line that is not a header field",
    ),
    "a control in a value": (OK + b"X-A: b\x01c\r\nContent-Length: 2" + BODY, "X-A: a control"),
    "NUL in a value": (OK + b"X-A: b\0c\r\nContent-Length: 2" + BODY, "X-A: a control"),
    "a control in a value beside what can be repaired": (
        OK + b"X-A : b\r\n@: c\r\nX-B : d\x7f\r\nContent-Length: 2" + BODY,
        "X-B: a control",
    ),
    "controls in the reason": (b"HTTP/1.1 200 O\x01\x1b[31mK\r\nContent-Length: 2" + BODY, ""),
    "status 000": (b"HTTP/1.1 000 x\r\nContent-Length: 2" + BODY, ""),
    "status 001": (b"HTTP/1.1 001 x\r\n\r\n" + response(), ""),
    "controls in an interim answer": (b"HTTP/1.1 199 O\x1b[31mK\r\n\r\n" + response(), ""),
    "a blank before the colon of an interim answer's length": (
        b"HTTP/1.1 103 Hints\r\nContent-Length : 2\r\n\r\n" + response(),
        "content-length",
    ),
    "NUL in the name of a length": (OK + b"Content-Length\0: 2" + BODY, "content-length"),
    "HTTP/2.0": (b"HTTP/2.0 200 OK\r\nContent-Length: 2" + BODY, "HTTP/2"),
    "no HTTP": (b"220 mail.example ESMTP\r\n\r\n", ""),
    "no HTTP, and no end of it": (b"220 mail.example ESMTP\r\n", "no status line"),
    "another protocol": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", ""),
}


@pytest.mark.parametrize("what", UNCLEAR)
async def test_an_answer_that_is_not_clear_is_refused(what: str) -> None:
    sent, named = UNCLEAR[what]
    got, reason = await answered(sent)

    assert (got.status, json.loads(got.body)["code"]) == (502, "upstream_protocol_error")
    assert named in reason
    assert named not in got.body.decode() or not named  # that is for the operator


# What is only odd, and what the client gets of it (RFC 9112 §5.1, §6.3)

ODD: Final = {
    "a blank before the colon": (OK + b"X-XSS-Protection : 1\r\nContent-Length: 2" + BODY, b"X-XSS-Protection: 1\r\n"),
    "tabs before the colon": (OK + b"A\t\t:b\r\nContent-Length: 2" + BODY, b"A: b\r\n"),
    "a name that is none": (OK + b"A(b): c\r\nD: e\r\nContent-Length: 2" + BODY, b"D: e\r\n"),
    "no name": (OK + b": c\r\nD: e\r\nContent-Length: 2" + BODY, b"D: e\r\n"),
    "a name in Latin-1": (OK + b"Fehl\xe9r: c\r\nD: e\r\nContent-Length: 2" + BODY, b"D: e\r\n"),
    "the same length twice": (OK + b"Content-Length: 2\r\nA: b\r\nContent-Length: 2" + BODY, b"A: b\r\n"),
    "the same length in a list": (OK + b"Content-Length: 2, 2\r\nA: b" + BODY, b"A: b\r\n"),
    "many oddities at once": (
        OK + b"A : b\r\nContent-Length: 2\r\n@: c\r\nContent-Length: 2 , 2\r\nA : d" + BODY,
        b"A: b\r\nA: d\r\n",
    ),
    "bytes outside ASCII in a value": (OK + b"A: b\xe9\r\nContent-Length: 2" + BODY, b"A: b\xe9\r\n"),
    "no reason": (b"HTTP/1.1 200 \r\n" + DATE + b"A: b\r\nContent-Length: 2" + BODY, b"A: b\r\n"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + DATE + b"A: b\r\nContent-Length: 2" + BODY, b"A: b\r\n"),
    "LF alone": (b"HTTP/1.1 200 OK\n" + DATE + b"A: b\nContent-Length: 2\n\nok", b"A: b\r\n"),
    "LF alone, and a blank before the colon": (
        b"HTTP/1.1 200 OK\n" + DATE + b"A : b\nContent-Length: 2\n\nok",
        b"A: b\r\n",
    ),
    "LF alone behind a name that is none": (OK + b"A(b): c\nD: e\r\nContent-Length: 2" + BODY, b"D: e\r\n"),
    "a value over two lines": (OK + b"A: b\r\n c\r\nContent-Length: 2" + BODY, b"A: b c\r\n"),
    "a blank before the colon, and a value over two lines": (
        OK + b"A : b\r\n\t c\r\nContent-Length: 2" + BODY,
        b"A: b c\r\n",
    ),
    "a length over two lines": (OK + b"Content-Length: 2,\r\n 2\r\nA: b" + BODY, b"A: b\r\n"),
    "an empty line before it": (b"\r\n" + OK + b"A: b\r\nContent-Length: 2" + BODY, b"A: b\r\n"),
    "oddities of an interim answer": (
        b"HTTP/1.1 103 Hints\r\nLink : <a>\r\n@: b\r\n\r\n" + OK + b"A: b\r\nContent-Length: 2" + BODY,
        b"A: b\r\n",
    ),
}


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("what", ODD)
async def test_an_answer_that_is_only_odd_reaches_the_client_as_it_is_meant(what: str, cut: bool) -> None:
    sent, fields = ODD[what]

    async def api(connection: Connection) -> None:
        while await connection.read_request():
            for start in range(0, len(sent), 5 if cut else len(sent)):
                await connection.send(sent[start : start + 5] if cut else sent)

    async with whole_path(api) as path, path.connect() as client:
        answers = [await client.ask(request()) for _ in range(2)]

    reason = b"" if what == "no reason" else b"OK"
    for answer in answers:
        assert answer.head == b"HTTP/1.1 200 " + reason + b"\r\n" + DATE + fields + b"Content-Length: 2\r\n\r\n"
        assert answer.body == b"ok"
    assert path.api.connections == (2 if what == "HTTP/1.0" else 1)


# How large a head may be


def head_of(size: int) -> bytes:
    """A head of so many bytes in all, none of its lines a long one."""
    end = b"Content-Length: 2\r\n\r\n"
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range((size - len(OK + end)) // 1010))
    return OK + lines + b"Z: ".ljust(size - len(OK + lines + end) - 2, b"z") + b"\r\n" + end


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 502), (500_000, 502)])
async def test_a_head_may_be_so_large_and_no_larger(more: int, status: int, cut: bool) -> None:
    head = head_of(MAX_HEAD + more)
    assert len(head) == MAX_HEAD + more

    async def api(connection: Connection) -> None:
        await connection.read_request()
        for piece in [head[:40_000], head[40_000:]] if cut else [head]:
            await connection.send(piece)
        await connection.send(b"ok")

    async with whole_path(api) as path:
        answer = await path.ask(request())
        refused = path.proxy.logged("request.refused")

    assert answer.status == status
    if status == 200:
        assert (answer.body, answer.values(b"Z")) == (b"ok", [head.partition(b"Z: ")[2].partition(b"\r")[0]])
    else:
        assert json.loads(answer.body)["code"] == "upstream_protocol_error"
        assert [line["reason"] for line in refused] == ["more than 65536 bytes"]


async def test_a_head_without_an_end_is_refused_before_it_is_large() -> None:
    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(OK)
        while True:
            await connection.send(b"X: %s\r\n" % (b"y" * 1000))

    async with whole_path(api) as path:
        assert (await path.ask(request())).status == 502


async def test_a_line_may_not_be_as_long_as_a_head() -> None:
    got, _ = await answered(OK + b"A: " + b"x" * 40_000 + b"\r\nContent-Length: 2" + BODY)

    assert got.status == 502


async def test_fields_may_not_be_without_number() -> None:
    got, _ = await answered(OK + b"A: b\r\n" * 1000 + b"Content-Length: 2" + BODY)

    assert got.status == 502


# What follows a head


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


@pytest.mark.parametrize(
    "fields",
    [
        b"204 No Content\r\nTransfer-Encoding: chunked",
        b"204 No Content\r\nContent-Length: 2",
        b"304 X\r\nTransfer-Encoding: chunked",
    ],
)
async def test_where_a_body_may_follow_that_none_may_have_the_connection_is_not_kept(fields: bytes) -> None:
    async with whole_path(answering(b"HTTP/1.1 " + fields + b"\r\n\r\n")) as path, path.connect() as client:
        for _ in range(2):
            await client.send(request())
            await client.read_answer(body=False)
        assert path.api.connections == 2


async def test_empty_lines_without_end_are_no_answer() -> None:
    async def api(connection: Connection) -> None:
        await connection.read_request()
        for _ in range(70):
            await connection.send(b"\r\n" * 512)
        await connection.reader.read()

    async with whole_path(api) as path, path.connect() as client:
        assert (await client.ask(request())).status == 502


async def test_a_flood_of_interim_answers_reaches_no_client_and_costs_none_the_answer() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\n" + b"Link: <%s>\r\n" % (b"x" * 30_000) * 2 + b"\r\n"

    async with whole_path(answering(hint * 90 + response(b"final"))) as path, path.connect() as client:
        client.stop_reading()
        await client.send(request(fields=b"Connection: close\r\n"))
        await path.proxy.until_logged("request.forwarded")
        client.start_reading()
        rest, orderly = await client.read_to_end()

    assert rest == b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 5\r\nConnection: close\r\n\r\nfinal"
    assert orderly


async def test_the_fields_of_half_a_head_are_not_logged() -> None:
    async with whole_path(closing(b"HTTP/1.1 200 OK\r\nX-Session: private-session-1\r\n")) as path:
        got = await path.ask(request())
        logged = repr(path.proxy.events)

    assert got.status == 502
    assert "private-session" not in logged


@pytest.mark.parametrize(
    "line", [b"X-Session: private-session-1\0", b"private-session-1", b"X\r\n X: private-session-1\0"]
)
async def test_the_fields_of_a_head_that_is_refused_are_not_logged(line: bytes) -> None:
    async with whole_path(closing(OK + line + b"\r\nX: private-session-1" + BODY)) as path:
        got = await path.ask(request())
        logged = repr(path.proxy.events)

    assert got.status == 502
    assert b"private-session" not in got.body
    assert "private-session" not in logged
