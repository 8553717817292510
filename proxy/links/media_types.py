"""Which bodies may hold links to rewrite, by their Content-Type.

Rules: JSON, XML, JavaScript and text, lines of JSON too; in requests also forms. Where a letter is no single byte
(UTF-16, UTF-32), no link is found anyway; the body then need not be held up or unpacked either.
"""

import re
from functools import lru_cache
from typing import Final

_REWRITABLE: Final = re.compile(
    rb"""[ \t]* (?:
        text/[^;, \t]+
      | application/(?: (?:x-)?json | xml | (?:x-)?(?:java|ecma)script )
      | application/(?: (?:x-)?(?: ndjson | jsonl | json-?lines ) | json-seq | x-json-stream )
      | [^/;, \t]+/[^;, \t]+\+(?: json | xml | json-seq )
    ) [ \t]* (?:;.*)?""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_WIDE_CHARSET: Final = re.compile(
    rb""";[ \t]*charset[ \t]*=[ \t]*["']?(?:utf-?16|utf-?32|(?:iso-10646-)?ucs-?[24])""", re.IGNORECASE
)
_FORM: Final = re.compile(
    rb"[ \t]*(?:application/x-www-form-urlencoded|multipart/form-data)[ \t]*(?:;.*)?", re.IGNORECASE | re.DOTALL
)
# Types of files that are packed for themselves, and those that say nothing.
_PACKED_FILE: Final = re.compile(
    rb"[ \t]*(?:application/(?:x-)?(?:gzip|gunzip|gzipped|tgz|gtar|tar|compressed|compressed-tar|(?:force-)?download)"
    rb"|(?:application|binary)/octet-stream)[ \t]*(?:;.*)?",
    re.IGNORECASE | re.DOTALL,
)
_PACKED_NAME: Final = re.compile(rb"""\.t?gz["']?[ \t]*(?:;|\Z)""", re.IGNORECASE)


@lru_cache(maxsize=64)
def is_rewritable(content_type: bytes, *, request: bool = False) -> bool:
    """Tell whether a body of this Content-Type may hold links to rewrite; in requests that may also be a form."""
    known = _REWRITABLE.fullmatch(content_type) or (request and _FORM.fullmatch(content_type))
    return bool(known) and _WIDE_CHARSET.search(content_type) is None


def is_packed_file(content_types: list[bytes], content_dispositions: list[bytes], target: bytes = b"") -> bool:
    """Tell whether what came packed, from there, is likely a packed file (`.csv.gz`), and not packed on its way."""
    names = (target.partition(b"?")[0], *content_dispositions)
    return all(map(_PACKED_FILE.fullmatch, content_types)) or any(map(_PACKED_NAME.search, names))
