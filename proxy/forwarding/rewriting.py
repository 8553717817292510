"""What rewriting links changes in messages: which bodies, and which header fields. Decides; reads and writes nothing.

Rules: where links may be rewritten, the upstream is offered gzip alone (which can be unpacked) and asked for no ranges
(whose bytes would not be the client's). A client never gets a coding that it did not ask for. What says something of
the bytes of a body (length, digests, a strong ETag) goes on only where those bytes do.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Final, NamedTuple

from proxy.forwarding.headers import Fields, RawFields, fields_named, list_members
from proxy.forwarding.links import LINK_FIELDS, LinkMap, is_rewritable
from proxy.forwarding.route import Route
from proxy.forwarding.unpacking import can_unpack

_MAX_KEPT: Final = 1000  # maps; the base is the client's choice
_NOT_OFFERED: Final = frozenset((b"accept-encoding", b"range", b"if-range"))
_DIGESTS: Final = frozenset((b"content-md5", b"digest", b"content-digest", b"repr-digest"))  # RFC 1864, 3230, 9530
_WITHOUT_BODY: Final = frozenset((204, 304))
# A part of a body that was not asked for (RFC 9110 §15.3.7).
_PARTIAL_CONTENT: Final = 206
_GZIP: Final = re.compile(rb"(?:x-)?gzip|\*")
_NO_WEIGHT: Final = re.compile(rb"[ \t]*q=0(?:\.0*)?[ \t]*")


class ShopLinks:
    """The links of one shop: what the API's URLs and `base`, the client's URL for the shop, become.

    `api_urls` begins with the canonical URL. Raises `ValueError` for a base that can't stand in a text as it is.
    """

    def __init__(self, api_urls: Sequence[str], base_path: bytes, base: str) -> None:
        self._api_urls = api_urls
        self._base_path = base_path
        self._base = base
        self.to_client = LinkMap.for_responses(api_urls, base)

    @cached_property
    def to_platform(self) -> LinkMap:
        """What turns the client's links into the platform's."""
        return LinkMap.for_requests(self._api_urls, self._base)

    def in_field(self, name: bytes, value: bytes) -> bytes:
        """Return the value of one of the `LINK_FIELDS` of an answer with its links rewritten.

        One that is relative to the API's host (`/api/products`) would be relative to the proxy's.
        """
        base = self._base.encode() + b"/"
        if name == b"link":
            value = re.sub(rb"<%b(?!/)" % re.escape(self._base_path), lambda _: b"<" + base, value)
        elif value.startswith(self._base_path) and not value.startswith(b"//"):
            value = base + value[len(self._base_path) :]
        return self.to_client.rewrite(value)


class LinksOfShops:
    """Keeps what was worked out for a shop and a base, since that costs more than rewriting a body."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], ShopLinks] = OrderedDict()

    def find(self, route: Route, base: str) -> ShopLinks | None:
        """Return the links of a route's shop; `None` if they are not rewritten, or can't begin with such a base."""
        if not route.api_urls:
            return None
        place = (route.shop.key, base)
        links = self._kept.get(place)
        if links is not None:
            self._kept.move_to_end(place)
            return links
        try:
            links = ShopLinks(route.api_urls, route.base_path, base)
        except ValueError:
            return None
        if len(self._kept) >= _MAX_KEPT:
            self._kept.popitem(last=False)
        self._kept[place] = links
        return links


class Edit(NamedTuple):
    """What is done to the body of an answer."""

    unpack: bool = False
    rewrite: bool = False

    def __bool__(self) -> bool:
        return self.unpack or self.rewrite


def offer_gzip(fields: RawFields) -> Fields:
    """Return the fields of an upstream request whose answer may have to be rewritten."""
    kept = [
        # Weakened on the way to the client, an ETag would never match here (RFC 9110 §13.1.1).
        (name, value.replace(b'W/"', b'"') if known == b"if-match" else value)
        for name, value in fields
        if (known := name.lower()) not in _NOT_OFFERED
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
    coding = b", ".join(fields_named(fields, b"content-encoding"))
    if status in _WITHOUT_BODY or status == _PARTIAL_CONTENT or not can_unpack(coding):
        return Edit()
    types = fields_named(fields, b"content-type")
    rewrite = len(types) == 1 and is_rewritable(types[0])
    packed = coding.strip().lower() not in (b"", b"identity")
    return Edit(packed and (rewrite or not _accepts_gzip(client_fields)), rewrite)


def edited_fields(fields: RawFields, links: ShopLinks, edit: Edit, *, changed: bool) -> Fields:
    """Return the fields of an answer for the client; `changed` if its links were rewritten, or may yet be."""
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


def _accepts_gzip(fields: RawFields) -> bool:
    for member in list_members(fields, b"accept-encoding"):
        coding, _, parameters = member.partition(b";")
        if _GZIP.fullmatch(coding.strip()):
            return _NO_WEIGHT.fullmatch(parameters) is None
    return False
