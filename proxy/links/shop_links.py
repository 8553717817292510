"""The links of shops: worked out once for a shop and a base, since that costs more than rewriting a body.

Rules: how much is kept is bounded, since clients choose bases, and shops too where a wildcard entry serves them.
"""

import re
from collections import OrderedDict
from functools import cached_property
from typing import Final, NamedTuple

from proxy.links.api_links import ApiLinks, LinkMap

_MAX_SHOPS: Final = 500  # whose links are kept; those of a shop are some 10 to 100 kB
_MAX_BASES: Final = 4  # of a shop; clients choose them, by Host

# The header fields of an answer that hold links (RFC 9110 §8.7, §10.2.2; RFC 8288 §3; HTML Standard, "shared
# declarative refresh steps"), in lower case, and what stands there before a URL.
_REFRESH: Final = re.compile(rb"""(?i:\A[ \t]*[0-9.]*[ \t]*[;,][ \t]*(?:url[ \t]*=[ \t]*)?["']?)""")
_BEFORE_URL: Final = {
    b"location": rb"\A",
    b"content-location": rb"\A",
    b"link": rb"<",
    b"refresh": _REFRESH.pattern,
}
LINK_FIELDS: Final = frozenset(_BEFORE_URL)


class ShopLinks:
    """The links of one shop for a client that knows the shop by the URL `base`.

    `base_path` is what the API's own paths begin with (ends in `/`). Raises `ValueError` for a base that can't stand in
    a text as it is.
    """

    def __init__(self, api: ApiLinks, base_path: bytes, base: str) -> None:
        self._api = api
        self._base_path = base_path
        self._base = base
        self.to_client = api.in_answers(base)

    @cached_property
    def to_platform(self) -> LinkMap:
        """What turns the client's links into the platform's."""
        return self._api.in_requests(self._base)

    def in_field(self, name: bytes, value: bytes) -> bytes:
        """Return the value of one of the `LINK_FIELDS` of an answer with its links rewritten.

        One that is relative to the API's host (`/api/products`) would be relative to the proxy's.
        """
        base = self._base.encode()
        value = self._relative[name].sub(lambda before: before[1] + base, value)
        begins = _REFRESH.match(value) if name == b"refresh" else None  # nothing but a `;` may stand before the URL
        at = begins.end() if begins else 0
        return value[:at] + self.to_client.rewrite(value[at:])

    @cached_property
    def _relative(self) -> dict[bytes, re.Pattern[bytes]]:
        """What finds, in each of the `LINK_FIELDS`, URLs that are relative to the API's host."""
        path = re.escape(self._base_path[:-1])
        relative = b"(?!//)%b(?=[/?#>\"']|\\Z)" % path if path else b"(?=/(?!/))"
        return {name: re.compile(b"(%b)%b" % (before, relative)) for name, before in _BEFORE_URL.items()}


class _Kept(NamedTuple):
    api: ApiLinks
    by_base: dict[str, ShopLinks]


class LinksOfShops:
    """Keeps what was worked out for shops and bases."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def find(self, key: str, api_urls: tuple[str, ...], base_path: bytes, base: str) -> ShopLinks | None:
        """Return the links of the shop called `key`; `None` if there is no link like that, or none to such a base.

        `api_urls` are the URLs that stand for its API, the canonical one first; none if links are not rewritten.
        `base_path` is what the API's own paths begin with. Both are always the same for a shop.
        """
        if not api_urls:
            return None
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _MAX_SHOPS:
                self._kept.popitem(last=False)
            kept = self._kept[key] = _Kept(ApiLinks(api_urls), {})
        else:
            self._kept.move_to_end(key)
        links = kept.by_base.get(base)
        if links is None:
            try:
                links = ShopLinks(kept.api, base_path, base)
            except ValueError:
                return None
            if len(kept.by_base) >= _MAX_BASES:
                del kept.by_base[next(iter(kept.by_base))]
            kept.by_base[base] = links
        return links
