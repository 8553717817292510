"""From what goes wrong while a connection is made to the proxy's own errors, with the error types of RFC 9209 §2.3."""

import ssl
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from proxy.errors import EgressProxyError, PrivateAddressError, UpstreamError, UpstreamTimeout, UpstreamUnreachable

if TYPE_CHECKING:
    from proxy.wire.pool import Destination

# Everything that is raised while a connection is made.
FOREIGN_ERRORS: Final = (OSError, UnicodeError)


class Way(Protocol):
    """What leads to an upstream, as seen here; see `proxy.platforms.egress_proxy`."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def url(self) -> str: ...
    def connect_headers(self) -> dict[str, str]: ...
    def refusal(self, status: int, host: str | None, port: int | None) -> str: ...


class NotResolvedError(OSError):
    """A host has no address; the cause says why."""


class NotConnectedError(OSError):
    """No address of a host can be connected to; the cause says why."""


class ServerDisconnectedError(ConnectionError):
    """A connection ended before it was of any use."""


class ClientResponseError(OSError):
    """What an egress proxy answers to CONNECT is no HTTP."""


class RefusedByProxyError(OSError):
    """An egress proxy answers CONNECT with `status`."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class _Meaning(NamedTuple):
    error: type[UpstreamError]
    detail: str
    proxy_status: str


# The first row that fits counts: where one exception is a kind of another, it stands above it.
_MEANINGS: Final[tuple[tuple[type[Exception], _Meaning], ...]] = (
    (
        TimeoutError,
        _Meaning(
            UpstreamTimeout,
            "No connection to the shop's API could be established in time (upstream.connect_timeout).",
            "connection_timeout",
        ),
    ),
    (
        PrivateAddressError,
        _Meaning(
            UpstreamUnreachable,
            "The shop's API host resolves to a private or loopback address, which its platform's settings do not"
            " allow.",
            "destination_ip_prohibited",
        ),
    ),
    (
        NotResolvedError,
        _Meaning(UpstreamUnreachable, "The host name of the shop's API can't be resolved.", "dns_error"),
    ),
    # A template and a shop name that make a label of over 63 characters between them.
    (UnicodeError, _Meaning(UpstreamUnreachable, "The shop's API has an impossible host name.", "dns_error")),
    (
        ssl.SSLCertVerificationError,
        _Meaning(
            UpstreamUnreachable,
            "The shop's API presented a certificate that can't be trusted.",
            "tls_certificate_error",
        ),
    ),
    (
        ssl.SSLError,
        _Meaning(
            UpstreamUnreachable, "No TLS connection to the shop's API could be established.", "tls_protocol_error"
        ),
    ),
    (
        ServerDisconnectedError,
        _Meaning(
            UpstreamUnreachable, "The shop's API closed the connection without an answer.", "connection_terminated"
        ),
    ),
    (
        OSError,
        _Meaning(UpstreamUnreachable, "No connection to the shop's API could be established.", "connection_refused"),
    ),
)

# While a connection is made through an egress proxy; what is not here is the platform's own and stands above.
_MEANINGS_THROUGH_PROXY: Final[tuple[tuple[type[Exception], _Meaning], ...]] = (
    (
        TimeoutError,
        _Meaning(
            UpstreamTimeout,
            "No connection to the shop's API through the egress proxy could be established in time"
            " (upstream.connect_timeout).",
            "connection_timeout",
        ),
    ),
    (
        NotResolvedError,
        _Meaning(UpstreamUnreachable, "The host name of the egress proxy can't be resolved.", "dns_error"),
    ),
    (
        EgressProxyError,
        _Meaning(UpstreamUnreachable, "No connection to the egress proxy could be established.", "connection_refused"),
    ),
    (
        ClientResponseError,
        _Meaning(UpstreamUnreachable, "The egress proxy did not answer in HTTP.", "http_protocol_error"),
    ),
    (
        ServerDisconnectedError,
        _Meaning(UpstreamUnreachable, "The egress proxy closed the connection.", "connection_terminated"),
    ),
)
_REFUSED_BY_PROXY: Final = _Meaning(
    UpstreamUnreachable, "The egress proxy does not connect to the shop's API.", "destination_unavailable"
)
_PROXY_AUTHENTICATION_REQUIRED: Final = _Meaning(
    UpstreamUnreachable, "The egress proxy does not accept this proxy's credentials.", "proxy_configuration_error"
)


def translate(error: Exception, destination: "Destination") -> UpstreamError:
    """Return the `UpstreamError` for one of the `FOREIGN_ERRORS`; its own text goes into the `reason` only."""
    _, host, port, way = destination
    if way is not None and isinstance(error, RefusedByProxyError):
        meaning = _PROXY_AUTHENTICATION_REQUIRED if error.status == 407 else _REFUSED_BY_PROXY
        reason = way.refusal(error.status, host, port)
        return meaning.error(meaning.detail, reason=reason, proxy_status=meaning.proxy_status)
    cause = error.__cause__ if isinstance(error.__cause__, FOREIGN_ERRORS) else error
    kind = cause if isinstance(cause, PrivateAddressError) else error
    meanings = _MEANINGS if way is None else _MEANINGS_THROUGH_PROXY + _MEANINGS
    meaning = next(meaning for each, meaning in meanings if isinstance(kind, each))
    reason = ": ".join(filter(None, (f"{host}:{port}", type(cause).__name__, str(cause))))
    if way is not None:
        reason += f"; through the egress proxy {way.url}"
    return meaning.error(meaning.detail, reason=reason, proxy_status=meaning.proxy_status)
