"""The errors of the proxy.

    ProxyError
    ├── RequestError               the client's request can't be served
    │   ├── BadRequest             400  not HTTP as it should be
    │   ├── BadTarget              400  not /<shop>/…, a bad shop name, a path that climbs
    │   ├── UnknownShop            404
    │   ├── RequestTimeout         408
    │   ├── RequestTooLarge        414 or 431
    │   ├── BodyTooLarge           413
    │   ├── ExpectationFailed      417
    │   ├── MethodNotSupported     501
    │   ├── Loop                   508  the request came from this very proxy
    │   └── AccessError            who calls may not
    │       ├── ClientUnauthenticated  401  no credentials, or wrong ones
    │       ├── TooManyFailures        429  wrong ones, and too often
    │       └── ClientForbidden        403  not this shop, or not this method
    ├── TokenError                 no access token for the shop
    │   ├── TokenRefused           502  the token endpoint refuses the credentials
    │   └── TokenUnavailable       502 or 504  unreachable, silent, or an answer that can't be read
    ├── UpstreamError              the shop's API did not answer as it should
    │   ├── UpstreamUnreachable    502
    │   ├── UpstreamTimeout        504
    │   └── UpstreamProtocolError  502
    ├── PacedOut                   503  no slot in time under the platform's rate limit
    ├── Draining                   503  the proxy stops, and there was no answer in time
    ├── Overloaded                 503  more at once than is allowed
    │   ├── ShopOverloaded         503  for this shop, or
    │   └── ClientOverloaded       503  for this client or address; others are served
    ├── StorageUnavailable         500  the disk is full or failing, so a large body can't be stored
    └── InternalError              500  our own fault

Rules: `detail` is a sentence written in this project for the client to read; it never holds text of another exception
and never a secret. What only the operator may see is the `reason`, which goes into the log and never into the answer.
The answer (`forwarding/problems.py`) has a stable `code`, and carries `Proxy-Status` (RFC 9209), so that a caller can
tell it from an answer of the platform.
"""

from typing import ClassVar

PROXY_NAME = b"shop-auth-proxy"


class ProxyError(Exception):
    """Something the proxy answers itself.

    `detail` is a sentence for the client, `reason` what the log adds for the operator. `proxy_status` is the error type
    of RFC 9209 §2.3. `retry_after` says in how many seconds it makes sense to try again, where that is known.
    """

    status: int
    code: ClassVar[str]
    title: ClassVar[str]
    proxy_status: str
    # Header fields that the answer has because of what it says.
    fields: ClassVar[tuple[tuple[bytes, bytes], ...]] = ()

    def __init__(
        self,
        detail: str,
        *,
        reason: str = "",
        proxy_status: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason
        self.retry_after = retry_after
        if proxy_status is not None:
            self.proxy_status = proxy_status


class RequestError(ProxyError):
    """The client's request can't be served, whatever the platform would say."""

    proxy_status = "http_request_error"


class BadRequest(RequestError):
    status, code, title = 400, "bad_request", "Malformed or ambiguous HTTP request"


class BadTarget(RequestError):
    status, code, title = 400, "bad_target", "The path does not name a shop"


class UnknownShop(RequestError):
    status, code, title = 404, "unknown_shop", "No such shop"
    proxy_status = "destination_not_found"


class RequestTimeout(RequestError):
    status, code, title = 408, "request_timeout", "The request did not arrive in time"


class RequestTooLarge(RequestError):
    """`status` is 414 for the request line, 431 for the header fields (RFC 9110 §15.5.15, RFC 6585 §5)."""

    code, title = "request_too_large", "The request line or the headers are too large"

    def __init__(self, detail: str, *, status: int) -> None:
        super().__init__(detail)
        self.status = status


class BodyTooLarge(RequestError):
    status, code, title = 413, "body_too_large", "The request body is too large"


class ExpectationFailed(RequestError):
    status, code, title = 417, "expectation_failed", "Only 'Expect: 100-continue' is supported"


class MethodNotSupported(RequestError):
    status, code, title = 501, "method_not_supported", "This method is not supported"


class Loop(RequestError):
    status, code, title = 508, "loop", "The request came from this proxy itself"
    proxy_status = "proxy_loop_detected"


class AccessError(RequestError):
    """Who calls may not do so. `tried` is the client's name that came with the request, fit for the log."""

    proxy_status = "http_request_denied"

    def __init__(
        self, detail: str, *, reason: str = "", tried: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(detail, reason=reason, retry_after=retry_after)
        self.tried = tried


class ClientUnauthenticated(AccessError):
    status, code, title = 401, "client_unauthenticated", "This proxy needs credentials of its own"
    # A field for each challenge: clients that know one scheme alone find it so (RFC 9110 §11.6.1 warns of lists). What
    # letters outside ASCII are sent as, a client decides, but some ask (RFC 7617 §2.1).
    fields = (
        (b"WWW-Authenticate", b'Basic realm="%s", charset="UTF-8"' % PROXY_NAME),
        (b"WWW-Authenticate", b'Bearer realm="%s"' % PROXY_NAME),
    )


class TooManyFailures(AccessError):
    status, code, title = 429, "too_many_failures", "Too many wrong credentials"


class ClientForbidden(AccessError):
    status, code, title = 403, "client_forbidden", "This client may not do that"


class TokenError(ProxyError):
    """There is no access token for the shop."""


class TokenRefused(TokenError):
    """The token endpoint answered that it does not accept the credentials (RFC 6749 §5.2)."""

    status, code, title = 502, "token_refused", "The platform refuses this shop's API credentials"
    proxy_status = "proxy_configuration_error"


class TokenUnavailable(TokenError):
    """The token endpoint could not be reached, was silent (`timed_out`), or gave an answer that can't be read."""

    status, code, title = 502, "token_unavailable", "No access token is available at the moment"
    proxy_status = "destination_unavailable"

    def __init__(
        self, detail: str, *, reason: str = "", timed_out: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(detail, reason=reason, retry_after=retry_after)
        if timed_out:
            self.status = 504
            self.proxy_status = "http_response_timeout"


class UpstreamError(ProxyError):
    """The shop's API did not answer as it should."""


class UpstreamUnreachable(UpstreamError):
    status, code, title = 502, "upstream_unreachable", "The shop's API can't be reached"
    proxy_status = "destination_unavailable"


class UpstreamTimeout(UpstreamError):
    status, code, title = 504, "upstream_timeout", "The shop's API did not answer in time"
    proxy_status = "http_response_timeout"


class UpstreamProtocolError(UpstreamError):
    status, code, title = 502, "upstream_protocol_error", "The shop's API gave a broken answer"
    proxy_status = "http_protocol_error"


class PacedOut(ProxyError):
    """The shop's requests wait in line for the platform's rate limit, and there is no slot for this one in time."""

    status, code, title = 503, "paced_out", "Too many requests for the shop's rate limit"
    proxy_status = "connection_limit_reached"


class Overloaded(ProxyError):
    """More is asked for at once than is allowed."""

    status, code, title = 503, "overloaded", "Too much at once"
    proxy_status = "connection_limit_reached"


class ShopOverloaded(Overloaded):
    """The shop holds its share of what all requests share; others are served."""

    code, title = "shop_overloaded", "Too much at once for this shop"


class ClientOverloaded(Overloaded):
    """The client, or who calls from its address, holds its share of what all requests share; others are served."""

    code, title = "client_overloaded", "Too much at once from this client"


class StorageUnavailable(ProxyError):
    """A large body can't be stored in a temporary file: the disk is full, failing or not writable."""

    status, code, title = 500, "storage_unavailable", "Large request bodies can't be stored"
    proxy_status = "proxy_internal_error"


class Draining(ProxyError):
    """The proxy stops, and the request was not answered in `server.drain_timeout`."""

    status, code, title = 503, "draining", "The proxy is stopping"
    proxy_status = "connection_terminated"


class InternalError(ProxyError):
    status, code, title = 500, "internal", "Internal error in the proxy"
    proxy_status = "proxy_internal_error"


class PrivateAddressError(OSError):
    """A host name resolved to addresses inside the own network only."""


class EgressProxyError(OSError):
    """An egress proxy can't be connected to; the cause says why."""
