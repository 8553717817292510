"""What can't be read as a request -> what the client is told.

Rules: the parser's own words quote the input, so none of them reach the client.
"""

from typing import Final

from proxy.errors import BadRequest, BadTarget, MethodNotSupported, ProxyError, RequestTooLarge
from proxy.wire.client_watch import ClientLimits
from proxy.wire.head import is_field

MUST_BE_A_PATH: Final = "The request target must be a path: /<shop>/…"
PERCENT_ENCODE: Final = (
    "The request target can contain only visible ASCII characters: percent-encode the rest, a space as %20 and letters "
    "outside ASCII as their UTF-8 bytes."
)
SPEAKS_HTTP_1: Final = "This proxy speaks HTTP/1.1 and HTTP/1.0."
_NOT_ON_ONE_LINE: Final = (
    "A header is split over two lines, or is not a header: each is a name, a colon and a value, all on one line."
)
_AUTHORIZATION_NOT_ON_ONE_LINE: Final = (
    "The Authorization header is split over two lines: write its Base64 without line breaks."
)
ENDS_EARLY: Final = (
    "Headers follow the empty line that ends the headers: perhaps a value ends with a line break, as Base64 often does."
)
UNKNOWN_METHOD: Final = "This is not a method of HTTP; methods are written in upper case."
_NOT_HTTP: Final = "The request is not HTTP/1.1 as RFC 9112 defines it."

# What the parser's words mean to the client.
_WORDS: Final[tuple[tuple[str, type[BadRequest | BadTarget], str], ...]] = (
    ("Invalid HTTP version", BadRequest, SPEAKS_HTTP_1),
    ("Pause on PRI", BadRequest, SPEAKS_HTTP_1),
    ("Invalid characters in url", BadTarget, MUST_BE_A_PATH),
    ("Unexpected start char in url", BadTarget, MUST_BE_A_PATH),
    ("Unexpected char in url schema", BadTarget, MUST_BE_A_PATH),
    ("in url", BadRequest, PERCENT_ENCODE),
    ("Expected HTTP/", BadRequest, PERCENT_ENCODE),  # after a raw space
)


def unreadable(error: BaseException, limits: ClientLimits, head: bytes = b"") -> ProxyError:
    """Return what the client is told of a parser's error; `head` is what the parser was given."""
    from aiohttp.http_exceptions import (  # noqa: PLC0415 - see app/later.py
        BadHttpMethod,
        HttpProcessingError,
        LineTooLong,
    )

    text = error.message.partition(":\n\n")[0] if isinstance(error, HttpProcessingError) else ""
    match error:
        case LineTooLong() if error.args[1] == limits.max_request_line:
            return RequestTooLarge(f"The URL is longer than {limits.max_request_line} bytes.", status=414)
        case LineTooLong():
            return headers_too_large(limits)
        case BadHttpMethod() if "HTTPS traffic" in text:
            return BadRequest("This port speaks plain HTTP: write http:// in the URL, or set server.tls.")
        case BadHttpMethod():
            return MethodNotSupported(UNKNOWN_METHOD)
    if "Too many headers" in text:
        return RequestTooLarge(f"The request has more than {limits.max_header_count} header fields.", status=431)
    named = next((kind(sentence) for words, kind, sentence in _WORDS if words in text), None)
    return named or BadRequest(_broken_line(head) or _unclear_length(head) or _NOT_HTTP)


def _broken_line(head: bytes) -> str:
    """Return what the client is told of a field that does not stand on one line; empty if there is none.

    Old programs break Base64 after 60 or 76 characters, or end it with a line end (RFC 9112 §5.2 has a fold refused).
    """
    before = b""
    for line in head.lstrip(b"\r\n").split(b"\n")[1:-1]:
        whole = line.endswith(b"\r") and (line == b"\r" or is_field(line[:-1]))
        broken = line if is_field(line) else before
        if not whole and broken:
            name = broken.partition(b":")[0].lower()
            return _AUTHORIZATION_NOT_ON_ONE_LINE if name == b"authorization" else _NOT_ON_ONE_LINE
        before = line
    return ""


def _unclear_length(head: bytes) -> str:
    """Return what is wrong with the fields that say where the body ends (RFC 9112 §6.3); empty if nothing is."""
    fields = [line.partition(b":") for line in head.lower().split(b"\r\n")[1:]]
    lengths = [value.strip() for name, _, value in fields if name == b"content-length"]
    if len(lengths) > 1:
        return "Content-Length appears more than once: send it once."
    if lengths and any(name == b"transfer-encoding" for name, _, _ in fields):
        return "Content-Length and Transfer-Encoding exclude each other: send one of the two."
    return "" if all(length.isdigit() for length in lengths) else "Content-Length must be a whole number of bytes."


def headers_too_large(limits: ClientLimits) -> RequestTooLarge:
    """Return what the client is told of headers that are too large in all."""
    return RequestTooLarge(f"The headers are larger than {limits.max_header_size} bytes.", status=431)
