"""What rewriting links changes in answers: which bodies, and which header fields.

Rules: a client that does not take the body's coding gets none. What says something of the bytes of a body (its length,
digests, a strong ETag) goes on only where those bytes do. An answer that is another one for a client that accepts other
codings says so in Vary (RFC 9110 §12.5.5), and one whose links were rewritten does too, since both come about alike.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from proxy.links.entity_tags import tags_of, weakened
from proxy.links.media_types import is_packed_file, is_rewritable
from proxy.links.shop_links import LINK_FIELDS, ShopLinks
from proxy.links.unpacking import can_unpack, is_packed

# The values of the header fields of that name, in lower case; of an answer, or of the request for it.
Values = Callable[[bytes], list[bytes]]

DIGESTS: Final = frozenset((b"content-md5", b"digest", b"content-digest", b"repr-digest"))  # RFC 1864, 3230, 9530
# What `edited_field` is to be asked about.
ANSWER_FIELDS: Final = LINK_FIELDS | DIGESTS | {b"etag", b"accept-ranges", b"content-encoding", b"vary"}

_NO_CONTENT, _PARTIAL_CONTENT, _NOT_MODIFIED = 204, 206, 304
_NO_WEIGHT: Final = re.compile(rb"q=0(?:\.0*)?")
_VARIES: Final = re.compile(rb"(?:\A|,)[ \t]*(?:\*|accept-encoding)[ \t]*(?:,|\Z)", re.IGNORECASE)


class Edit(NamedTuple):
    """What is done to the body of an answer; `packed` if it comes with a coding that can be unpacked."""

    unpack: bool
    rewrite: bool
    packed: bool

    @property
    def passes(self) -> bool:
        """Whether the client gets the body byte for byte."""
        return not (self.unpack or self.rewrite)


UNTOUCHED: Final = Edit(unpack=False, rewrite=False, packed=False)
_REWRITTEN: Final = Edit(unpack=False, rewrite=True, packed=False)


def edit_of(status: int, answer: Values, asked: Values, target: bytes = b"") -> Edit:
    """Return what is to be done to the body of an answer, by its head, and by head and target of the request for it."""
    if status == _NOT_MODIFIED:
        # What it says must be so of the answer that the client has stored (RFC 9111 §4.3.4), which was plain.
        return Edit(unpack=True, rewrite=_has_weakened(answer, asked), packed=False)
    codings, types = answer(b"content-encoding"), answer(b"content-type")
    coding = b", ".join(codings)
    if status in (_NO_CONTENT, _PARTIAL_CONTENT) or (codings and not can_unpack(coding)):
        return UNTOUCHED
    rewrite = len(types) == 1 and is_rewritable(types[0])
    if not codings or not is_packed(coding):
        return _REWRITTEN if rewrite else UNTOUCHED
    accepted = asked(b"accept-encoding")
    # A client that names none may be sent any, but old ones can't unpack what was packed for this proxy alone.
    passes = _accepts(accepted, coding) if accepted else is_packed_file(types, answer(b"content-disposition"), target)
    return Edit(unpack=rewrite or not passes, rewrite=rewrite, packed=True)


def edited_field(name: bytes, value: bytes, links: ShopLinks, edit: Edit, *, changed: bool) -> bytes | None:
    """Return the value of one of the `ANSWER_FIELDS` for the client; `None` if the field does not go on.

    `name` is in lower case. `changed` tells whether links in the body were rewritten, or may have been or still be.
    """
    if name in LINK_FIELDS:
        return links.in_field(name, value)
    if name in DIGESTS:
        return None if edit.unpack or changed else value
    match name:
        case b"etag":
            return weakened(value) if changed or (edit.unpack and edit.packed) else value
        case b"vary":
            if not _varies(edit, changed=changed) or _VARIES.search(value):
                return value
            return b", ".join(filter(None, (value, b"Accept-Encoding")))
        case b"content-encoding":
            return None if edit.unpack else value
        case _:  # accept-ranges: they are not asked for
            return None


def added_fields(answer: Values, edit: Edit, *, changed: bool) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields that an answer has besides its own, for the client."""
    return ((b"Vary", b"Accept-Encoding"),) if _varies(edit, changed=changed) and not answer(b"vary") else ()


def _varies(edit: Edit, *, changed: bool) -> bool:
    return edit.packed or changed


def _has_weakened(answer: Values, asked: Values) -> bool:
    etags = answer(b"etag")
    return bool(etags) and any(weakened(etags[0]) in tags_of(value) for value in asked(b"if-none-match"))


def _accepts(accepted: list[bytes], coding: bytes) -> bool:
    """Tell whether a client with these values of Accept-Encoding takes what has this coding (RFC 9110 §12.5.3)."""
    accepts = {}
    for member in b",".join(accepted).lower().split(b","):
        name, *parameters = (part.strip() for part in member.split(b";"))
        accepts[name] = not any(map(_NO_WEIGHT.fullmatch, parameters))
    # Two names for the same (RFC 9110 §8.4.1.3), and one for all others.
    names = (b"deflate", b"*") if coding.strip().lower() == b"deflate" else (b"gzip", b"x-gzip", b"*")
    return next((accepts[name] for name in names if name in accepts), False)
