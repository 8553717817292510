"""What rewriting links changes in messages: which bodies, and which header fields. Decides; reads and writes nothing.

Rules: where links may be rewritten, the upstream is offered gzip alone (which can be unpacked) and asked for no ranges
(whose bytes would not be the client's). A client that does not take gzip gets none. What says something of the bytes of
a body (its length, digests, a strong ETag if a link was rewritten) goes on only where those bytes do.
"""

import re
from collections import OrderedDict
from functools import cached_property
from typing import Final, NamedTuple

from proxy.forwarding.headers import Fields, RawFields, fields_named, first_named, list_members
from proxy.forwarding.links import LINK_FIELDS, ApiLinks, LinkMap, is_rewritable
from proxy.forwarding.route import Route
from proxy.forwarding.unpacking import can_unpack

_MAX_SHOPS: Final = 500  # whose links are kept; those of a shop are some 10 to 100 kB
_MAX_BASES: Final = 4  # of a shop; clients choose them, by Host
_NOT_OFFERED: Final = frozenset((b"accept-encoding", b"range", b"if-range"))
_DIGESTS: Final = frozenset((b"content-md5", b"digest", b"content-digest", b"repr-digest"))  # RFC 1864, 3230, 9530
_NO_CONTENT, _PARTIAL_CONTENT, _NOT_MODIFIED = 204, 206, 304
_NO_WEIGHT: Final = re.compile(rb"q=0(?:\.0*)?")


class ShopLinks:
    """The links of one shop for a client that knows the shop by the URL `base`.

    `base_path` is what the API's own paths begin with (ends in `/`). Raises `ValueError` for a base that can't stand in
    a text as it is.
    """

    def __init__(self, api: ApiLinks, base_path: bytes, base: str) -> None:
        self._api = api
        self._base = base
        prefix = re.escape(base_path[:-1])
        self._relative = b"(?!//)%b(?=[/?#>]|\\Z)" % prefix if prefix else b"(?=/(?!/))"
        self.to_client = api.in_answers(base)

    @cached_property
    def to_platform(self) -> LinkMap:
        """What turns the client's links into the platform's."""
        return self._api.in_requests(self._base)

    def in_field(self, name: bytes, value: bytes) -> bytes:
        """Return the value of one of the `LINK_FIELDS` of an answer with its links rewritten.

        One that is relative to the API's host (`/api/products`) would be relative to the proxy's.
        """
        begin = b"(?<=<)" if name == b"link" else b"\\A"
        value = re.sub(begin + self._relative, self._base.encode(), value)  # in a base nothing means more than itself
        return self.to_client.rewrite(value)


class _Kept(NamedTuple):
    api: ApiLinks
    by_base: dict[str, ShopLinks]


class LinksOfShops:
    """Keeps what was worked out for shops and bases, since that costs more than rewriting a body."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def find(self, route: Route, base: str) -> ShopLinks | None:
        """Return the links of a route's shop; `None` if they are not rewritten, or can't begin with such a base."""
        if not route.api_urls:
            return None
        key = route.shop.key
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _MAX_SHOPS:
                self._kept.popitem(last=False)
            kept = self._kept[key] = _Kept(ApiLinks(route.api_urls), {})
        else:
            self._kept.move_to_end(key)
        links = kept.by_base.get(base)
        if links is None:
            try:
                links = ShopLinks(kept.api, route.base_path, base)
            except ValueError:
                return None
            if len(kept.by_base) >= _MAX_BASES:
                del kept.by_base[next(iter(kept.by_base))]
            kept.by_base[base] = links
        return links


class Edit(NamedTuple):
    """What is done to the body of an answer."""

    unpack: bool
    rewrite: bool


UNTOUCHED: Final = Edit(unpack=False, rewrite=False)


def offer_gzip(fields: RawFields) -> Fields:
    """Return the fields of an upstream request whose answer may have to be rewritten."""
    kept = [
        # Weakened on the way to the client, an ETag would never match here (RFC 9110 §13.1.1).
        (name, value.replace(b'W/"', b'"') if known == b"if-match" else value)
        for name, value in fields
        if (known := name.lower().replace(b"_", b"-")) not in _NOT_OFFERED  # names as CGI variables have them
    ]
    return [*kept, (b"Accept-Encoding", b"gzip")]


def without_digests(fields: RawFields) -> Fields:
    """Return the fields of a request whose body was changed."""
    return [(name, value) for name, value in fields if name.lower() not in _DIGESTS]


def may_hold_links(fields: RawFields) -> bool:
    """Tell whether the body of a request may hold links to rewrite, and is not packed."""
    types = fields_named(fields, b"content-type")
    packed = any(coding != b"identity" for coding in list_members(fields, b"content-encoding"))
    return len(types) == 1 and not packed and is_rewritable(types[0], request=True)


def edit_of(status: int, fields: RawFields, client_fields: RawFields) -> Edit:
    """Return what is to be done to the body of an answer to the client with these fields in its request."""
    if status == _NOT_MODIFIED:
        # What it says must be so of the answer that the client has stored (RFC 9111 §4.3.4), which was plain.
        return Edit(unpack=True, rewrite=_has_weakened(fields, client_fields))
    coding = b", ".join(fields_named(fields, b"content-encoding"))
    if status in (_NO_CONTENT, _PARTIAL_CONTENT) or not can_unpack(coding):
        return UNTOUCHED
    types = fields_named(fields, b"content-type")
    rewrite = len(types) == 1 and is_rewritable(types[0])
    packed = coding.strip().lower() not in (b"", b"identity")
    return Edit(packed and (rewrite or not _accepts_gzip(client_fields)), rewrite)


def edited_fields(fields: RawFields, links: ShopLinks, edit: Edit, *, changed: bool) -> Fields:
    """Return the fields of an answer for the client; `changed` if its links were rewritten, or may have been."""
    edited: Fields = []
    for name, value in fields:
        match name.lower():
            case known if known in LINK_FIELDS:
                edited.append((name, links.in_field(known, value)))
            case b"etag" if changed and not value.startswith(b"W/"):
                edited.append((name, b"W/" + value))
            case b"accept-ranges":
                pass  # they are not asked for
            case b"content-encoding" if edit.unpack:
                pass
            case known if known in _DIGESTS and (changed or edit.unpack):
                pass
            case _:
                edited.append((name, value))
    return edited


def _has_weakened(fields: RawFields, client_fields: RawFields) -> bool:
    etag = first_named(fields, b"etag")
    return etag is not None and any(b"W/" + etag in value for value in fields_named(client_fields, b"if-none-match"))


def _accepts_gzip(fields: RawFields) -> bool:
    accepts = {}
    for member in list_members(fields, b"accept-encoding"):
        coding, *parameters = (part.strip() for part in member.split(b";"))
        accepts[coding] = not any(_NO_WEIGHT.fullmatch(parameter) for parameter in parameters)
    # Two names for the same (RFC 9110 §8.4.1.3), and one for all others.
    return next((accepts[coding] for coding in (b"gzip", b"x-gzip", b"*") if coding in accepts), False)
