"""Exceptions of the HTTP client while a connection is made, and what they become."""

import socket

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from proxy.errors import PrivateAddressError, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from proxy.platforms.egress_proxy import EgressProxy
from proxy.secret import Secret
from proxy.wire.upstream_errors import FOREIGN_ERRORS, translate

KEY = ConnectionKey("h", 443, True, True, None, None, None)
TARGET = RequestInfo(URL("https://h:8443/"), "CONNECT", CIMultiDictProxy(CIMultiDict()), URL("https://h:8443/"))
EGRESS = EgressProxy("p.internal", 3128, "me", Secret("s3cret"))


@pytest.mark.parametrize(
    ("error", "expected", "proxy_status"),
    [
        (TimeoutError(), UpstreamTimeout, "connection_timeout"),
        (aiohttp.ConnectionTimeoutError(), UpstreamTimeout, "connection_timeout"),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror()), UpstreamUnreachable, "dns_error"),
        (
            aiohttp.ClientConnectorDNSError(KEY, PrivateAddressError("h is private")),
            UpstreamUnreachable,
            "destination_ip_prohibited",
        ),
        (
            aiohttp.ClientConnectorCertificateError(KEY, Exception("expired")),
            UpstreamUnreachable,
            "tls_certificate_error",
        ),
        (aiohttp.ClientConnectorSSLError(KEY, OSError()), UpstreamUnreachable, "tls_protocol_error"),
        (aiohttp.ClientConnectorError(KEY, OSError(111, "refused")), UpstreamUnreachable, "connection_refused"),
        (UnicodeError("label too long"), UpstreamUnreachable, "dns_error"),
        (aiohttp.ServerDisconnectedError(), UpstreamUnreachable, "connection_terminated"),
        (aiohttp.ClientOSError(104, "reset"), UpstreamUnreachable, "connection_terminated"),
        (ConnectionResetError(), UpstreamUnreachable, "connection_terminated"),
    ],
)
def test_each_error_has_its_meaning(error: Exception, expected: type[UpstreamError], proxy_status: str) -> None:
    assert isinstance(error, FOREIGN_ERRORS)
    translated = translate(error)

    assert type(translated) is expected
    assert translated.proxy_status == proxy_status
    assert type(error).__name__ in translated.reason or "PrivateAddressError" in translated.reason


@pytest.mark.parametrize(
    ("error", "expected", "proxy_status", "named"),
    [
        (
            aiohttp.ConnectionTimeoutError(),
            UpstreamTimeout,
            "connection_timeout",
            "egress proxy could be established in time",
        ),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror()), UpstreamUnreachable, "dns_error", "egress proxy"),
        (
            aiohttp.ClientProxyConnectionError(KEY, OSError(111, "refused")),
            UpstreamUnreachable,
            "connection_refused",
            "egress proxy",
        ),
        (
            aiohttp.ClientConnectorCertificateError(KEY, Exception("expired")),
            UpstreamUnreachable,
            "tls_certificate_error",
            "shop's API",
        ),
        (aiohttp.ClientConnectorError(KEY, OSError(104, "reset")), UpstreamUnreachable, "connection_refused", "API"),
        (aiohttp.ClientOSError(104, "reset"), UpstreamUnreachable, "connection_terminated", "closed the connection"),
        (aiohttp.ServerDisconnectedError(), UpstreamUnreachable, "connection_terminated", "egress proxy closed"),
        (
            aiohttp.ClientResponseError(TARGET, (), status=400, message="s3cret"),
            UpstreamUnreachable,
            "http_protocol_error",
            "egress proxy did not answer in HTTP",
        ),
    ],
)
def test_on_the_way_through_an_egress_proxy_the_error_names_who_failed_and_the_reason_names_the_way(
    error: Exception, expected: type[UpstreamError], proxy_status: str, named: str
) -> None:
    translated = translate(error, way=EGRESS)

    assert type(translated) is expected
    assert translated.proxy_status == proxy_status
    assert named in translated.detail
    assert translated.reason.endswith("; through the egress proxy http://p.internal:3128")
    assert "s3cret" not in translated.reason


@pytest.mark.parametrize(
    ("status", "proxy_status", "named"),
    [
        (403, "destination_unavailable", "does not connect"),
        (502, "destination_unavailable", "does not connect"),
        (407, "proxy_configuration_error", "credentials"),
    ],
)
def test_a_refusal_of_the_egress_proxy_is_told_as_its_own(status: int, proxy_status: str, named: str) -> None:
    error = aiohttp.ClientHttpProxyError(TARGET, (), status=status, message="s3cret")
    translated = translate(error, way=EGRESS)

    assert type(translated) is UpstreamUnreachable
    assert translated.proxy_status == proxy_status
    assert named in translated.detail
    assert "h:8443" in translated.reason
    assert str(status) in translated.reason
    assert "s3cret" not in translated.reason


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ServerDisconnectedError("token=s3cret"),
        aiohttp.ClientResponseError(TARGET, (), status=400, message="Invalid header: b'token=s3cret'"),
    ],
)
def test_what_the_parser_quotes_is_not_in_the_reason(error: Exception) -> None:
    assert translate(error).reason == type(error).__name__
