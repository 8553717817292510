"""Heads that are plainly right, as nearly all are: read without a parser.

Rules: strictly what RFC 9112 §2 to §6 writes, all of a head at hand in one piece, and nothing about it that a parser
would have to decide. Whatever else comes, right or wrong, is `None` here and goes to aiohttp's parser: this file
refuses nothing, and need not know what is wrong.
"""

import re
from typing import Final

from proxy.wire.client_watch import ClientLimits
from proxy.wire.framing import answer_length, is_host
from proxy.wire.head import BrokenFieldError, FieldTable, Head

END: Final = b"\r\n\r\n"  # of a head, its empty line included
_MAX_HEAD: Final = 8192  # bytes; and so many lines
_MAX_LINES: Final = 64

_REQUEST_LINE: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[\x21-\x22\x24-\x7e]*) HTTP/1\.1"
)  # a `#` has no place in it
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
_MAX_DIGITS: Final = 9  # of a length that needs no closer look
_LENGTH: Final = re.compile(rb"[0-9]{1,9}")
# What calls for a decision: how the body ends, who waits for what, another protocol, a word of old proxies about the
# connection. (aiohttp refuses the last but one.) So does a field that comes twice: some may not. And Max-Forwards is
# changed on the way.
_REQUEST_ODDITIES: Final = frozenset(
    (b"transfer-encoding", b"expect", b"upgrade", b"proxy-connection", b"sec-websocket-key1", b"max-forwards")
)

# A block of header fields, what it says, the limits that it keeps to, and whether the client wants the connection kept.
Block = tuple[bytes, Head, ClientLimits, bool]


def plain_request(
    data: bytes, table: FieldTable, limits: ClientLimits, last: Block | None
) -> tuple[str, bytes, bytes, Block, int] | None:
    """Return the one request that `data` begins, if that is plainly right: method, target, content, and fields.

    The last is how many bytes of the content are still to come: many clients send it apart from the head.
    The table knows all names that matter here. `last` is the block of the request before it on the connection: most
    clients send the same fields each time, which are not read again then.
    """
    end = data.find(END)
    line_end = data.find(b"\r\n")
    found = _REQUEST_LINE.fullmatch(data, 0, line_end)
    # Without its end it is no head yet: nothing in it says that a field is whole.
    if end < 0 or found is None or line_end == end or end > _MAX_HEAD or line_end > limits.max_request_line:
        return None
    block = data[line_end + 2 : end]
    if last is None or block != last[0] or limits is not last[2]:
        lines = block.split(b"\r\n")
        # The size of fields is counted with the end of the last line, and a space behind each colon.
        size = len(block) + 2 + len(lines)
        if size > limits.max_header_size or len(lines) > min(limits.max_header_count, _MAX_LINES):
            return None
        try:
            head = Head(lines, table)
        except BrokenFieldError:
            return None
        host = head.first.get(b"host")
        if head.repeated or host is None or not is_host(host) or not _REQUEST_ODDITIES.isdisjoint(head.first):
            return None
        last = block, head, limits, not head.closes
    content = data[end + len(END) :]
    length = last[1].first.get(b"content-length", b"0")
    if _LENGTH.fullmatch(length) is None or (missing := int(length) - len(content)) < 0:
        return None
    return found[1].decode(), found[2], content, last, missing


def plain_answer(raw: bytes, table: FieldTable) -> tuple[int, bytes, Head, int | None, bool] | None:
    """Return what the head of an answer says, if it is plainly right: status, reason, and fields.

    And what follows from them: the length as `answer_length` has it, and whether the connection ends with the answer.
    `raw` is without the empty line. Raises `UpstreamProtocolError` as that does.
    """
    line, *lines = raw.split(b"\r\n")
    found = _STATUS_LINE.fullmatch(line)
    if found is None or len(lines) > _MAX_LINES or len(raw) > _MAX_HEAD:
        return None
    try:
        head = Head(lines, table)
    except BrokenFieldError:
        return None
    first = head.first
    if head.repeated or b"proxy-connection" in first:
        return None
    length = first.get(b"content-length")
    if length is not None and (b"transfer-encoding" in first or not length.isdigit()):
        return None
    announced = int(length) if length is not None and len(length) <= _MAX_DIGITS else answer_length(head)
    return int(found[1]), found[2], head, announced, b"connection" in first and head.closes
