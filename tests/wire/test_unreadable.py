"""The sizes of a request: at the limit it passes, one over it is refused, and nothing goes upstream."""

import json

import pytest

from proxy.config import ServerConfig
from tests.peers import answering, request, response
from tests.proxies import whole_path

OK = answering(response(b"ok"))
SMALL = {"max_request_line": 300, "max_header_size": 400, "max_header_count": 5}
SAME = {"max_request_line": 400, "max_header_size": 400, "max_header_count": 5}


def target(size: int) -> bytes:
    return request(target=b"/demo/".ljust(size, b"x"))


def one_field(size: int) -> bytes:
    """A request whose header fields have so many bytes in all, one of them nearly all of it."""
    host = b"Host: proxy\r\n"
    return request(fields=b"A: ".ljust(size - len(host) - 2, b"x") + b"\r\n")


def many_fields(size: int) -> bytes:
    host, rest = b"Host: proxy\r\n", b"".join(b"%d: %s\r\n" % (number, b"y" * 95) for number in range(3))
    return request(fields=rest + b"A: ".ljust(size - len(host) - len(rest) - 2, b"x") + b"\r\n")


def count(fields: int) -> bytes:
    return request(fields=b"".join(b"A%d: x\r\n" % number for number in range(fields - 1)))


@pytest.mark.parametrize(
    ("limits", "sent", "expected", "sentence"),
    [
        (SMALL, target(300), 200, ""),
        (SMALL, target(301), 414, "The URL is longer than 300 bytes."),
        (SAME, target(400), 200, ""),
        (SAME, target(401), 414, "The URL is longer than 400 bytes."),
        (SMALL, one_field(400), 200, ""),
        (SMALL, one_field(401), 431, "The headers are larger than 400 bytes."),
        (SMALL, one_field(5000), 431, "The headers are larger than 400 bytes."),
        (SAME, one_field(400), 200, ""),
        (SAME, one_field(401), 431, "The headers are larger than 400 bytes."),
        (SAME, one_field(5000), 431, "The headers are larger than 400 bytes."),
        (SMALL, many_fields(400), 200, ""),
        (SMALL, many_fields(401), 431, "The headers are larger than 400 bytes."),
        (SMALL, count(5), 200, ""),
        (SMALL, count(6), 431, "The request has more than 5 header fields."),
    ],
)
async def test_a_request_may_be_so_large_and_no_larger(
    limits: dict[str, int], sent: bytes, expected: int, sentence: str
) -> None:
    server = ServerConfig(port=0, **limits)  # type: ignore[arg-type]  # - numbers all
    async with whole_path(OK, server=server) as path:
        answer = await path.ask(sent)

    assert answer.status == expected
    assert len(path.api.received) == (1 if expected == 200 else 0)
    if sentence:
        document = json.loads(answer.body)
        assert (document["code"], document["detail"]) == ("request_too_large", sentence)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    ("beginning", "piece"), [(b"GET /demo/x HTTP/1.1\r\n", b"A: b\r\n"), (b"", b"\r\n")], ids=["fields", "empty lines"]
)
async def test_headers_without_end_are_refused_before_they_are_large(
    beginning: bytes, piece: bytes, kept: bool
) -> None:
    """What the parser would take for ever: small fields, or empty lines before a request."""
    server = ServerConfig(port=0, max_header_size=400, max_request_line=300, max_header_count=1_000_000)
    async with whole_path(OK, server=server) as path, path.connect() as client:
        if kept:
            assert (await client.ask(request())).status == 200
        await client.send(beginning + piece * 1000)
        answer = await client.read_answer()
        assert (answer.status, answer.values(b"Connection")) == (431, [b"close"])
        assert await client.at_end()

    assert len(path.api.received) == kept


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (b"Content-Length: 1\r\nContent-Length: 1\r\n", "Content-Length appears more than once: send it once."),
        (b"content-length: 1\r\nContent-Length: 2\r\n", "Content-Length appears more than once: send it once."),
        (
            b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length and Transfer-Encoding exclude each other: send one of the two.",
        ),
        (b"Content-Length: many\r\n", "Content-Length must be a whole number of bytes."),
        (b"Content-Length: -1\r\n", "Content-Length must be a whole number of bytes."),
        (b"Content-Length:\r\n", "Content-Length must be a whole number of bytes."),
    ],
)
async def test_what_is_wrong_with_the_length_of_a_body_is_said(fields: bytes, sentence: str) -> None:
    async with whole_path(OK) as path:
        answer = await path.ask(request(b"POST", fields=fields))

    assert (answer.status, json.loads(answer.body)["detail"]) == (400, sentence)
    assert path.api.received == []
