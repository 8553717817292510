"""How a request may ask for another method than its own, as frameworks know it. Pure.

Rules: what might be taken so is found, in whatever spelling; that some of it is harmless does not matter, since only
clients are looked at that are limited to some methods. PHP makes underscores of dots, brackets and spaces in the names
of form fields, and takes no notice of spaces before them and of what follows a NUL; ASP.NET reads the names of header
fields in forms; so all that counts here too. A type that is not clearly one may be taken for any.
"""

import re
from typing import Final

# What it is asked for with in header fields, in lower case; their twins with underscores count as well. The last ones
# name another path (IIS, Symfony), which may be that of a batch.
OVERRIDE_FIELDS: Final = (
    *(b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-method", b"x-override-method"),
    *(b"http-method-override", b"method-override", b"x-original-method", b"x-rewrite-method", b"x-requested-method"),
    *(b"x-original-url", b"x-original-uri", b"x-rewrite-url", b"x-rewrite-uri"),
)

_KEPT: Final = 1 << 14  # bytes that a name may be cut in; no server takes the head of a part that is longer


def _spelled(text: bytes, code: bytes) -> bytes:
    """Return what matches some letters in any case, each as it is, behind a backslash, or by its code (`%6D`)."""
    return b"".join(rb"\\?(?:%c|%b%02x|%b%02x)" % (letter, code, letter, code, letter ^ 0x20) for letter in text)


_UNDERSCORE: Final = rb"\\?(?:[_.\[ +]|%(?:5f|2e|5b|20))"
_DASH: Final = rb"\\?(?:[-_.]|%(?:2d|5f|2e))"
_METHOD: Final = rb"(?:%b|%b)" % (
    _UNDERSCORE + _spelled(b"method", b"%"),
    _DASH.join(_spelled(word, b"%") for word in (b"x", b"http", b"method"))
    + b"(?:%b%b)?" % (_DASH, _spelled(b"override", b"%")),
)
_IN_FORM: Final = re.compile(
    rb"(?:\A|[&;?])(?:[ +]|%20)*" + _METHOD + rb"(?=[=&;\[]|%5b|%00)",
    re.IGNORECASE,
)
_IN_PARTS: Final = re.compile(
    rb"(?:\A|\n)content-disposition[ \t]*:(?:[^\r\n]|\r?\n[ \t])*?(?<=[;\s])name\*?[ \t]*=[ \t]*"
    rb"[\"']?(?:[\w-]*'[\w-]*')?[\"']?(?:=\?|"
    + _METHOD
    + rb"(?=[\"';\s\[\0]|%5b|%00))",  # what `=?…?=` (RFC 2047) stands for is not looked into
    re.IGNORECASE,
)
_IN_JSON: Final = re.compile(
    rb'"(?:_|\\u005f)' + _spelled(b"method", rb"\\u00") + rb'"[ \t\r\n]*:',
    re.IGNORECASE,
)
_NO_FORM: Final = re.compile(rb"(?:image|audio|video|font)/|.*xml")
# One type, which no server takes for another: PHP reads it up to a blank or comma, others the last of a list.
_ONE_TYPE: Final = re.compile(rb"[ \t]*([!-+.-:<-~-]*)[ \t]*(?:;[^,]*)?")


def names_method(target: bytes) -> bool:
    """Tell whether a request target, raw, has a parameter that names a method, in its query or behind a `;`."""
    return _IN_FORM.search(target + b"&") is not None


class OverrideSearch:
    """Searches a body for a field that names a method, as it comes; `content_types` are the values of that field."""

    def __init__(self, content_types: list[bytes]) -> None:
        found = _ONE_TYPE.fullmatch(content_types[0] if content_types else b"")
        if found is None or len(content_types) > 1:
            self._patterns = [_IN_FORM, _IN_PARTS, _IN_JSON]
        elif (kind := found[1].lower()).startswith(b"multipart/"):
            self._patterns = [_IN_PARTS]
        elif b"json" in kind:
            self._patterns = [_IN_JSON]
        else:
            self._patterns = [] if _NO_FORM.match(kind) else [_IN_FORM]
        self._rest = b""

    @property
    def needed(self) -> bool:
        """Whether a body of this type may have such a field."""
        return bool(self._patterns)

    def found(self, piece: bytes) -> bool:
        """Tell whether the next piece of the body, with what came before, names a method; an `&` is to end it."""
        text = self._rest + piece
        self._rest = text[-_KEPT:]
        return any(pattern.search(text) for pattern in self._patterns) or self._found_in_wide(text)

    def _found_in_wide(self, text: bytes) -> bool:
        """Tell whether that is so of JSON in UTF-16 or UTF-32, which readers tell by its zeros (RFC 4627 §3)."""
        return _IN_JSON in self._patterns and b"\0" in text and _IN_JSON.search(text.replace(b"\0", b"")) is not None
