"""Exceptions of the HTTP client and what they become."""

import socket

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http_exceptions import BadHttpMessage

from proxy.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from proxy.guards.egress import PrivateAddressError
from proxy.platforms.egress_proxy import EgressProxy
from proxy.secret import Secret
from proxy.wire.upstream_errors import FOREIGN_ERRORS, translate

KEY = ConnectionKey("h", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "expected", "proxy_status"),
    [
        (TimeoutError(), UpstreamTimeout, "connection_read_timeout"),
        (aiohttp.SocketTimeoutError(), UpstreamTimeout, "connection_read_timeout"),
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
        (aiohttp.ClientPayloadError(), UpstreamProtocolError, "http_response_incomplete"),
        (UnicodeError("label too long"), UpstreamUnreachable, "dns_error"),
        (BadHttpMessage("secret"), UpstreamProtocolError, "http_protocol_error"),
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


def test_a_timeout_while_connecting_says_so() -> None:
    assert translate(aiohttp.ConnectionTimeoutError(), connecting=True).proxy_status == "connection_timeout"


@pytest.mark.parametrize(
    ("error", "expected", "proxy_status", "named"),
    [
        (aiohttp.ConnectionTimeoutError(), UpstreamTimeout, "connection_timeout", "egress proxy in time"),
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
    ],
)
def test_on_the_way_through_an_egress_proxy_the_error_names_who_failed_and_the_reason_names_the_way(
    error: Exception, expected: type[UpstreamError], proxy_status: str, named: str
) -> None:
    proxy = EgressProxy("p.internal", 3128, "me", Secret("s3cret"))
    translated = translate(error, connecting=True, proxy=proxy)

    assert type(translated) is expected
    assert translated.proxy_status == proxy_status
    assert named in translated.detail
    assert translated.reason.endswith("; through the egress proxy http://p.internal:3128")


def test_what_the_parser_quotes_is_not_in_the_reason() -> None:
    error = BadHttpMessage("Invalid header: b'token=s3cret'")

    assert translate(error).reason == "BadHttpMessage"
