"""The ways in which one secret text may come to be written in a log line.

A library quotes it for a URL, a dataclass prints its `repr`, a platform's error page repeats it as JSON, a header holds
it in Base64 with the client's id before it. Whoever looks for the secret must look for each of these.

Rules: only pure functions, which never raise, whatever the text; the ordinary secret, made of letters, digits and
`-._~`, looks the same in all but Base64 and costs next to nothing.
"""

import base64
import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable

# What no way of writing changes: the unreserved characters of RFC 3986 §2.3, which need no escape in JSON or Python.
_SAME_EVERYWHERE = re.compile(r"[A-Za-z0-9._~-]*")
_PERCENT_CODE = re.compile(r"%[0-9A-F]{2}")

# A line of a secret over several lines (a PEM key) is itself secret if it is at least this long.
_MIN_LINE: Final = 8
# Shorter pieces of Base64 say too little about the secret, and are found in too much else.
_MIN_BASE64: Final = 3

# Base64 turns 3 bytes into 4 characters. The secret may begin at any of the 3 places; per place: the first character
# that depends on the secret alone.
_BASE64_STARTS: Final = (0, 2, 3)

# With both kinds of quotes in it, a text's `repr` has the single ones around it and escaped in it.
_BOTH_QUOTES: Final = "\"'"
_BOTH_QUOTES_WRITTEN: Final = len("\"\\''")


def written_forms(text: str) -> set[str]:
    """Return `text` and every other way it may be written: escaped once or twice, quoted, read in a wrong encoding."""
    forms = {text}
    if _SAME_EVERYWHERE.fullmatch(text):
        return forms
    lines = text.splitlines()
    if len(lines) > 1:
        # A margin before each line (an exception group's) takes the secret apart.
        forms.update(line for line in lines if len(line) >= _MIN_LINE)
    for _ in range(2):
        forms.update([write(form) for form in forms for write in _WRITERS])
    return forms


def base64_forms(text: str) -> set[str]:
    """Return what shows up in Base64 of any text that has `text` in it, as in `Basic`.

    It depends on the bytes of `text` alone; up to four bits of its first and last byte are in the characters beside.
    """
    forms: set[str] = set()
    for raw in {_to_bytes(text), text.encode("latin-1", "backslashreplace")}:
        for shift, start in enumerate(_BASE64_STARTS):
            encoded = base64.b64encode(bytes(shift) + raw).decode()
            form = encoded[start : (shift + len(raw)) * 8 // 6]
            if len(form) >= _MIN_BASE64:
                forms |= {form, form.replace("+", "-").replace("/", "_"), quote(form, safe="")}
    return forms


def _to_bytes(text: str) -> bytes:
    # Lone surrogates: a byte that could not be read (PEP 383), or else a text no encoding has a place for.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _in_repr(text: str) -> str:
    return repr(text + _BOTH_QUOTES)[1:-_BOTH_QUOTES_WRITTEN]


def _in_ascii(text: str) -> str:
    return ascii(text + _BOTH_QUOTES)[1:-_BOTH_QUOTES_WRITTEN]


def _in_bytes_repr(text: str) -> str:
    return repr(_to_bytes(text + _BOTH_QUOTES))[2:-_BOTH_QUOTES_WRITTEN]


def _in_url(text: str) -> str:
    return quote(_to_bytes(text), safe="")


def _in_path(text: str) -> str:
    return quote(_to_bytes(text))


def _in_form(text: str) -> str:
    return quote_plus(_to_bytes(text))


def _with_bare_quotes(write: "Callable[[str], str]") -> "Callable[[str], str]":
    """A `repr` with double quotes around it leaves the single ones in it alone."""
    return lambda text: write(text).replace("\\'", "'")


def _with_small_codes(write: "Callable[[str], str]") -> "Callable[[str], str]":
    """The hex digits of a percent code may be small (RFC 3986 §2.1)."""
    return lambda text: _PERCENT_CODE.sub(lambda code: code[0].lower(), write(text))


_WRITERS: "Final[tuple[Callable[[str], str], ...]]" = (
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: text.replace("/", "\\/"),  # PHP's JSON
    _in_repr,
    _with_bare_quotes(_in_repr),
    _in_ascii,
    _with_bare_quotes(_in_ascii),
    _in_bytes_repr,
    _with_bare_quotes(_in_bytes_repr),
    _in_url,
    _in_path,
    _in_form,
    _with_small_codes(_in_url),
    _with_small_codes(_in_path),
    _with_small_codes(_in_form),
    # Its bytes, read in another encoding than they were written in; the way aiohttp reads header fields included.
    lambda text: _to_bytes(text).decode("utf-8", "backslashreplace"),
    lambda text: _to_bytes(text).decode("latin-1"),
    lambda text: _to_bytes(text).decode("ascii", "surrogateescape"),
    lambda text: text.encode("latin-1", "backslashreplace").decode("utf-8", "backslashreplace"),
)
