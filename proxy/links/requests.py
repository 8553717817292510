"""What rewriting links changes in requests: the header fields, and which bodies.

Rules: the platform is offered gzip alone (which can be unpacked) and asked for no ranges (whose bytes would not be the
client's). A tag that may have been weakened on the way to the client goes back as one that the platform knows.
"""

from typing import Final

from proxy.links.answers import Values
from proxy.links.api_links import LinkMap
from proxy.links.entity_tags import in_both_forms, strong_alone
from proxy.links.media_types import is_rewritable
from proxy.links.multipart import FormLinks, boundary_of, is_multipart
from proxy.links.shop_links import ShopLinks
from proxy.links.unpacking import is_packed

_NOT_OFFERED: Final = frozenset((b"accept-encoding", b"range", b"if-range"))
_TAGS: Final = frozenset((b"if-match", b"if-none-match"))
# What `edited_request_field` is to be asked about: with `_` for `-` these are one where fields become CGI variables.
REQUEST_FIELDS: Final = frozenset(
    spelled for name in _NOT_OFFERED | _TAGS for spelled in (name, name.replace(b"-", b"_"))
)
ADDED_REQUEST_FIELDS: Final = ((b"Accept-Encoding", b"gzip"),)


def edited_request_field(name: bytes, value: bytes) -> bytes | None:
    """Return the value of one of the `REQUEST_FIELDS` for the platform; `None` if the field does not go on.

    `name` is in lower case.
    """
    match name.replace(b"_", b"-"):
        case b"if-match":
            return strong_alone(value)
        case b"if-none-match":
            return in_both_forms(value)
        case _:
            return None


def links_in_request(asked: Values, links: ShopLinks) -> LinkMap | FormLinks | None:
    """Return what rewrites the body of a request, whole or as it streams; `None` if it passes as it is."""
    types = asked(b"content-type")
    if len(types) != 1 or is_packed(b", ".join(asked(b"content-encoding"))):
        return None
    if not is_rewritable(types[0], request=True):
        return None
    if not is_multipart(types[0]):
        return links.to_platform
    boundary = boundary_of(types[0])
    return None if boundary is None else FormLinks(links.to_platform, boundary)
