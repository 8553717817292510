"""What a client addressed: which shop, what of it, and under which URL it knows the proxy.

Rules: the request target names the shop (`/demo/products`), or, where apps could not change their URL, the host does
(`Host: demo.api.myshoprenter.hu`). In absolute-form the target's host counts, not the Host field's (RFC 9112 §3.2.2),
and it must be the proxy's own or one that stands for a shop: this is no forward proxy. What `X-Forwarded-Host` and
`-Proto` say counts from a trusted proxy alone.
"""

import re
from typing import Final

from proxy.errors import BadTarget
from proxy.forwarding.fields import Hop
from proxy.forwarding.target import Target, parse_hosted_target, parse_target
from proxy.guards.access import Client
from proxy.platforms.shop_hosts import ShopHosts
from proxy.platforms.url_prefix import parse_prefix
from proxy.wire.request import ClientRequest

_ABSOLUTE: Final = re.compile(rb"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)

_MAX_REMEMBERED: Final = 1000  # values of Host; clients choose them
_MAX_REMEMBERED_LENGTH: Final = 255  # bytes; no real one is longer (RFC 1035 §2.3.4)


class Addressing:
    """Reads what clients address. `hosts` is `None` if hosts stand for no shop.

    `public_url` has no slash at its end.
    """

    def __init__(self, hosts: ShopHosts | None, public_url: str | None) -> None:
        self.hosts = hosts
        self.public_url = public_url
        self._of_no_shop: set[bytes] = set()  # values of Host that were looked at
        self._urls: dict[tuple[bytes, bool], str] = {}  # of hosts that were named in Host, with TLS or without

    def read(self, request: ClientRequest, hop: Hop, client: Client | None) -> Target:
        """Return what a request is addressed to. Raises `BadTarget` or `BadRequest`.

        For a `client` who may not see a shop, its host stands for none, as if there were no such shop.
        """
        raw = request.target
        by_path = raw.startswith(b"/")
        named = request.head.first.get(b"host")
        if by_path and not hop.trusted_proxies and (self.hosts is None or named in self._of_no_shop):
            return parse_target(raw)
        absolute = None if by_path else _ABSOLUTE.fullmatch(raw)
        if absolute is not None:
            raw = absolute["rest"] if absolute["rest"].startswith(b"/") else b"/" + absolute["rest"]
        scheme, host, authority = _client_url(request, hop)
        hosted = self.hosts.find(host) if self.hosts is not None else None
        if hosted is not None and (client is None or client.may_see(hosted.key)):
            return parse_hosted_target(raw, hosted.key, hosted.base_path)
        if hosted is None and by_path and named and len(named) <= _MAX_REMEMBERED_LENGTH:
            if len(self._of_no_shop) >= _MAX_REMEMBERED:
                self._of_no_shop.clear()
            self._of_no_shop.add(named)
        if absolute is not None and not self._is_own(f"{scheme}://{authority}", request):
            raise BadTarget(
                "The request target names another host, but this is not a forward proxy. If it is this proxy's own"
                " name, set server.public_url."
            )
        return parse_target(raw)

    def base(self, request: ClientRequest, hop: Hop, target: Target) -> str:
        """Return the URL that the client knows the shop by; none that can be used if it is odd."""
        if self.public_url is not None and not target.hosted:
            return self.public_url + target.prefix
        named = request.head.first.get(b"host")
        if not named or hop.trusted_proxies or not request.target.startswith(b"/"):
            scheme, _, authority = _client_url(request, hop)
            return f"{scheme}://{authority}{target.prefix}"
        key = named, request.connection.secure
        url = self._urls.get(key)
        if url is None:
            scheme, _, authority = _client_url(request, hop)
            url = f"{scheme}://{authority}"
            if len(named) <= _MAX_REMEMBERED_LENGTH:
                if len(self._urls) >= _MAX_REMEMBERED:
                    self._urls.clear()
                self._urls[key] = url
        return url + target.prefix

    def _is_own(self, url: str, request: ClientRequest) -> bool:
        local = _local_authority(request)
        own = [f"{_scheme(request)}://{local}"] if local else []
        if local.startswith(("127.", "[::1]")):
            own.append(f"{_scheme(request)}://localhost:{local.rpartition(':')[2]}")
        if self.public_url is not None:
            own.append(self.public_url)
        try:
            named = str(parse_prefix(url))
        except ValueError:
            return False
        # With either scheme: what TLS was taken off from is here with http.
        return any(named in prefix._replace(path="").equals() for prefix in map(parse_prefix, own))


def _client_url(request: ClientRequest, hop: Hop) -> tuple[str, str, str]:
    """Return the URL that the client used: scheme, host in lower case, and authority.

    Without a Host, it is the address that it connected to.
    """
    absolute = None if request.target.startswith(b"/") else _ABSOLUTE.fullmatch(request.target)
    if absolute is not None:
        return absolute["scheme"].decode().lower(), *_plain(absolute["authority"].decode("latin-1"))
    head, scheme = request.head, _scheme(request)
    host = head.first.get(b"host")
    if hop.trusts(request.connection.remote):
        told = _first_member(head.first.get(b"x-forwarded-proto")).lower()
        scheme = told.decode() if told in (b"http", b"https") else scheme
        host = _first_member(head.first.get(b"x-forwarded-host")) or host
    return scheme, *_plain(host.decode("latin-1") if host else _local_authority(request))


def _scheme(request: ClientRequest) -> str:
    return "https" if request.connection.secure else "http"


def _first_member(value: bytes | None) -> bytes:
    # Each proxy on the way may have added its own: the first is from the one that the client used.
    return (value or b"").partition(b",")[0].strip()


def _local_authority(request: ClientRequest) -> str:
    address = request.connection.local_address()
    if address is None:
        return ""
    host, port = address[0].partition("%")[0], address[1]  # no URL has room for the scope of a link-local address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _plain(authority: str) -> tuple[str, str]:
    """Return the host in lower case, and the authority without the root's dot and an empty port (RFC 3986 §3.2).

    A user stays a part of the host, so that it is none that is known.
    """
    host, colon, port = authority.rpartition(":")
    if not colon or port.strip("0123456789"):
        host, port = authority, ""
    host = host.removesuffix(".")
    return host.lower(), f"{host}:{port}" if port else host
