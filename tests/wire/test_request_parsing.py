"""Heads that need a parser: read whole however they come, one after the other, and never wrongly."""

import asyncio
import dataclasses
import sys
from collections.abc import Iterator
from types import FrameType

import pytest
from aiohttp.http import HttpVersion10, HttpVersion11
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import BadRequest, BadTarget, MethodNotSupported, ProxyError, RequestTooLarge
from proxy.forwarding.fields import request_fields
from proxy.wire.client_watch import ClientLimits
from proxy.wire.request_parsing import ParsedHead, RequestParser, check_start_line, not_a_request

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
TABLE = request_fields()
GET = b"GET /demo/x HTTP/1.1\r\nHost: h\r\n"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One that never runs: the parser wants one."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def parsed(loop: asyncio.AbstractEventLoop, *pieces: bytes, limits: ClientLimits = LIMITS) -> ParsedHead:
    """The head that comes in these pieces, none of which is behind its end."""
    parser = RequestParser(TABLE, limits, loop)
    *early, last = pieces
    for piece in early:
        assert parser.feed(piece) is None
    head = parser.feed(last)
    assert head is not None
    return head


def refused(loop: asyncio.AbstractEventLoop, *pieces: bytes, limits: ClientLimits = LIMITS) -> ProxyError:
    parser = RequestParser(TABLE, limits, loop)
    with pytest.raises(ProxyError) as caught:  # noqa: PT012 - any of them may be the one
        for piece in pieces:
            parser.feed(piece)
    return caught.value


def pairs(head: ParsedHead) -> list[tuple[bytes, bytes]]:
    return [(field.name, field.value) for field in head.head.fields]


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize(
    ("sent", "method", "target", "fields", "keep_alive"),
    [
        (GET + b"\r\n", "GET", b"/demo/x", [(b"Host", b"h")], True),
        (b"\r\n\r\n" + GET + b"\r\n", "GET", b"/demo/x", [(b"Host", b"h")], True),
        (
            b"PROPFIND http://h/demo/x?y HTTP/1.1\r\nhost:h\r\nA:\r\nA: \xe9 \r\n\r\n",
            "PROPFIND",
            b"http://h/demo/x?y",
            [(b"host", b"h"), (b"A", b""), (b"A", b"\xe9")],
            True,
        ),
        (GET + b"Connection: close\r\n\r\n", "GET", b"/demo/x", [(b"Host", b"h"), (b"Connection", b"close")], False),
        (
            b"POST /demo/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST",
            b"/demo/x",
            [(b"Host", b"h"), (b"Transfer-Encoding", b"chunked")],
            True,
        ),
        (b"GET /k\xc3\xa9k?\xff HTTP/1.1\r\nHost: h\r\n\r\n", "GET", b"/k%C3%A9k?%FF", [(b"Host", b"h")], True),
        (
            GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            "GET",
            b"/demo/x",
            [(b"Host", b"h"), (b"Connection", b"Upgrade")],
            True,
        ),
    ],
)
def test_a_head_is_read_however_it_is_cut(
    loop: asyncio.AbstractEventLoop,
    sent: bytes,
    method: str,
    target: bytes,
    fields: list[tuple[bytes, bytes]],
    keep_alive: bool,
    one_by_one: bool,
) -> None:
    head = parsed(loop, *([sent[at : at + 1] for at in range(len(sent))] if one_by_one else [sent]))

    assert (head.method, head.target, head.version) == (method, target, HttpVersion11)
    assert (pairs(head), head.keep_alive, head.rest) == (fields, keep_alive, b"")


def test_any_number_of_empty_lines_is_skipped_at_once(loop: asyncio.AbstractEventLoop) -> None:
    parser = RequestParser(TABLE, LIMITS, loop)
    called = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal called
        called += event == "call"

    sys.setprofile(count)
    try:
        assert parser.feed(b"\r\n" * 30_000) is None
    finally:
        sys.setprofile(None)
    assert called < 5

    head = parser.feed(b"\r\n" + GET + b"\r\n")
    assert head is not None
    assert head.target == b"/demo/x"


def test_http_1_0_is_told_and_keeps_its_connection_if_it_says_so(loop: asyncio.AbstractEventLoop) -> None:
    plain = parsed(loop, b"GET /demo/x HTTP/1.0\r\n\r\n")
    kept = parsed(loop, b"GET /demo/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

    assert (plain.version, plain.keep_alive) == (HttpVersion10, False)
    assert (kept.version, kept.keep_alive) == (HttpVersion10, True)


@pytest.mark.parametrize("head", [GET + b"\r\n", GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"])
@pytest.mark.parametrize("behind", [b"x", b"\r\n\r\n", GET + b"\r\n", b"0\r\n\r\n" + GET, b"x" * 100_000])
def test_what_is_behind_a_head_is_handed_back_untouched(
    loop: asyncio.AbstractEventLoop, head: bytes, behind: bytes
) -> None:
    assert parsed(loop, head + behind).rest == behind
    assert parsed(loop, head[:-3], head[-3:] + behind).rest == behind


def test_the_next_head_is_read_by_the_same_parser_and_counts_anew(loop: asyncio.AbstractEventLoop) -> None:
    limits = dataclasses.replace(LIMITS, max_header_size=100)
    parser = RequestParser(TABLE, limits, loop)
    for number in range(20):
        head = parser.feed(b"GET /demo/%d HTTP/1.1\r\nHost: h\r\nA: %s\r\n\r\n" % (number, b"x" * 60))
        assert head is not None
        assert head.target == b"/demo/%d" % number


def test_letters_outside_ascii_do_not_stop_at_what_else_is_wrong(loop: asyncio.AbstractEventLoop) -> None:
    for sent in (
        b"GET /\xe9 HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\nA: b\0\r\n\r\n",
        b"GET /\xe9 x HTTP/1.1\r\n\r\n",
    ):
        assert isinstance(refused(loop, sent), BadRequest)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"get / HTTP/1.1\r\n", MethodNotSupported),
        (b"GET x HTTP/1.1\r\n", BadTarget),
        (b"GET / HTTP/3.0\r\n", BadRequest),
        (GET + b"A : b\r\n", BadRequest),
        (GET + b"A: b\r\n c\r\n", BadRequest),
        (GET + b"A: \x01\r\n", BadRequest),
        (GET.replace(b"\r\n", b"\n"), BadRequest),
        (b"GET /" + b"x" * 9000, RequestTooLarge),
        (GET + b"A: " + b"x" * 40_000, RequestTooLarge),
        (GET + b"A: x\r\n" * 101, RequestTooLarge),
    ],
)
def test_what_can_be_no_head_is_refused_before_its_end(
    loop: asyncio.AbstractEventLoop, sent: bytes, kind: type[ProxyError]
) -> None:
    assert type(refused(loop, sent)) is kind
    assert type(refused(loop, *(sent[at : at + 1] for at in range(len(sent))))) is kind


@pytest.mark.parametrize(("size", "fits"), [(100, True), (101, False)])
def test_the_fields_together_may_be_so_large(loop: asyncio.AbstractEventLoop, size: int, fits: bool) -> None:
    limits = dataclasses.replace(LIMITS, max_header_size=100)
    fields = b"Host: h\r\nB: " + b"y" * 40 + b"\r\n"
    sent = b"GET /demo/x HTTP/1.1\r\n" + fields + b"A: ".ljust(size - len(fields) - 2, b"x") + b"\r\n\r\n"

    if fits:
        assert parsed(loop, sent, limits=limits).target == b"/demo/x"
    else:
        assert str(refused(loop, sent, limits=limits)) == "The headers are larger than 100 bytes."


# What is behind a request and can be no other one


@pytest.mark.parametrize(
    "rest",
    [
        b"G",
        GET,
        GET + b"\r\n",
        b"\r\n",
        b"\r\n" + GET,
        b"POST http://h/ HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n",
        b"GET /" + b"\xe9" * 100,
        b"GET /" + b"x" * 9000,
    ],
)
def test_what_may_be_the_next_request_is_none_of_our_business(loop: asyncio.AbstractEventLoop, rest: bytes) -> None:
    assert not_a_request(rest, LIMITS, loop) is None


@pytest.mark.parametrize(
    "rest",
    [b"abc", b"x" * 100, b"{}", b"3\r\nabc\r\n", b"\0", b"get / HTTP/1.1\r\n", b" GET /", b"HTTP/1.1 200 OK\r\n"],
)
def test_what_can_be_no_request_is_told(loop: asyncio.AbstractEventLoop, rest: bytes) -> None:
    assert isinstance(not_a_request(rest, LIMITS, loop), MethodNotSupported)


# The start line


def test_requests_for_servers_pass() -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT"):
        check_start_line(method, HttpVersion11)
        check_start_line(method, HttpVersion10)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "SOURCE", "DESCRIBE", "SETUP", "PLAY", "RECORD", "FLUSH"])
def test_others_are_not_served(method: str) -> None:
    with pytest.raises(MethodNotSupported):
        check_start_line(method, HttpVersion11)


@pytest.mark.parametrize("version", [(0, 9), (1, 2), (2, 0)])
def test_other_versions_are_not_spoken(version: tuple[int, int]) -> None:
    with pytest.raises(BadRequest, match=r"HTTP/1\.1"):
        check_start_line("GET", type(HttpVersion11)(*version))


# Whatever comes

PIECES = st.sampled_from(
    [
        *(b"GET ", b"POST ", b"/", b"/demo/x", b"http://h/", b"*", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\r\n", b"\n"),
        *(b"Host: h\r\n", b"A: b\r\n", b"Connection: close\r\n", b"Connection: Upgrade\r\n", b"Upgrade: h2c\r\n"),
        *(
            b"Content-Length: 3\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"\xe9",
            b"\xc3\xa9",
            b" ",
            b":",
            b"\0",
            b"\x01",
        ),
        *(b"\r", b"\t", b"#", b"?q=", b"A", b"\x7f", b"x" * 70),
    ]
)
SENT = st.lists(PIECES, max_size=14).map(b"".join) | st.builds(
    lambda lines, rest: b"GET /demo/x HTTP/1.1\r\nHost: h\r\n" + b"".join(lines) + b"\r\n" + rest,
    st.lists(PIECES, max_size=5),
    st.lists(PIECES, max_size=3).map(b"".join),
)
PLACES = st.lists(st.integers(0, 200), max_size=6)


def outcome(loop: asyncio.AbstractEventLoop, pieces: list[bytes]) -> object:
    """What comes of the first head."""
    parser = RequestParser(TABLE, LIMITS, loop)
    for number, piece in enumerate(pieces):
        try:
            head = parser.feed(piece)
        except ProxyError as error:
            return type(error)
        if head is not None:
            rest = head.rest + b"".join(pieces[number + 1 :])
            return (*head[:3], head.head.fields, head.keep_alive, rest)
    return None


@settings(max_examples=200)
@given(sent=SENT, places=PLACES)
def test_whatever_comes_is_a_head_or_refused_the_same_wherever_it_is_cut(
    sent: bytes, places: list[int], loop: asyncio.AbstractEventLoop
) -> None:
    ends = sorted({place % (len(sent) + 1) for place in places} | {len(sent)})
    cut = [sent[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    assert outcome(loop, cut) == outcome(loop, [sent])
