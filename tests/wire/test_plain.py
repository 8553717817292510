"""What is plainly right is read as aiohttp's parser reads it; all else, right or wrong, is left to that."""

import asyncio
import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from aiohttp.http import HttpRequestParser, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import UpstreamProtocolError
from proxy.forwarding.fields import answer_fields, request_fields
from proxy.wire.answer_parsing import parse_answer
from proxy.wire.client_watch import ClientLimits
from proxy.wire.framing import answer_length, check_request
from proxy.wire.head import Head
from proxy.wire.plain import END, plain_answer, plain_request
from proxy.wire.request_parsing import RequestParser, check_start_line

LIMITS = ClientLimits(
    max_request_line=8190,
    max_header_size=32768,
    max_header_count=100,
    header_timeout=10.0,
    min_body_rate=100.0,
    rate_window=60.0,
    keep_alive_timeout=75.0,
    max_requests_per_connection=1000,
)
REQUESTS, ANSWERS = request_fields(), answer_fields()
GET = b"GET /demo/x HTTP/1.1\r\nHost: h\r\n"
POST = b"POST /demo/x HTTP/1.1\r\nHost: h\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One that never runs: the parsers want one."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


class PlainRequest(NamedTuple):
    """A request that was taken for plain."""

    method: str
    target: bytes
    body: bytes
    head: Head


def read(sent: bytes, limits: ClientLimits = LIMITS) -> PlainRequest | None:
    """Read a request as the first one on its connection."""
    plain = plain_request(sent, REQUESTS, limits, None)
    return None if plain is None else PlainRequest(*plain[:3], plain[3][1])


class PlainAnswer(NamedTuple):
    """The head of an answer that was taken for plain."""

    status: int
    reason: bytes
    head: Head
    length: int | None
    close: bool


def read_answer(raw: bytes) -> PlainAnswer | None:
    plain = plain_answer(raw, ANSWERS)
    return None if plain is None else PlainAnswer(*plain)


# Requests


def test_the_beginning_of_a_request_is_none_whatever_length_it_tells() -> None:
    """A length that is just that of what came, less the end of the head that is missing."""
    for length in range(200):
        whole = POST + b"Content-Length: %d\r\nX-A: %s\r\n\r\n" % (length, b"x" * 200)
        for end in range(len(whole)):
            assert read(whole[:end]) is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_plain_request_is_read(method: str) -> None:
    sent = method.encode() + b" /demo/x?y=[1] HTTP/1.1\r\nHost: h\r\nX-A:  1\r\nx-a:\r\n\r\n"
    plain = read(sent)

    assert plain is not None
    assert (plain.method, plain.target, plain.body) == (method, b"/demo/x?y=[1]", b"")
    assert [(field.name, field.value) for field in plain.head.fields] == [
        (b"Host", b"h"),
        (b"X-A", b"1"),
        (b"x-a", b""),
    ]


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (POST + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (POST + b"Content-Length: 0\r\n\r\n", b""),
        (POST + b"Content-Length: 003\r\n\r\nabc", b"abc"),
        (POST + b"Content-Length: 8\r\n\r\n\r\n\r\nabcd", b"\r\n\r\nabcd"),
        (POST + b"\r\n", b""),
        (GET + b"Content-Length: 1\r\n\r\nx", b"x"),
    ],
)
def test_a_body_that_is_all_there_is_read_with_it(sent: bytes, body: bytes) -> None:
    plain = read(sent)

    assert plain is not None
    assert plain.body == body


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n\r\n",
        GET,
        GET + b"\r",
        GET + b"\r\n" + GET + b"\r\n",  # two
        GET + b"\r\nx",
        POST + b"Content-Length: 3\r\n\r\nabcd",
        b"\r\n" + GET + b"\r\n",
        # Framing that calls for a decision
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 3, 3\r\n\r\nabc",
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length:\r\n\r\n",
        POST + b"Content-Length: 9999999999\r\n\r\n",
        POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        GET + b"Upgrade: h2c\r\n\r\n",
        GET + b"Sec-WebSocket-Key1: x\r\n\r\n",
        GET + b"Proxy-Connection: close\r\n\r\n",
        # Start lines
        GET.replace(b"1.1", b"1.0") + b"\r\n",
        GET.replace(b"1.1", b"2.0") + b"\r\n",
        GET.replace(b"HTTP", b"http") + b"\r\n",
        GET.replace(b"GET", b"get") + b"\r\n",
        GET.replace(b"GET", b"PROPFIND") + b"\r\n",
        GET.replace(b"GET", b"CONNECT") + b"\r\n",
        GET.replace(b"GET", b"TRACE") + b"\r\n",
        GET.replace(b" /", b"  /") + b"\r\n",
        GET.replace(b" /", b" http://h/") + b"\r\n",
        GET.replace(b"/demo/x", b"*") + b"\r\n",
        GET.replace(b"/x", b"/x#y") + b"\r\n",
        GET.replace(b"/x", b"/\xc3\xa9") + b"\r\n",
        GET.replace(b"/x", b"/\x7f") + b"\r\n",
        GET.replace(b"/x", b"/\t") + b"\r\n",
        GET.replace(b" HTTP/1.1", b"") + b"\r\n",
        # Fields
        GET.replace(b"\r\n", b"\n") + b"\n",
        GET + b"X : y\r\n\r\n",
        GET + b" X: y\r\n\r\n",
        GET + b"X: y\r\n z\r\n\r\n",
        GET + b"X: y\nZ: w\r\n\r\n",
        GET + b"X: \0\r\n\r\n",
        GET + b"X\r\n\r\n",
        # Host
        b"GET /demo/x HTTP/1.1\r\n\r\n",
        b"GET /demo/x HTTP/1.1\r\nA: b\r\n\r\n",
        GET + b"host: h\r\n\r\n",
        GET.replace(b": h", b": a/b") + b"\r\n",
        GET.replace(b": h", b": u@h") + b"\r\n",
    ],
)
def test_what_is_not_plainly_one_whole_request_is_left_alone(sent: bytes) -> None:
    assert read(sent) is None


def test_what_may_be_too_large_is_left_to_who_says_so() -> None:
    """What is not plainly small enough is measured elsewhere."""
    sent = b"GET /demo/" + b"x" * 100 + b" HTTP/1.1\r\nHost: h\r\nA:" + b"y" * 200 + b"\r\nB:z\r\n\r\n"
    assert read(sent) is not None
    for limit, least in (("max_request_line", 110), ("max_header_size", 218), ("max_header_count", 3)):
        for number in range(least):
            assert read(sent, dataclasses.replace(LIMITS, **{limit: number})) is None
        assert read(sent, dataclasses.replace(LIMITS, **{limit: least + 20})) is not None


def test_a_large_head_is_left_alone_whatever_the_limits_say() -> None:
    limits = dataclasses.replace(LIMITS, max_header_size=1 << 20, max_header_count=1000, max_request_line=1 << 20)

    assert read(GET + b"A: ".ljust(8192 - len(GET), b"x") + END, limits) is not None
    assert read(GET + b"A: ".ljust(8193 - len(GET), b"x") + END, limits) is None
    assert read(GET + b"A: x\r\n" * 63 + b"\r\n", limits) is not None
    assert read(GET + b"A: x\r\n" * 64 + b"\r\n", limits) is None


def test_the_same_fields_as_before_are_not_read_again() -> None:
    first = plain_request(GET + b"A: 1\r\n\r\n", REQUESTS, LIMITS, None)
    assert first is not None
    again = plain_request(GET.replace(b"/x", b"/y") + b"A: 1\r\n\r\n", REQUESTS, LIMITS, first[3])
    assert again is not None
    assert again[:3] == ("GET", b"/demo/y", b"")
    assert again[3][1] is first[3][1]


def test_the_same_fields_are_held_to_other_limits() -> None:
    first = plain_request(GET + b"A: 1\r\n\r\n", REQUESTS, LIMITS, None)
    assert first is not None

    assert (
        plain_request(GET + b"A: 1\r\n\r\n", REQUESTS, dataclasses.replace(LIMITS, max_header_size=5), first[3]) is None
    )


@pytest.mark.parametrize(
    "fields", [b"A: 2\r\n", b"A:  1\r\n", b"a: 1\r\n", b"A: 1\r\nA: 1\r\n", b"", b"Content-Length: 0\r\n"]
)
def test_other_fields_than_before_are_read(fields: bytes) -> None:
    first = plain_request(GET + b"A: 1\r\n\r\n", REQUESTS, LIMITS, None)
    assert first is not None
    other = plain_request(GET + fields + b"\r\n", REQUESTS, LIMITS, first[3])
    assert other is not None
    alone = read(GET + fields + b"\r\n")
    assert alone is not None
    assert other[3][1].fields == alone.head.fields


@pytest.mark.parametrize(("body", "missing"), [(b"ab", 1), (b"", 3), (b"abc", 0), (b"abcd", None)])
def test_the_same_fields_with_another_body_than_they_say_are_left_alone(body: bytes, missing: int | None) -> None:
    """Unless the rest may still come."""
    fields = b"Content-Length: 3\r\n\r\n"
    first = plain_request(POST + fields + b"abc", REQUESTS, LIMITS, None)
    assert first is not None

    for last in (None, first[3]):
        other = plain_request(POST + fields + body, REQUESTS, LIMITS, last)
        assert (other and (other[2], other[4])) == (None if missing is None else (body, missing))
    again = plain_request(POST + fields + b"xyz", REQUESTS, LIMITS, first[3])
    assert again is not None
    assert again[2] == b"xyz"


# Pieces of heads, most of them right: whatever is accepted of them must be what the parsers make of it, and what has
# nothing odd in it is accepted.

METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"]
ODD_METHODS = [b"TRACE", b"PRI", b"get", b"SOURCE", b"PROPFIND", b"CONNECT"]
TARGETS = [
    *(
        b"/",
        b"/demo/x",
        b"/demo/x?y=1&z[]=2",
        b"//x",
        b"/%zz%",
        b"/a\\b",
        b'/"',
        b"/{}|^`",
        b"/?",
        b"/:80",
        b"/http://h/",
    ),
]
ODD_TARGETS = [b"*", b"/a#b", b"/\xe9", b"/a b", b"http://h/", b"h:80", b"/\t", b""]
VERSIONS = [b"HTTP/1.1"]
ODD_VERSIONS = [b"HTTP/1.0", b"HTTP/2.0", b"RTSP/1.0", b"ICE/1.0", b"HTTP/1.1 ", b"http/1.1", b""]
NAMES = [
    *(b"Connection", b"Cookie", b"X-A", b"x_b", b"Content_Length", b"Transfer_Encoding", b"Accept", b"TE", b"Close"),
    *(b"HTTP2-Settings", b"Via", b"Authorization", b"Keep-Alive", b"!#$%&'*+-.^_`|~", b"X-Forwarded-For"),
]
ODD_NAMES = [
    *(b"Host", b"host", b"content-length", b"Transfer-Encoding", b"Upgrade", b"Expect", b"Sec-WebSocket-Key1", b"X : "),
    *(b" X", b"A(b)", b"", b"X\0", b"\xe9", b"Proxy-Connection"),
]
VALUES = [
    *(b"", b"h", b"0", b"3", b"close", b"keep-alive", b"Close, X-A", b"upgrade", b"\xe9", b"a\tb", b"\t x  "),
    *(b"x" * 70, b"a: b", b"close,", b"keep-alive, close", b"chunked", b"100-continue", b"h2c"),
]
ODD_VALUES = [b"a\0", b"\x7f", b"+3", b"3,3", b"gzip", b"a/b", b"websocket", b"x\r\n y", b"x\ny", b"x\ry", b"\x0b3"]


def one_of(draw: st.DrawFn, right: list[bytes], odd: list[bytes], *, odd_too: bool) -> bytes:
    return draw(st.sampled_from([*right, *odd] if odd_too else right))


def fields_drawn(draw: st.DrawFn, *, odd_too: bool) -> bytes:
    """Lines of fields; where nothing is odd, none comes twice."""
    names = [one_of(draw, NAMES, ODD_NAMES, odd_too=odd_too) for _ in range(draw(st.integers(0, 5)))]
    lines = [
        name + draw(st.sampled_from([b":", b": "])) + one_of(draw, VALUES, ODD_VALUES, odd_too=odd_too) + b"\r\n"
        for name in (names if odd_too else dict.fromkeys(names))
    ]
    return b"".join(lines)


def spoiled(draw: st.DrawFn, whole: bytes) -> bytes:
    """The same with a few bytes more somewhere, or less."""
    start = draw(st.integers(0, len(whole)))
    end = start + draw(st.sampled_from([0, 0, 1, 5]))
    more = st.binary(max_size=3) | st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b":", b"\r\n\r\n", b"\t"])
    return whole[:start] + draw(more) + whole[end:]


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, bool]:
    """What somebody sends, and whether all of it is right."""
    odd_too = draw(st.booleans())
    line = b" ".join(
        [
            one_of(draw, METHODS, ODD_METHODS, odd_too=odd_too),
            one_of(draw, TARGETS, ODD_TARGETS, odd_too=odd_too),
            one_of(draw, VERSIONS, ODD_VERSIONS, odd_too=odd_too),
        ]
    )
    body = draw(st.sampled_from([b"", b"", b"abc", b"\r\n\r\n"]))
    length = b"Content-Length: %d\r\n" % len(body) if body or draw(st.booleans()) else b""
    sent = line + b"\r\nHost: h\r\n" + fields_drawn(draw, odd_too=odd_too) + length + b"\r\n" + body
    if draw(st.integers(0, 3)):
        return sent, not odd_too
    return spoiled(draw, sent), False


def parsed_by_aiohttp(data: bytes, loop: asyncio.AbstractEventLoop) -> RawRequestMessage | None:
    parser = HttpRequestParser(None, loop, 1 << 16, max_line_size=8190, max_headers=100, response_with_body=False)
    try:
        messages = parser.feed_data(data)[0]
    except HttpProcessingError:
        return None
    return messages[0][0] if messages else None


@settings(max_examples=200)
@given(drawn=requests())
def test_what_is_taken_for_plain_reads_the_same_to_the_parser(
    drawn: tuple[bytes, bool], loop: asyncio.AbstractEventLoop
) -> None:
    sent, right = drawn
    plain = read(sent)
    if plain is None:
        assert not right
        return
    head, end, body = sent.partition(END)

    message = parsed_by_aiohttp(head + end, loop)
    assert message is not None
    assert (message.method, message.path.encode()) == (plain.method, plain.target)
    assert (message.version, message.upgrade, message.chunked) == (HttpVersion11, False, False)
    assert list(message.raw_headers) == [(field.name, field.value) for field in plain.head.fields]
    assert message.should_close is plain.head.closes
    assert plain.body == body
    assert int(plain.head.first.get(b"content-length") or b"0") == len(body)
    # The longer way would not have refused it either, and finds the same.
    parsed = RequestParser(REQUESTS, LIMITS, loop).feed(sent)
    assert parsed is not None
    assert (parsed.head.fields, parsed.head.first) == (plain.head.fields, plain.head.first)
    assert (parsed.rest, parsed.target) == (body, plain.target)
    check_start_line(parsed.method, parsed.version)
    check_request(parsed.head, modern=True)


# Answers


def test_a_plain_answer_is_read() -> None:
    plain = read_answer(b"HTTP/1.1 404 Not\tF\xf6und\r\nContent-Type: a/b\r\nX:\r\nContent-Length: 5")

    assert plain is not None
    assert (plain.status, plain.reason) == (404, b"Not\tF\xf6und")
    assert (plain.length, plain.close) == (5, False)
    assert [(field.name, field.value) for field in plain.head.fields] == [
        (b"Content-Type", b"a/b"),
        (b"X", b""),
        (b"Content-Length", b"5"),
    ]


@pytest.mark.parametrize("raw", [b"HTTP/1.1 200 ", b"HTTP/1.1 204 No Content", OK + b"Transfer-Encoding: chunked"])
def test_what_else_is_plain(raw: bytes) -> None:
    assert read_answer(raw) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 200",
        b"HTTP/1.0 200 OK",
        b"HTTP/2 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 103 Early Hints",
        b"HTTP/1.1 600 x",
        b"HTTP/1.1 2000 x",
        b"HTTP/1.1 20 x",
        b"HTTP/1.1 200 \x1b",
        b"HTTP/1.1 200 O\nK",
        b" " + OK + b"X: y",
        b"\r\n" + OK + b"X: y",
        OK + b"X : y",
        OK + b"X: y\r\n z",
        OK + b"X: y\nZ: w",
        OK + b"A(b): c",
        OK + b"X",
        OK + b"X: \0",
        OK + b"Content-Length: 5\r\nContent-Length: 5",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        OK + b"Content-Length: 5, 5",
        OK + b"Content-Length: -5",
        OK + b"Content-Length:",
        OK + b"Proxy-Connection: close",
        OK + b"A: " + b"x" * 8192,
        OK + b"\r\n".join([b"A: x"] * 65),
    ],
)
def test_what_is_no_plain_answer_is_left_alone(raw: bytes) -> None:
    assert read_answer(raw) is None


STATUS_LINES = [b"HTTP/1.1 200 OK", b"HTTP/1.1 204 ", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 599 \xe9"]
ODD_STATUS_LINES = [b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 101 x", b"HTTP/1.1 000 x", b"ICY 200 OK", b""]


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bool]:
    """The head of an answer without its empty line, and whether all of it is right."""
    odd_too = draw(st.booleans())
    line = one_of(draw, STATUS_LINES, ODD_STATUS_LINES, odd_too=odd_too)
    length = draw(st.sampled_from([b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"]))
    raw = (line + b"\r\n" + fields_drawn(draw, odd_too=odd_too) + length).removesuffix(b"\r\n")
    if draw(st.integers(0, 3)):
        return raw, not odd_too
    return spoiled(draw, raw).partition(END)[0], False


@settings(max_examples=200)
@given(drawn=answers())
def test_what_is_taken_for_a_plain_answer_reads_the_same_to_the_parser(
    drawn: tuple[bytes, bool], loop: asyncio.AbstractEventLoop
) -> None:
    raw, right = drawn
    try:
        plain = read_answer(raw)
    except UpstreamProtocolError:
        return  # refused either way
    if plain is None:
        assert not right
        return
    length = answer_length(plain.head)
    assert (plain.length, plain.close) == (length, plain.head.closes)
    if b"sec-websocket-key1" in {field.name.lower() for field in plain.head.fields}:
        return  # aiohttp does not like it, but there is nothing wrong with it
    parsed = parse_answer(raw + END, ANSWERS, loop)
    assert (parsed.status, parsed.reason) == (plain.status, plain.reason)
    assert (parsed.head.fields, parsed.head.first) == (plain.head.fields, plain.head.first)
    assert parsed.close is plain.head.closes or length is None  # then it ends with its connection in any case
