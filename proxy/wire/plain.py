"""Heads that are plainly right, as nearly all are: read without a parser.

Rules: strictly what RFC 9112 §2 to §6 writes, all of it at hand in one piece, and nothing about it that a parser would
have to decide. Whatever else comes, right or wrong, is `None` here and goes to aiohttp's parser: this file refuses
nothing, and need not know what is wrong.
"""

import re
from typing import Final, NamedTuple

from proxy.wire.client_watch import ClientLimits
from proxy.wire.framing import is_host
from proxy.wire.head import BrokenFieldError, FieldTable, Head

END: Final = b"\r\n\r\n"  # of a head, its empty line included
_MAX_HEAD: Final = 8192  # bytes; and so many lines
_MAX_LINES: Final = 64

_REQUEST_LINE: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[\x21-\x22\x24-\x7e]*) HTTP/1\.1"
)  # a `#` has no place in it
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
_LENGTH: Final = re.compile(rb"[0-9]{1,9}")
# What calls for a decision: how the body ends, who waits for what, another protocol, a word of old proxies about the
# connection. (aiohttp refuses the last one.) So does a field that comes twice: some may not.
_REQUEST_ODDITIES: Final = (b"transfer-encoding", b"expect", b"upgrade", b"proxy-connection", b"sec-websocket-key1")


class PlainRequest(NamedTuple):
    """A request, whole: `body` is empty where there is none."""

    method: str
    target: bytes
    head: Head
    body: bytes


def plain_request(data: bytes, table: FieldTable, limits: ClientLimits) -> PlainRequest | None:
    """Return the one request that `data` is, if it is plainly right; the table knows all names that matter here."""
    end = data.find(END)
    if not 0 < end <= _MAX_HEAD or end > limits.max_request_line or end > limits.max_header_size:
        return None
    line, *lines = data[:end].split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(line)
    if found is None or len(lines) > _MAX_LINES or len(lines) > limits.max_header_count:
        return None
    try:
        head = Head(lines, table)
    except BrokenFieldError:
        return None
    host = head.first(b"host")
    if head.repeated or host is None or not is_host(host) or not head.places.keys().isdisjoint(_REQUEST_ODDITIES):
        return None
    length = head.first(b"content-length")
    left = len(data) - end - len(END)
    if left if length is None else (_LENGTH.fullmatch(length) is None or int(length) != left):
        return None
    return PlainRequest(found[1].decode(), found[2], head, data[end + len(END) :])


class PlainAnswer(NamedTuple):
    """The head of an answer."""

    status: int
    reason: bytes
    head: Head


def plain_answer(raw: bytes, table: FieldTable) -> PlainAnswer | None:
    """Return what the head of an answer says, if it is plainly right; `raw` is without the empty line."""
    line, *lines = raw.split(b"\r\n")
    found = _STATUS_LINE.fullmatch(line)
    if found is None or len(lines) > _MAX_LINES or len(raw) > _MAX_HEAD:
        return None
    try:
        head = Head(lines, table)
    except BrokenFieldError:
        return None
    places = head.places
    length = head.first(b"content-length")
    if length is not None and (b"transfer-encoding" in places or not length.isdigit()):
        return None
    if head.repeated or b"proxy-connection" in places:
        return None
    return PlainAnswer(int(found[1]), found[2], head)
