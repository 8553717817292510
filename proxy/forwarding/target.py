"""From a raw request target to a shop and the untouched rest.

Rules: everything is decided on the raw bytes, before any decoding. The first path segment is a shop name by one strict
rule (`is_shop_name`); what follows it goes upstream byte for byte, so nothing here decodes, normalises or re-quotes.
What could climb out of the API's base path is refused instead: `.` and `..` segments, also encoded, also where some
servers see a segment's end (an encoded slash, a backslash, a `;` parameter, an encoded end of the path).
"""

import re
from typing import Final, NamedTuple

from proxy.errors import BadRequest, BadTarget, UnknownShop
from proxy.platforms.platform import is_shop_name
from proxy.wire.unreadable import MUST_BE_A_PATH, PERCENT_ENCODE

# RFC 3986 allows still less, but old clients send `[`, `|` or `"` as they are, and platforms take them.
_NOT_VISIBLE_ASCII: Final = re.compile(rb"[^\x21-\x7e]")

_DOT_SEGMENT: Final = re.compile(
    rb"""(?: ^ | / | \\ | %2f | %5c )
         (?: \. | %2e ){1,2}
         (?: $ | / | \\ | %2f | %5c | ; | %3b | %00 | %20 | %23 | %3f )""",
    re.IGNORECASE | re.VERBOSE,
)

# What needs no closer look, as nearly all: a shop's name, a path whose segments begin with no dot, without backslashes
# and escapes, perhaps a query.
_PLAIN: Final = re.compile(
    rb"/(?P<shop>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)"
    rb"(?P<rest>(?:/(?![.])[!-\"$&-.0->@-\[\]-~]*+)*+(?:\?[!-\"$-~]*)?)"
)

_MAX_SEGMENT: Final = 64  # bytes; it is kept for a while, and clients choose it


class Target(NamedTuple):
    """A request target, taken apart: the shop's key, and the rest of it as it came (`/products?full=1`, or empty).

    `prefix` is the path before it. `hosted` if the request's host named the shop, not its path.
    """

    shop: str
    rest: bytes
    prefix: str
    hosted: bool = False

    @property
    def path(self) -> bytes:
        """The rest without its query: what a log line may show."""
        return self.rest.partition(b"?")[0]


# What `Target(…)` does, without its own Python code in between.
_target: Final = tuple.__new__


def parse_target(raw: bytes) -> Target:
    """Take the raw request target apart.

    Raises `BadTarget`, or `BadRequest` for bytes that have no place in a request target (RFC 9112 §3.2).
    """
    plain = _PLAIN.fullmatch(raw)
    if plain is not None:
        shop = plain[1].decode()
        return _target(Target, (shop, plain[2], f"/{shop}", False))
    path = _checked_path(raw)
    name = path[1:].partition(b"/")[0]
    if not is_shop_name(name):
        raise BadTarget(
            "The path must begin with /<shop>/, and a shop name has 1 to 63 of the characters a-z, 0-9 and hyphen,"
            " and no hyphen at either end."
        )
    shop = name.decode()
    return Target(shop, raw[1 + len(name) :], f"/{shop}")


def parse_hosted_target(raw: bytes, shop: str, base_path: bytes) -> Target:
    """Take the raw target of a request apart whose host names the shop: `/products`, or `/api/products`.

    `base_path` is what the API's own paths begin with (ends in `/`). Raises as `parse_target` does.
    """
    path, prefix = _checked_path(raw), base_path[:-1]
    if path == prefix or path.startswith(base_path):
        return Target(shop, raw[len(prefix) :], prefix.decode(), hosted=True)
    return Target(shop, raw, "", hosted=True)


def no_such_shop(target: Target) -> UnknownShop:
    """Return the error for a shop that is not there, or that the client may not see."""
    if target.hosted:
        return UnknownShop(f"There is no shop '{target.shop}' here.")
    example = "" if target.path else f", as in /<shop>/{target.shop}"
    return UnknownShop(
        f"There is no shop '{target.shop}' here. The first part of the path must be a shop's name{example}."
    )


def _checked_path(raw: bytes) -> bytes:
    if _NOT_VISIBLE_ASCII.search(raw):
        raise BadRequest(PERCENT_ENCODE)
    if b"#" in raw:
        raise BadTarget("A request target can't contain '#': percent-encode it as %23.")
    if not raw.startswith(b"/"):
        raise BadTarget(MUST_BE_A_PATH)
    path = raw.partition(b"?")[0]
    if (b"." in path or b"%" in path) and _DOT_SEGMENT.search(path):
        raise BadTarget("The path must not contain '.' or '..' segments, encoded or not.")
    return path


def upstream_target(base_path: bytes, rest: bytes) -> bytes:
    """Return the request target for the upstream: the API's base path (ends in `/`), and the rest byte for byte."""
    if rest.startswith(b"/"):
        return base_path[:-1] + rest
    return base_path + rest  # the shop alone, perhaps with a query: the API's root


def call_segment(rest: bytes, api_prefix: str) -> bytes:
    """Return the first segment of the path after the prefix that all of a platform's calls share, cut if it is long."""
    path = rest.partition(b"?")[0].lstrip(b"/")
    prefix = api_prefix.encode() + b"/"
    if api_prefix and path.startswith(prefix):
        path = path[len(prefix) :].lstrip(b"/")
    return path.partition(b"/")[0][:_MAX_SEGMENT]
