"""Heads of answers that are not plainly right: aiohttp's parser says what they are, or that they are none.

Rules: one that the parser refuses is given to it once more if there is a way to write it that it takes and that means
the same (`repair.py`). aiohttp's parser is lenient with answers, a proxy can't be: what one client reads as one message
and another as two is refused (RFC 9112 §5.1, §6.3). What was parsed is in no error, since it may hold secrets.
"""

import asyncio
from contextlib import suppress
from typing import Final, NamedTuple

from aiohttp.http import HttpResponseParser
from aiohttp.http_exceptions import HttpProcessingError

from proxy.errors import UpstreamProtocolError
from proxy.wire.framing import not_http
from proxy.wire.head import BrokenFieldError, FieldTable, Head, is_text
from proxy.wire.repair import broken_field, repaired_answer

MAX_LINE: Final = 1 << 15  # bytes of a status line or field
MAX_FIELDS: Final = 256
_UNUSED: Final = 1 << 16  # the parser asks for a limit of its bodies


class ParsedAnswer(NamedTuple):
    """What the head of an answer says; `close` if the connection ends with it."""

    status: int
    reason: bytes
    head: Head
    close: bool


def parse_answer(raw: bytes, table: FieldTable, loop: asyncio.AbstractEventLoop) -> ParsedAnswer:
    """Return what the head of an answer says, its empty line included. Raises `UpstreamProtocolError`."""
    try:
        return _parsed(raw, table, loop)
    except (HttpProcessingError, BrokenFieldError) as refused:
        repaired = repaired_answer(raw)
        if repaired is not None:
            raw = repaired.raw
            with suppress(HttpProcessingError, BrokenFieldError):
                parsed = _parsed(raw, table, loop)
                parsed.head.dropped = repaired.dropped
                return parsed
        why = broken_field(raw)
        if why:
            raise UpstreamProtocolError("The shop's API sent a broken header field.", reason=why) from None
        raise not_http(type(refused).__name__) from None


def _parsed(raw: bytes, table: FieldTable, loop: asyncio.AbstractEventLoop) -> ParsedAnswer:
    parser = HttpResponseParser(
        None,
        loop,
        _UNUSED,
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
        max_headers=MAX_FIELDS,
        response_with_body=False,
        read_until_eof=True,
    )
    messages = parser.feed_data(raw)[0]
    if len(messages) != 1:
        raise not_http("no head")
    message = messages[0][0]
    if message.version.major != 1:
        raise not_http(f"HTTP/{message.version.major}")
    reason = message.reason.encode("utf-8", "surrogateescape")
    if message.code < 100 or not is_text(reason):
        raise UpstreamProtocolError("The shop's API sent a broken status line.")
    head = Head([name + b": " + value for name, value in message.raw_headers], table)
    return ParsedAnswer(message.code, reason, head, message.should_close)
