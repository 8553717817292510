"""What to do about an error of the network, or about an answer of a token endpoint, in a person's words (pure).

A sentence says what was found and what helps, with the setting. It holds host names and statuses, and nothing that was
sent or received.
"""

import errno
import re
import socket
import ssl
from typing import Final

from proxy.errors import EgressProxyError, PrivateAddressError, ProxyError
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import Origin, Platform, TokenRequestForm

# OpenSSL's verify_code, see X509_STORE_CTX_get_error(3).
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21, 26, 27})
_CERTIFICATES: Final = {
    9: "is not valid yet: is this machine's clock right?",
    10: "has expired: is this machine's clock right? If it is, only the operator of that server can help",
    62: "is for another name: does DNS or a hosts file lead to another server, or is there a typo in the URL?",
    64: "is not for this address: write the host's name in the URL",
}
_AUTHORITY: Final = (
    "is signed by an authority that this machine does not know: if a company's proxy or an antivirus program"
    " intercepts TLS, or the platform is your own, save the certificate of its authority (PEM) in a file and name"
    " that in upstream.ca_file; if not even the usual authorities are known, install them (Debian: apt-get install"
    " ca-certificates)"
)
_OLD_TLS: Final = frozenset({"UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "TLSV1_ALERT_PROTOCOL_VERSION"})
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
_OF_THE_PROXY: Final = frozenset({"destination_unavailable", "proxy_configuration_error"})
_NO_WAY: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


def in_words(
    error: ProxyError | TimeoutError, origin: Origin, platform: Platform, proxy: EgressProxy | None, within: float
) -> str:
    """Return what an error of the client means and what helps.

    `origin` was called, through `proxy` if there is one; `within` are the seconds that were waited.
    """
    place = f"{origin.host}:{origin.port}"
    if isinstance(error, TimeoutError):
        return (
            f"{place} does not answer within {within:g} s: is a firewall in between? If an egress proxy is the only way"
            " out, name it in upstream.proxy"
        )
    if proxy is not None and error.proxy_status in _OF_THE_PROXY:
        return error.reason
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of {place} {_about_certificate(cause)}"
    if isinstance(cause, PrivateAddressError):
        return f"{cause}: if that is intended, set platforms.{platform.name}.allow_private = true; if not, check DNS"
    if isinstance(cause, socket.gaierror):
        return _about_name(cause, origin, proxy)
    if isinstance(cause, ssl.SSLError):
        return _about_tls(cause, place)
    if error.proxy_status == "http_protocol_error":
        return f"{place} does not speak HTTP: is the port right, and is it http:// or https://?"
    if proxy is not None and isinstance(error.__cause__, EgressProxyError):
        place = f"{proxy.host}:{proxy.port}, the egress proxy"
    return _about_connection(cause, place)


def _about_certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return _AUTHORITY
    return _CERTIFICATES.get(error.verify_code, f"can't be trusted ({error.verify_message})")


def _about_name(error: socket.gaierror, origin: Origin, proxy: EgressProxy | None) -> str:
    host = proxy.host if proxy else origin.host
    if error.errno == socket.EAI_AGAIN:
        return f"{host} can't be resolved now, because no name server answers: check this machine's network and DNS"
    return (
        f"{host} can't be resolved: is there a typo in the shop's name or the URL? If no other name can be resolved"
        " either, check this machine's DNS; if an egress proxy is the only way out, name it in upstream.proxy"
    )


def _about_tls(error: ssl.SSLError, place: str) -> str:
    reason = error.reason or ""
    if reason in _NO_TLS:
        return (
            f"{place} is not a TLS port (what answers is not TLS): write another port, or, if it is in your own"
            " network, http:// and allow_private = true"
        )
    if reason in _OLD_TLS:
        return f"{place} supports only TLS versions that are too old to be safe: TLS 1.2 or newer is needed"
    return f"the TLS handshake with {place} failed ({reason.replace('_', ' ').lower() or 'no reason given'})"


def _about_connection(error: BaseException, place: str) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ECONNREFUSED:
        return f"nothing listens on {place}: are host and port right, and is it running?"
    if number in _NO_WAY:
        return (
            f"this machine has no route to {place}: check its network; if an egress proxy is the only way out, name"
            " it in upstream.proxy"
        )
    return (
        f"{place} closed the connection without an answer: is a firewall in between, or is the port for something else?"
    )


def about_token(reason: str, platform: Platform, compare: str) -> str:
    """Return what helps when a token endpoint answered, but granted none; empty if only waiting does.

    `reason` is its answer, as `TokenError` has it; `compare` says where the credentials are.
    """
    table = f"platforms.{platform.name}"
    found = re.match(r"status (\d+)", reason)
    status = int(found[1]) if found else 200
    if "invalid_scope" in reason:
        return f"the platform does not grant the scope: check {table}.scope, and what the API client may do"
    if "invalid_request" in reason or "unsupported_grant_type" in reason or status == 415:
        others = " or ".join(f'"{form}"' for form in TokenRequestForm if form is not platform.token_request)
        return (
            f"{compare}; or the platform wants them in another form: {table}.token_request is"
            f' "{platform.token_request}", try {others}'
        )
    if status == 403:
        return (
            f"{compare}; perhaps this machine's IP address has to be registered with the platform first, or a"
            " firewall answers"
        )
    if status in (400, 401):
        return compare
    if 300 <= status < 400:
        return f"{table}.token_url redirects elsewhere, and the secret is not sent there: set it to the final URL"
    if status in (404, 405, 410) or status == 200:
        return f"is {table}.token_url right, or does something else (a firewall, a login page) answer in its place?"
    return ""
