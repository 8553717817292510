"""What a request asks of the platform, and to whom an answer may be given. Pure.

Rules: two requests ask the same if the platform would get the same bytes from both, but for what only names the
request, and for the version of HTTP in which it came: framing is between two neighbours (RFC 9112 §6). An answer that
is meant for one caller goes to no other (RFC 9111 §5.2.2, RFC 6265 §3).
"""

from typing import Final

from proxy.wire.head import Head

# What names a request for logs and traces, and changes no answer; in lower case.
IDS: Final = frozenset(
    b"x-request-id x-correlation-id x-amzn-trace-id x-cloud-trace-context request-id correlation-id"
    b" traceparent tracestate baggage b3 x-b3-traceid x-b3-spanid x-b3-parentspanid x-b3-sampled x-b3-flags"
    b" sentry-trace uber-trace-id".split()
)
_FOR_ONE: Final = frozenset((b"private", b"no-store"))


def question(start: bytes) -> bytes:
    """Return what a request asks: its request line and its fields as they go upstream, without those that name it."""
    line, *fields = start.split(b"\r\n")
    return b"\r\n".join([line, *(whichever_version(each) for each in fields if field_name(each) not in IDS)])


def whichever_version(field: bytes) -> bytes:
    """Return the line of a field as it is for HTTP/1.1: `Via` tells how a request came (RFC 9110 §7.6.3)."""
    return field.replace(b"1.0 ", b"1.1 ") if field_name(field) == b"via" else field


def field_name(line: bytes) -> bytes:
    """Return the name of the field in a line of a head, in lower case; without one, the line."""
    return line.partition(b":")[0].lower()


def is_for_one(head: Head) -> bool:
    """Tell whether an answer with this head is meant for the caller alone who asked."""
    if b"set-cookie" in head.first:
        return True
    said = [field.value.lower().split(b",") for field in head.fields if field.name.lower() == b"cache-control"]
    return any(word.partition(b"=")[0].strip() in _FOR_ONE for words in said for word in words)
