"""From aiohttp's exceptions while a connection is made to the proxy's own, with the error types of RFC 9209 §2.3."""

from typing import Final, NamedTuple, Protocol

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientProxyConnectionError,
    ClientResponseError,
    ClientSSLError,
    ServerDisconnectedError,
)

from proxy.errors import PrivateAddressError, UpstreamError, UpstreamTimeout, UpstreamUnreachable

# Everything that aiohttp raises while it connects.
FOREIGN_ERRORS: Final = (ClientError, TimeoutError, OSError, UnicodeError)


class Way(Protocol):
    """What leads to an upstream, as seen here; see `proxy.platforms.egress_proxy`."""

    @property
    def url(self) -> str: ...
    def connect_headers(self) -> dict[str, str]: ...
    def refusal(self, status: int, host: str | None, port: int | None) -> str: ...


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
        ClientConnectorDNSError,
        _Meaning(UpstreamUnreachable, "The host name of the shop's API can't be resolved.", "dns_error"),
    ),
    # A template and a shop name that make a label of over 63 characters between them.
    (UnicodeError, _Meaning(UpstreamUnreachable, "The shop's API has an impossible host name.", "dns_error")),
    (
        ClientConnectorCertificateError,
        _Meaning(
            UpstreamUnreachable,
            "The shop's API presented a certificate that can't be trusted.",
            "tls_certificate_error",
        ),
    ),
    (
        ClientSSLError,
        _Meaning(
            UpstreamUnreachable, "No TLS connection to the shop's API could be established.", "tls_protocol_error"
        ),
    ),
    (
        ClientConnectorError,
        _Meaning(UpstreamUnreachable, "No connection to the shop's API could be established.", "connection_refused"),
    ),
    (
        Exception,
        _Meaning(
            UpstreamUnreachable, "The shop's API closed the connection without an answer.", "connection_terminated"
        ),
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
        ClientConnectorDNSError,
        _Meaning(UpstreamUnreachable, "The host name of the egress proxy can't be resolved.", "dns_error"),
    ),
    (
        ClientProxyConnectionError,
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


def translate(error: Exception, *, way: Way | None = None) -> UpstreamError:
    """Return the `UpstreamError` for an exception of aiohttp; its own text goes into the `reason` only.

    `way` is what the connection was being made through.
    """
    if way is not None and isinstance(error, ClientHttpProxyError):
        return _refused_by(way, error)
    if isinstance(error, ClientConnectorDNSError) and isinstance(error.os_error, PrivateAddressError):
        error = error.os_error
    meanings = _MEANINGS if way is None else _MEANINGS_THROUGH_PROXY + _MEANINGS
    meaning = next(meaning for kind, meaning in meanings if isinstance(error, kind))
    # These quote what was parsed, the head of an answer.
    quotes_input = isinstance(error, (ClientResponseError, ServerDisconnectedError))
    text = "" if quotes_input else str(error)
    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if way is not None:
        reason += f"; through the egress proxy {way.url}"
    return meaning.error(meaning.detail, reason=reason, proxy_status=meaning.proxy_status)


def _refused_by(way: Way, error: ClientHttpProxyError) -> UpstreamError:
    meaning = _PROXY_AUTHENTICATION_REQUIRED if error.status == 407 else _REFUSED_BY_PROXY
    destination = error.request_info.url
    reason = way.refusal(error.status, destination.host, destination.port)
    return meaning.error(meaning.detail, reason=reason, proxy_status=meaning.proxy_status)
