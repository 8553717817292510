"""Which header fields pass, which stop here, which are added; both ways.

Rules, in this order (RFC 9110 §7.6.1; the order is what attacks on proxies play with): first everything that belongs to
one hop goes, all that any `Connection` line names included; then the client's credentials go; then this hop's own
fields are added, each exactly once. `Authorization` is not added here but at the very last moment, by `upstream.py`.
What passes, passes in order, with its case and its bytes.
"""

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from proxy.errors import BadRequest, ExpectationFailed, Loop
from proxy.platforms.addresses import ip_of
from proxy.wire.head import PASSES, STOPS, FieldTable, Head

# RFC 9110 §7.6.1, and what older software sends: these end here even when no Connection line names them. Trailer goes
# too, since trailer fields are not passed on (RFC 9110 §6.5.1 lets a proxy drop them). Close is reserved, as it would
# always be named so (RFC 9112 §9.6).
_HOP_BY_HOP: Final = b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings close"
# Set anew by this hop from what it knows: where the request goes, how long the body is.
_FRAMING: Final = b"host content-length expect"
# The client's credentials are for this proxy, at most; Cookie is this host's.
_CREDENTIALS: Final = b"authorization proxy-authorization cookie cookie2"
# What this hop says itself, of itself or of the client.
_OWN: Final = b"x-request-id forwarded x-forwarded-for x-forwarded-host x-forwarded-proto"
# What passes and is asked for: loops, traces, counts of hops; what rewriting links depends on; what may come once only.
_READ_OF_REQUESTS: Final = (
    b"via traceparent max-forwards"
    b" accept accept-encoding range if-range if-match if-none-match"
    b" content-type content-encoding content-md5 digest content-digest repr-digest"
    b" content-location content-range etag server user-agent sec-websocket-key1"
)
_READ_OF_ANSWERS: Final = (
    b"date retry-after content-type content-encoding content-disposition vary etag accept-ranges"
    b" set-cookie location content-location link refresh content-md5 digest content-digest repr-digest www-authenticate"
)
# What an answer says of the platform's host for times to come: of this one it is not so.
_OF_THE_HOST: Final = (
    b"alt-svc strict-transport-security public-key-pins public-key-pins-report-only expect-ct"
    b" nel report-to reporting-endpoints clear-site-data"
)

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~+/=:@-]{1,128}")
_MOST_FORWARDS: Final = 10**9  # what a larger Max-Forwards counts as


def request_fields() -> FieldTable:
    """Return what becomes of the fields of requests."""
    stops = b" ".join((_HOP_BY_HOP, _FRAMING, _CREDENTIALS, _OWN)).split()
    known = dict.fromkeys(stops, STOPS) | dict.fromkeys(_READ_OF_REQUESTS.split(), PASSES)
    return FieldTable(known, stops=(b"x-forwarded-",), twins=True, unlearned=_CREDENTIALS.split())


def answer_fields() -> FieldTable:
    """Return what becomes of the fields of answers."""
    stops = [*_HOP_BY_HOP.split(), *_OF_THE_HOST.split(), b"proxy-authenticate", b"content-length"]
    known = dict.fromkeys(_READ_OF_ANSWERS.split(), PASSES) | dict.fromkeys(stops, STOPS)
    return FieldTable(known, unlearned=[b"set-cookie", b"location"])


@dataclass(frozen=True, slots=True)
class Hop:
    """What this proxy says of itself in requests: its name in `Via`, and whose X-Forwarded-* it believes.

    `pseudonym` is this very process's name (RFC 9110 §7.6.3): a request that carries it already has been here.
    """

    pseudonym: bytes
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    _via: dict[bool, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lines = {modern: b"Via: 1.%d %b\r\n" % (modern, self.pseudonym) for modern in (False, True)}
        object.__setattr__(self, "_via", lines)

    def via(self, *, modern: bool) -> bytes:
        """Return the line that tells the next server of this hop; `modern` if the request came as HTTP/1.1."""
        return self._via[modern]

    def trusts(self, remote: str | None) -> bool:
        """Tell whether the peer at `remote`, an IP address, may say who it speaks for."""
        if not self.trusted_proxies:
            return False
        address = ip_of(remote)
        return address is not None and any(address in network for network in self.trusted_proxies)


def request_id(head: Head) -> bytes | None:
    """Return the client's X-Request-ID if it has one that is fit to be passed on and logged."""
    return next((value for value in head.values(b"x-request-id") if _REQUEST_ID.fullmatch(value)), None)


def expects_continue(head: Head) -> bool:
    """Tell whether the client waits for `100 Continue` (RFC 9110 §10.1.1); raises `ExpectationFailed` for others."""
    expectations = [member for member in head.members(b"expect") if member]
    if any(member != b"100-continue" for member in expectations):
        raise ExpectationFailed("The only expectation that this proxy supports is 'Expect: 100-continue'.")
    return bool(expectations)


def check_for_loop(head: Head, hop: Hop) -> None:
    """Raise `Loop` if the request has passed this very proxy before."""
    for member in head.members(b"via"):
        if hop.pseudonym in member.split():
            raise Loop(
                "The request has already passed through this proxy: a platform's api_url or a DNS entry leads back"
                " to it."
            )


def forwarded_lines(head: Head, *, remote: str, scheme: bytes, trusted: bool) -> bytes:
    """Return X-Forwarded-* with this hop appended to what a trusted peer said; what others said counts for nothing.

    `remote` is the peer's IP address, `scheme` that of the connection.
    """
    node = (remote or "unknown").encode()
    own_host = head.first.get(b"host")
    chain = [*filter(None, head.values(b"x-forwarded-for")), node] if trusted else [node]
    host = (head.first.get(b"x-forwarded-host") if trusted else None) or own_host
    proto = (head.first.get(b"x-forwarded-proto") if trusted else None) or scheme
    lines = [b"X-Forwarded-For: " + b", ".join(chain)]
    if host is not None:
        lines.append(b"X-Forwarded-Host: " + host)
    lines.append(b"X-Forwarded-Proto: " + proto)
    standard = head.values(b"forwarded") if trusted else []
    if standard:
        lines.append(b"Forwarded: " + b", ".join([*standard, _forwarded_element(node, own_host, scheme)]))
    return b"\r\n".join([*lines, b""])


def _forwarded_element(remote: bytes, host: bytes | None, scheme: bytes) -> bytes:
    """Return this hop's element of `Forwarded` (RFC 7239 §4, §6: an IPv6 address stands in brackets and quotes)."""
    node = b'"[%s]"' % remote if b":" in remote else remote
    element = b"for=%s;proto=%s" % (node, scheme)
    if host is not None and b'"' not in host and b"\\" not in host:
        element += b';host="%s"' % host
    return element


def decrease_max_forwards(head: Head) -> bool:
    """Count this hop in `Max-Forwards`; return False if the request must not go further.

    For OPTIONS alone (RFC 9110 §7.6.2; TRACE is never forwarded). Raises `BadRequest` if it is not one number.
    """
    values = head.values(b"max-forwards")
    if not values:
        return True
    if len(values) > 1 or not values[0].isdigit():
        raise BadRequest("Max-Forwards must be one decimal number.")
    left = min(int(values[0].lstrip(b"0")[:10] or b"0"), _MOST_FORWARDS)
    if left:
        head.change((b"max-forwards",), lambda _, __: b"%d" % (left - 1))
    return left > 0
