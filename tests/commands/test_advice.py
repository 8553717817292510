"""Errors of the network and answers of token endpoints, in words, with the setting that helps."""

import errno
import socket
import ssl
from dataclasses import replace

import pytest
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientPayloadError,
    ClientProxyConnectionError,
    ClientResponseError,
    ConnectionTimeoutError,
    RequestInfo,
    ServerDisconnectedError,
)
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from proxy.commands.advice import about_token, in_words
from proxy.errors import PrivateAddressError
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import Origin, TokenRequestForm
from proxy.platforms.shoprenter import SHOPRENTER
from tests.proxies import platform

KEY = ConnectionKey("api.example", 443, True, True, None, None, None)
ORIGIN = Origin("https", "api.example", 443)
MINE = platform(1, 2)


def certificate_error(code: int, message: str = "") -> ClientConnectorCertificateError:
    error = ssl.SSLCertVerificationError("bad")
    error.verify_code, error.verify_message = code, message
    return ClientConnectorCertificateError(KEY, error)


def tls_error(reason: str) -> ClientConnectorSSLError:
    error = ssl.SSLError("bad")
    error.reason = reason
    return ClientConnectorSSLError(KEY, error)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionTimeoutError(), ["does not answer within 5 s", "firewall", "upstream.proxy"]),
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
            ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_NONAME, "unknown")),
            ["api.example can't be resolved", "typo", "DNS", "upstream.proxy"],
        ),
        (
            ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_AGAIN, "later")),
            ["api.example can't be resolved now, because no name server answers"],
        ),
        (
            ClientConnectorDNSError(KEY, PrivateAddressError("api.example resolves to 10.0.0.5, which is not public")),
            ["resolves to 10.0.0.5", f"platforms.{MINE.name}.allow_private = true"],
        ),
        (
            ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "refused")),
            ["nothing listens on api.example:443", "host and port"],
        ),
        (ClientConnectorError(KEY, OSError(errno.ENETUNREACH, "no")), ["no route to api.example:443", "network"]),
        (ServerDisconnectedError(), ["closed the connection without an answer"]),
        (ClientPayloadError(), ["closed the connection without an answer"]),
        (
            ClientResponseError(
                RequestInfo(URL("https://a/"), "GET", CIMultiDictProxy(CIMultiDict()), URL("https://a/")),
                (),
                message="s3cret",
            ),
            ["does not speak HTTP", "http:// or https://"],
        ),
    ],
)
def test_an_error_of_the_network_is_told_with_what_helps(error: Exception, told: list[str]) -> None:
    sentence = in_words(error, ORIGIN, MINE, None, 5.0)

    assert [part for part in told if part not in sentence] == []
    assert "s3cret" not in sentence


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ClientProxyConnectionError(KEY, OSError(errno.ECONNREFUSED, "refused")),
            "nothing listens on proxy.internal:3128, the egress proxy",
        ),
        (
            ClientProxyConnectionError(KEY, socket.gaierror(socket.EAI_NONAME, "unknown")),
            "proxy.internal can't be resolved",
        ),
        (certificate_error(20), "the certificate of api.example:443 is signed by an authority"),
    ],
)
def test_behind_an_egress_proxy_it_is_told_whose_trouble_it_is(error: Exception, told: str) -> None:
    assert in_words(error, ORIGIN, MINE, EgressProxy("proxy.internal", 3128), 5.0).startswith(told)


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
