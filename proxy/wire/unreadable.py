"""What can't be read as a request -> what the client is told.

Rules: the parser's own words quote the input, so none of them reach the client.
"""

from typing import Final

from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from proxy.errors import BadRequest, BadTarget, MethodNotSupported, ProxyError, RequestTooLarge
from proxy.wire.client_watch import ClientLimits

MUST_BE_A_PATH: Final = "The request target must be a path: /<shop>/…"
PERCENT_ENCODE: Final = (
    "The request target may hold visible ASCII characters only: percent-encode the rest, a space as %20 and letters "
    "outside ASCII as their UTF-8 bytes."
)
SPEAKS_HTTP_1: Final = "This proxy speaks HTTP/1.1 and HTTP/1.0."
UNKNOWN_METHOD: Final = "The method is not one that HTTP knows; methods are written in upper case."
_NOT_HTTP: Final = "The request is not HTTP/1.1 as RFC 9112 has it."

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


def unreadable(error: BaseException, limits: ClientLimits) -> ProxyError:
    """Return what the client is told of a parser's error."""
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
    return next((kind(sentence) for words, kind, sentence in _WORDS if words in text), BadRequest(_NOT_HTTP))


def headers_too_large(limits: ClientLimits) -> RequestTooLarge:
    """Return what the client is told of headers that are too large in all."""
    return RequestTooLarge(f"The headers are larger than {limits.max_header_size} bytes.", status=431)
