"""Where a message ends, and whether all who read it would agree on that.

Rules: what servers or clients might read in different ways is refused, since what is one message here could be two at
the next hop (RFC 9112 §11.2). aiohttp's parsers decide most of it; here is what they are too kind to. A request is
written anew for the platform, whatever the client wrote.
"""

import re
from typing import Final

from proxy.errors import BadRequest, UpstreamProtocolError
from proxy.wire.head import Head

CHUNKED: Final = -1  # as the length of an answer
MAX_HEAD: Final = 1 << 16  # bytes of an answer's

# RFC 9112 §3.2, RFC 3986 §3.2.2: a name or an IP address, and perhaps a port.
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?")
# Python reads no number of more than 4300 digits, and who pads one with zeros wants to be misread.
_LENGTH: Final = re.compile(rb"[ \t]*[0-9]{1,20}[ \t]*")
_MAX_LENGTH_DIGITS: Final = 18  # of an answer; 2^64-1, which has 20, is llhttp's word for "no length"


def check_request(head: Head, *, modern: bool) -> None:
    """Raise `BadRequest` for what the parser lets through, but not every server reads as the same one message."""
    first = head.first
    if b"transfer-encoding" in first:
        if head.members(b"transfer-encoding") != [b"chunked"]:
            raise BadRequest("The only transfer coding that a request can have is 'chunked'.")
        if not modern:
            raise BadRequest("HTTP/1.0 has no Transfer-Encoding.")  # RFC 9112 §6.1: framed wrongly, whatever it says
    if b"content-length" in first and not all(map(_LENGTH.fullmatch, head.values(b"content-length"))):
        raise BadRequest("The Content-Length is not a number of 20 digits or less.")
    host = first.get(b"host")
    if host is not None and not is_host(host):
        raise BadRequest("The Host header does not name a host.")  # RFC 9112 §3.2


def is_host(value: bytes) -> bool:
    """Tell whether the value of a Host field can name one."""
    return _HOST.fullmatch(value) is not None


def not_http(reason: str) -> UpstreamProtocolError:
    """Return the error for an answer that is no HTTP."""
    return UpstreamProtocolError("The shop's API did not answer in HTTP.", reason=reason)


def answer_length(head: Head) -> int | None:
    """Return the length that an answer announces, `CHUNKED`, or `None` if it ends with its connection.

    Raises `UpstreamProtocolError`.
    """
    if b"transfer-encoding" in head.first:
        if head.members(b"transfer-encoding") != [b"chunked"]:
            raise UpstreamProtocolError(
                "The shop's API sent its answer in a transfer coding that was not asked for.",
                reason="Transfer-Encoding",
            )
        return CHUNKED
    length = head.first.get(b"content-length")
    if length is None:
        return None
    if len(length) > _MAX_LENGTH_DIGITS or not length.isdigit():
        raise UpstreamProtocolError(
            "The shop's API announced an answer of an impossible length.", reason="Content-Length"
        )
    return int(length)
