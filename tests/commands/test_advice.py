"""Errors of the network and answers of token endpoints, in words, with the setting that helps."""

import errno
import socket
import ssl
from dataclasses import replace

import pytest

from proxy.commands.advice import about_token, in_words
from proxy.errors import EgressProxyError, PrivateAddressError, ProxyError, UpstreamError, UpstreamProtocolError
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import Origin, TokenRequestForm
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.wire.pool import Destination
from proxy.wire.upstream_errors import (
    NotConnectedError,
    NotResolvedError,
    RefusedByProxyError,
    ServerDisconnectedError,
    translate,
)
from tests.proxies import platform

ORIGIN = Origin("https", "api.example", 443)
MINE = platform(1, 2)
EGRESS = EgressProxy("proxy.internal", 3128)
HERE = Destination("https", "api.example", 443, None)


def because(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def told(error: Exception, way: EgressProxy | None = None) -> UpstreamError:
    """An error as the client has it."""
    translated = translate(error, HERE._replace(way=way))
    translated.__cause__ = error
    return translated


def certificate_error(code: int, message: str = "") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("bad")
    error.verify_code, error.verify_message = code, message
    return error


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError("bad")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (TimeoutError(), ["does not answer within 5 s", "firewall", "upstream.proxy"]),
        (certificate_error(20), ["an authority that this machine does not know", "antivirus", "upstream.ca_file"]),
        (certificate_error(18), ["an authority that this machine does not know", "upstream.ca_file"]),
        (certificate_error(19), ["an authority that this machine does not know", "ca-certificates"]),
        (certificate_error(10), ["has expired", "clock"]),
        (certificate_error(9), ["is not valid yet", "clock"]),
        (certificate_error(62), ["is for another name", "hosts file"]),
        (certificate_error(64), ["is not for this address"]),
        (certificate_error(23, "revoked"), ["can't be trusted (revoked)"]),
        (tls_error("WRONG_VERSION_NUMBER"), ["api.example:443 is not a TLS port", "allow_private"]),
        (tls_error("RECORD_LAYER_FAILURE"), ["api.example:443 is not a TLS port"]),
        (tls_error("UNSUPPORTED_PROTOCOL"), ["too old to be safe", "TLS 1.2"]),
        (
            tls_error("SSLV3_ALERT_HANDSHAKE_FAILURE"),
            ["the TLS handshake with api.example:443 failed (sslv3 alert handshake failure)"],
        ),
        (
            because(NotResolvedError(), socket.gaierror(socket.EAI_NONAME, "unknown")),
            ["api.example can't be resolved", "typo", "DNS", "upstream.proxy"],
        ),
        (
            because(NotResolvedError(), socket.gaierror(socket.EAI_AGAIN, "later")),
            ["api.example can't be resolved now, because no name server answers"],
        ),
        (
            because(NotResolvedError(), PrivateAddressError("api.example resolves to 10.0.0.5, which is not public")),
            ["resolves to 10.0.0.5", f"platforms.{MINE.name}.allow_private = true"],
        ),
        (
            because(NotConnectedError(), OSError(errno.ECONNREFUSED, "refused")),
            ["nothing listens on api.example:443", "host and port"],
        ),
        (because(NotConnectedError(), OSError(errno.ENETUNREACH, "no")), ["no route to api.example:443", "network"]),
        (ServerDisconnectedError(), ["closed the connection without an answer"]),
        (ConnectionResetError(errno.ECONNRESET, "reset"), ["closed the connection without an answer"]),
        (
            UpstreamProtocolError("Cut off.", proxy_status="http_response_incomplete"),
            ["closed the connection without an answer"],
        ),
        (
            UpstreamProtocolError("No HTTP.", reason="s3cret"),
            ["does not speak HTTP", "http:// or https://"],
        ),
    ],
)
def test_an_error_of_the_network_is_told_with_what_helps(error: Exception, parts: list[str]) -> None:
    known = error if isinstance(error, (TimeoutError, ProxyError)) else told(error)
    sentence = in_words(known, ORIGIN, MINE, None, 5.0)

    assert [part for part in parts if part not in sentence] == []
    assert "s3cret" not in sentence


@pytest.mark.parametrize(
    ("error", "beginning"),
    [
        (
            because(EgressProxyError(), OSError(errno.ECONNREFUSED, "refused")),
            "nothing listens on proxy.internal:3128, the egress proxy",
        ),
        (
            because(NotResolvedError(), socket.gaierror(socket.EAI_NONAME, "unknown")),
            "proxy.internal can't be resolved",
        ),
        (certificate_error(20), "the certificate of api.example:443 is signed by an authority"),
        (RefusedByProxyError(403), "the egress proxy http://proxy.internal:3128 answered 403 to CONNECT api.example"),
        (RefusedByProxyError(407), "the egress proxy http://proxy.internal:3128 answered 407 to CONNECT api.example"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "api.example:443 closed the connection"),
    ],
)
def test_behind_an_egress_proxy_it_is_told_whose_trouble_it_is(error: Exception, beginning: str) -> None:
    assert in_words(told(error, EGRESS), ORIGIN, MINE, EGRESS, 5.0).startswith(beginning)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("status 401, error: 'invalid_client'", ["COMPARE"]),
        ("status 400, error: 'invalid_request'", ["COMPARE", 'token_request is "form", try', '"json"', '"basic"']),
        ("status 400, error: 'unsupported_grant_type'", ["token_request"]),
        ("status 415, no JSON", ["token_request"]),
        ("status 400, error: 'invalid_scope'", [f"platforms.{MINE.name}.scope"]),
        ("status 403, no JSON", ["COMPARE", "this machine's IP address", "firewall"]),
        ("status 302, no JSON", ["token_url redirects elsewhere"]),
        ("status 404, no JSON", [f"platforms.{MINE.name}.token_url right"]),
        ("the answer is not a JSON object", ["token_url right", "login page"]),
    ],
)
def test_an_answer_without_a_token_is_told_with_what_helps(reason: str, told: list[str]) -> None:
    sentence = about_token(reason, replace(MINE, token_request=TokenRequestForm.FORM), "COMPARE")

    assert [part for part in told if part not in sentence] == []


def test_what_only_waiting_helps_against_has_no_advice() -> None:
    assert about_token("status 503, no JSON", SHOPRENTER, "COMPARE") == ""
