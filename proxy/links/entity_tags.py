"""Entity tags (RFC 9110 §8.8.3): weak for what was unpacked or rewritten, since its bytes are not the platform's.

Rules: a tag is read to its end before anything is made of it, so that `W/` within one means nothing. Tags without
quotes, which some servers send, are tags too. What is no list of tags passes as it is.
"""

import re
from typing import Final

_WEAK: Final = b"W/"
_TAG: Final = re.compile(rb"""(?>(?:W/)?(?:"[^"]*"|[^\s",]+))""")
_TAGS: Final = re.compile(rb"[\s,]*(?:%b\s*(?:,[\s,]*|\Z))*" % _TAG.pattern)


def weakened(etag: bytes) -> bytes:
    """Return the value of an answer's ETag as a weak one."""
    return etag if etag.startswith(_WEAK) or _TAG.fullmatch(etag) is None else _WEAK + etag


def tags_of(value: bytes) -> list[bytes]:
    """Return the tags that a value of If-Match or If-None-Match lists."""
    return _TAG.findall(value) if _TAGS.fullmatch(value) else []


def strong_alone(value: bytes) -> bytes:
    """Return a value of If-Match with all its tags strong: weak ones never match there (RFC 9110 §13.1.1)."""
    return _TAG.sub(lambda tag: tag[0].removeprefix(_WEAK), value) if _TAGS.fullmatch(value) else value


def in_both_forms(value: bytes) -> bytes:
    """Return a value of If-None-Match with each weak tag followed by the strong one that the platform may know it by.

    Either matches the other there (RFC 9110 §13.1.2), but some servers compare letter by letter.
    """
    tags = tags_of(value)

    def both(tag: bytes) -> bytes:
        strong = tag.removeprefix(_WEAK)
        return tag if strong in tags else tag + b", " + strong

    return _TAG.sub(lambda tag: both(tag[0]), value) if tags else value
