"""Heads of requests that are not plainly right: aiohttp's parser says what they are, or that they are none.

Rules: the parser gets heads alone, never a body. It keeps each byte two or three times: so of a head that is large and
comes in pieces it gets the beginning as it comes, which tells most of what is no request. Then a fresh one now and then
gets all that is there, and is not kept. One that it refuses is given to it once more if there is a way to
write it that it takes and that means the same (`repair.py`), from the beginning and to a fresh one.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from aiohttp.http import HttpRequestParser, HttpVersion, HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

from proxy.errors import BadRequest, MethodNotSupported, ProxyError
from proxy.wire.client_watch import ClientLimits
from proxy.wire.head import FieldTable, Head, is_field
from proxy.wire.plain import END
from proxy.wire.repair import encoded_target, without_upgrade
from proxy.wire.unreadable import ENDS_EARLY, SPEAKS_HTTP_1, UNKNOWN_METHOD, headers_too_large, unreadable

# llhttp takes these for RTSP and ICE, whatever protocol the request line says.
_NOT_HTTP_METHODS: Final = frozenset(
    {
        *("SOURCE", "DESCRIBE", "ANNOUNCE", "SETUP", "PLAY", "PAUSE", "TEARDOWN"),
        *("GET_PARAMETER", "SET_PARAMETER", "REDIRECT", "RECORD", "FLUSH"),
    }
)
_PEEK: Final = 64  # bytes; no method is longer, nor the beginning of a target that tells something
_BEGINNING: Final = 1 << 13  # bytes of a head that the parser gets as they come
_STEP: Final = 1 << 9  # bytes that come before the next one gets all
_UNUSED: Final = 1 << 16  # the parser asks for a limit of its bodies


class ParsedHead(NamedTuple):
    """A head of `size` bytes, and what came behind it. `keep_alive` as the client wants it."""

    method: str
    target: bytes
    version: HttpVersion
    head: Head
    keep_alive: bool
    rest: bytes
    size: int


class RequestParser:
    """Reads one head after the other; of one that is whole nothing is kept."""

    def __init__(self, table: FieldTable, limits: ClientLimits, loop: asyncio.AbstractEventLoop) -> None:
        self._table = table
        self._limits = limits
        self._loop = loop
        self._parser: HttpRequestParser | None = None  # which got all of `_raw`
        self._raw = b""  # what came of this head
        self._seen = 0  # bytes of it that a parser got

    def feed(self, data: bytes) -> ParsedHead | None:
        """Take what came; return the head as soon as it is whole. Raises a `ProxyError` for what can be none."""
        if not self._raw:
            data = data.lstrip(b"\r\n")  # empty lines before a request are no part of it (RFC 9112 §2.2)
        while data:
            # The end may have begun in what came before.
            seen = self._raw[-len(END) + 1 :]
            end = (seen + data).find(END)
            piece = data if end < 0 else data[: end + len(END) - len(seen)]
            data = data[len(piece) :]
            self._raw += piece
            large = len(self._raw) > _BEGINNING
            if large and end < 0 and len(self._raw) < self._seen + _STEP:
                self._parser = None
                return None
            message = self._message(piece)
            if large:
                self._parser = None
            if message is not None:
                return self._parsed(message, data)
        return None

    def _message(self, piece: bytes) -> RawRequestMessage | None:
        """Have the parser read on."""
        if self._parser is None:
            self._parser, piece = self._fresh(), self._raw
        self._seen = len(self._raw)
        try:
            message = _first(self._parser.feed_data(piece))
        except HttpProcessingError as error:
            repaired = encoded_target(self._raw)
            if repaired is None:
                raise unreadable(error, self._limits, self._raw) from None
            message = self._again(repaired)
        if message is not None and message.upgrade:
            # An upgrade is never taken here, and need not be (RFC 9110 §7.8). But the parser stops behind it.
            message = self._again(without_upgrade(self._raw))
        return message

    def _again(self, repaired: bytes) -> RawRequestMessage | None:
        self._raw = repaired
        self._parser = self._fresh()
        try:
            return _first(self._parser.feed_data(repaired))
        except HttpProcessingError as error:
            raise unreadable(error, self._limits, repaired) from None

    def _parsed(self, message: RawRequestMessage, rest: bytes) -> ParsedHead:
        size = len(self._raw)
        too_large = size > self._limits.max_header_size and _size(message) > self._limits.max_header_size
        self._raw, self._seen = b"", 0
        if too_large:
            raise headers_too_large(self._limits)
        return ParsedHead(
            message.method,
            message.path.encode("utf-8", "surrogateescape"),
            message.version,
            Head([name + b": " + value for name, value in message.raw_headers], self._table),
            not message.should_close,
            rest,
            size,
        )

    def _fresh(self) -> HttpRequestParser:
        # The number in its error is all that tells the two apart. A byte more does not matter: the sum is checked too.
        limits = self._limits
        same = limits.max_header_size == limits.max_request_line
        return HttpRequestParser(
            None,
            self._loop,
            _UNUSED,
            max_line_size=limits.max_request_line,
            max_field_size=limits.max_header_size + same,
            max_headers=limits.max_header_count,
            response_with_body=False,
        )


def not_a_request(rest: bytes, limits: ClientLimits, loop: asyncio.AbstractEventLoop) -> ProxyError | None:
    """Return what is wrong with the beginning of what a client sent behind a request, if it can't be another one.

    Then it most likely belongs to the first one, whose framing does not say so.
    """
    if is_field(rest[:_PEEK].partition(b"\r\n")[0]):
        return BadRequest(ENDS_EARLY)
    beginning = rest[:_PEEK].partition(END)[0]
    try:
        HttpRequestParser(None, loop, _UNUSED, response_with_body=False).feed_data(
            encoded_target(beginning) or beginning
        )
    except HttpProcessingError as error:
        return unreadable(error, limits)
    return None


def check_start_line(method: str, version: HttpVersion) -> None:
    """Refuse what the parser lets through but is no request for a server: raises a `RequestError`."""
    if version not in (HttpVersion11, HttpVersion10):
        raise BadRequest(SPEAKS_HTTP_1)
    if method in ("CONNECT", "TRACE"):
        # An upstream's answer to TRACE would show the client the token (RFC 9110 §9.3.8).
        raise MethodNotSupported(f"{method} is not supported here.")
    if method in _NOT_HTTP_METHODS:
        raise MethodNotSupported(UNKNOWN_METHOD)


def _first(parsed: tuple[Sequence[tuple[RawRequestMessage, object]], bool, bytes]) -> RawRequestMessage | None:
    messages, _, _ = parsed
    return messages[0][0] if messages else None


def _size(message: RawRequestMessage) -> int:
    # Two for the colon and the space, two for the end of the line.
    return sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
