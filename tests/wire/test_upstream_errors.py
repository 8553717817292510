"""What goes wrong while a connection is made, and what it becomes."""

import asyncio
import errno
import socket
import ssl

import pytest

from proxy.errors import EgressProxyError, PrivateAddressError, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from proxy.platforms.egress_proxy import EgressProxy
from proxy.secret import Secret
from proxy.wire.pool import Destination
from proxy.wire.upstream_errors import (
    FOREIGN_ERRORS,
    ClientResponseError,
    NotConnectedError,
    NotResolvedError,
    RefusedByProxyError,
    ServerDisconnectedError,
    translate,
)

DIRECT = Destination("https", "h", 8443, None)
EGRESS = EgressProxy("p.internal", 3128, "me", Secret("s3cret"))
THROUGH = DIRECT._replace(way=EGRESS)


def because(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected", "proxy_status", "named"),
    [
        (because(TimeoutError(), asyncio.CancelledError()), UpstreamTimeout, "connection_timeout", "TimeoutError"),
        (because(NotResolvedError(), socket.gaierror(-2, "unknown")), UpstreamUnreachable, "dns_error", "unknown"),
        (NotResolvedError("no address"), UpstreamUnreachable, "dns_error", "no address"),
        (
            because(NotResolvedError(), PrivateAddressError("h is private")),
            UpstreamUnreachable,
            "destination_ip_prohibited",
            "PrivateAddressError: h is private",
        ),
        (ssl.SSLCertVerificationError("expired"), UpstreamUnreachable, "tls_certificate_error", "expired"),
        (ssl.SSLError("wrong version"), UpstreamUnreachable, "tls_protocol_error", "wrong version"),
        (
            because(NotConnectedError(), OSError(errno.ECONNREFUSED, "refused")),
            UpstreamUnreachable,
            "connection_refused",
            "ConnectionRefusedError: ",
        ),
        # The system's own, after minutes.
        (
            because(NotConnectedError(), OSError(errno.ETIMEDOUT, "timed out")),
            UpstreamUnreachable,
            "connection_refused",
            "timed out",
        ),
        (UnicodeError("label too long"), UpstreamUnreachable, "dns_error", "label too long"),
        (ServerDisconnectedError(), UpstreamUnreachable, "connection_terminated", "ServerDisconnectedError"),
        (ConnectionResetError(104, "reset"), UpstreamUnreachable, "connection_refused", "reset"),
    ],
)
def test_each_error_has_its_meaning(
    error: Exception, expected: type[UpstreamError], proxy_status: str, named: str
) -> None:
    assert isinstance(error, FOREIGN_ERRORS)
    translated = translate(error, DIRECT)

    assert type(translated) is expected
    assert translated.proxy_status == proxy_status
    assert translated.reason.startswith("h:8443: ")
    assert named in translated.reason
    assert named not in translated.detail


@pytest.mark.parametrize(
    ("error", "expected", "proxy_status", "named"),
    [
        (TimeoutError(), UpstreamTimeout, "connection_timeout", "egress proxy could be established in time"),
        (because(NotResolvedError(), socket.gaierror()), UpstreamUnreachable, "dns_error", "egress proxy"),
        (
            because(EgressProxyError(), OSError(errno.ECONNREFUSED, "refused")),
            UpstreamUnreachable,
            "connection_refused",
            "egress proxy",
        ),
        (ssl.SSLCertVerificationError("expired"), UpstreamUnreachable, "tls_certificate_error", "shop's API"),
        (ssl.SSLError("wrong version"), UpstreamUnreachable, "tls_protocol_error", "shop's API"),
        (ConnectionResetError(104, "reset"), UpstreamUnreachable, "connection_refused", "shop's API"),
        (ServerDisconnectedError(), UpstreamUnreachable, "connection_terminated", "egress proxy closed"),
        (
            ClientResponseError(),
            UpstreamUnreachable,
            "http_protocol_error",
            "egress proxy did not answer in HTTP",
        ),
    ],
)
def test_on_the_way_through_an_egress_proxy_the_error_names_who_failed_and_the_reason_names_the_way(
    error: Exception, expected: type[UpstreamError], proxy_status: str, named: str
) -> None:
    translated = translate(error, THROUGH)

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
    translated = translate(RefusedByProxyError(status), THROUGH)

    assert type(translated) is UpstreamUnreachable
    assert translated.proxy_status == proxy_status
    assert named in translated.detail
    assert "h:8443" in translated.reason
    assert str(status) in translated.reason
    assert "s3cret" not in translated.reason
