"""Which header fields pass, which are stripped, which are added; both ways.

Rules, in this order (RFC 9110 §7.6.1; the order is what attacks on proxies play with): first everything that belongs to
one hop goes, all that any `Connection` line names included; then the client's credentials go; then this hop's own
fields are added, each exactly once. `Authorization` is not added here but at the very last moment, by `upstream.py`.
What passes, passes in order, with its case and its bytes: fields are pairs of `bytes` and never decoded to a mapping,
which would lose repeated fields and obs-text (RFC 9110 §5.5).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from aiohttp.http import HttpVersion, HttpVersion10

from proxy.errors import BadRequest, ExpectationFailed, Loop
from proxy.platforms.addresses import ip_of

Fields = list[tuple[bytes, bytes]]
RawFields = Iterable[tuple[bytes, bytes]]

# RFC 9110 §7.6.1, and what older software sends: these end here even when no Connection line names them. Trailer goes
# too, since trailer fields are not passed on (RFC 9110 §6.5.1 lets a proxy drop them).
_HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings".split()
)
# Set anew by this hop from what it knows: where the request goes, how long the body is.
_FRAMING: Final = frozenset((b"host", b"content-length", b"expect"))
# The client's credentials are for this proxy, at most; Cookie is this host's.
_CREDENTIALS: Final = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"cookie2"))
_DROPPED_FROM_REQUESTS: Final = _HOP_BY_HOP | _FRAMING | _CREDENTIALS | {b"x-request-id", b"forwarded"}
_DROPPED_FROM_RESPONSES: Final = _HOP_BY_HOP | {b"proxy-authenticate", b"content-length"}

# RFC 9112 §3.2, RFC 3986 §3.2.2: a name or an IP address, and perhaps a port.
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?")
# Python reads no number of more than 4300 digits, and who pads one with zeros wants to be misread.
_LENGTH: Final = re.compile(rb"[ \t]*[0-9]{1,20}[ \t]*")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~+/=:@-]{1,128}")
_MOST_FORWARDS: Final = 10**9  # what a larger Max-Forwards counts as
_CONTROLS: Final = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])


def fields_named(fields: RawFields, name: bytes) -> list[bytes]:
    """Return the values of the fields called `name` (lower case), in order."""
    length = len(name)
    return [value for field, value in fields if len(field) == length and field.lower() == name]


def first_named(fields: RawFields, name: bytes) -> bytes | None:
    """Return the value of the first field called `name` (lower case), if there is one."""
    values = fields_named(fields, name)
    return values[0] if values else None


def list_members(fields: RawFields, name: bytes) -> list[bytes]:
    """Return the members of a comma-separated list field over all its lines, in lower case (RFC 9110 §5.6.1)."""
    return [member.strip(b" \t").lower() for value in fields_named(fields, name) for member in value.split(b",")]


def request_id(fields: RawFields) -> str | None:
    """Return the client's X-Request-ID if it has one that is fit to be passed on and logged."""
    for value in fields_named(fields, b"x-request-id"):
        if _REQUEST_ID.fullmatch(value):
            return value.decode()
    return None


def expects_continue(fields: RawFields) -> bool:
    """Tell whether the client waits for `100 Continue` (RFC 9110 §10.1.1); raises `ExpectationFailed` for others."""
    expectations = [member for member in list_members(fields, b"expect") if member]
    if any(member != b"100-continue" for member in expectations):
        raise ExpectationFailed("The only expectation this proxy can meet is 'Expect: 100-continue'.")
    return bool(expectations)


@dataclass(frozen=True, slots=True)
class Hop:
    """What this proxy says of itself in requests: its name in `Via`, and whose X-Forwarded-* it believes.

    `pseudonym` is this very process's name (RFC 9110 §7.6.3): a request that carries it already has been here.
    """

    pseudonym: bytes
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()

    def trusts(self, remote: str | None) -> bool:
        """Tell whether the peer at `remote`, an IP address, may say who it speaks for."""
        if not self.trusted_proxies:
            return False
        address = ip_of(remote)
        return address is not None and any(address in network for network in self.trusted_proxies)


@dataclass(frozen=True, slots=True)
class ClientConnectionInfo:
    """What the connection, not the message, says of the client: peer address, scheme, and HTTP version (b"1.1")."""

    remote: str | None
    scheme: bytes
    http_version: bytes


def check_framing(fields: RawFields, version: HttpVersion) -> None:
    """Raise `BadRequest` for what the parser lets through, but not every server reads as the same one message."""
    codings = list_members(fields, b"transfer-encoding")
    if codings not in ([], [b"chunked"]):
        raise BadRequest("The only transfer coding of a request can be 'chunked'.")
    if codings and version == HttpVersion10:
        raise BadRequest("HTTP/1.0 has no Transfer-Encoding.")  # RFC 9112 §6.1: framed wrongly, whatever it says
    if not all(map(_LENGTH.fullmatch, fields_named(fields, b"content-length"))):
        raise BadRequest("The Content-Length is not a number of 20 digits or less.")
    if not all(map(_HOST.fullmatch, fields_named(fields, b"host"))):
        raise BadRequest("The Host header names no host.")  # RFC 9112 §3.2


def check_for_loop(fields: RawFields, hop: Hop) -> None:
    """Raise `Loop` if the request has passed this very proxy before."""
    for member in list_members(fields, b"via"):
        if hop.pseudonym in member.split():
            raise Loop(
                "The request has passed this proxy before: a platform's api_url or a DNS entry leads back to it."
            )


def upstream_request_fields(
    fields: RawFields,
    *,
    host: bytes,
    request_id: str,
    hop: Hop,
    connection: ClientConnectionInfo,
    forwarded: bool,
) -> Fields:
    """Return the fields of the upstream request, but for its framing and `Authorization`.

    `forwarded` tells whether the platform is told X-Forwarded-For, -Host and -Proto.
    """
    # Where fields become CGI variables, `X_Forwarded_For` is `X-Forwarded-For`: names are compared as they are there.
    named = [member.replace(b"_", b"-") for member in list_members(fields, b"connection")]
    dropped = _DROPPED_FROM_REQUESTS.union(named)
    passed: Fields = [(b"Host", host)]
    passed += [
        (name, value)
        for name, value in fields
        if (known := name.lower().replace(b"_", b"-")) not in dropped and not known.startswith(b"x-forwarded-")
    ]
    passed.append((b"Via", connection.http_version + b" " + hop.pseudonym))
    passed.append((b"X-Request-ID", request_id.encode()))
    if forwarded:
        passed += _forwarded_fields(fields, hop, connection)
    return passed


def _forwarded_fields(fields: RawFields, hop: Hop, connection: ClientConnectionInfo) -> Fields:
    """Return X-Forwarded-* with this hop appended to what a trusted peer said; what others said counts for nothing."""
    believed = [(name, value) for name, value in fields if hop.trusts(connection.remote)]
    remote = (connection.remote or "unknown").encode()
    chain = [*filter(None, fields_named(believed, b"x-forwarded-for")), remote]
    added = [(b"X-Forwarded-For", b", ".join(chain))]
    own_host = first_named(fields, b"host")
    host = first_named(believed, b"x-forwarded-host") or own_host
    if host is not None:
        added.append((b"X-Forwarded-Host", host))
    added.append((b"X-Forwarded-Proto", first_named(believed, b"x-forwarded-proto") or connection.scheme))
    standard = fields_named(believed, b"forwarded")
    if standard:
        added.append((b"Forwarded", b", ".join([*standard, _forwarded_element(remote, own_host, connection.scheme)])))
    return added


def _forwarded_element(remote: bytes, host: bytes | None, scheme: bytes) -> bytes:
    """Return this hop's element of `Forwarded` (RFC 7239 §4, §6: an IPv6 address stands in brackets and quotes)."""
    node = b'"[%s]"' % remote if b":" in remote else remote
    element = b"for=%s;proto=%s" % (node, scheme)
    if host is not None and b'"' not in host and b"\\" not in host:
        element += b';host="%s"' % host
    return element


def decrease_max_forwards(fields: Fields) -> bool:
    """Count this hop in `Max-Forwards`, in place; return False if the request must not go further.

    For OPTIONS alone (RFC 9110 §7.6.2; TRACE is never forwarded). Raises `BadRequest` if it is not one number.
    """
    places = [index for index, (name, _) in enumerate(fields) if name.lower() == b"max-forwards"]
    if not places:
        return True
    name, value = fields[places[0]]
    if len(places) > 1 or not value.isdigit():
        raise BadRequest("Max-Forwards must be one decimal number.")
    left = min(int(value.lstrip(b"0")[:10] or b"0"), _MOST_FORWARDS)
    if left:
        fields[places[0]] = (name, b"%d" % (left - 1))
    return left > 0


def client_response_fields(fields: RawFields) -> Fields:
    """Return the upstream response's fields that go to the client, but for the framing."""
    dropped = _DROPPED_FROM_RESPONSES.union(list_members(fields, b"connection"))
    return [(name, value) for name, value in fields if name.lower() not in dropped]


def has_control_characters(fields: RawFields) -> bool:
    """Tell whether a value holds what would let it break out of its line (RFC 9110 §5.5)."""
    values = b"".join([value for _, value in fields])
    return len(values.translate(None, _CONTROLS)) != len(values)


def serialize(start_line: bytes, fields: RawFields) -> bytes:
    """Return a message head as it stands on the wire, the empty line included (RFC 9112 §2.1)."""
    lines = [start_line]
    lines += [name + b": " + value for name, value in fields]
    lines.append(b"\r\n")
    return b"\r\n".join(lines)
