"""The ways in which one secret text may come to be written in a log line.

A library quotes it for a URL, a dataclass prints its `repr`, a platform's error page repeats it as JSON, a header holds
it in Base64 with the client's id before it. Escapes are not made for each secret, but undone in the text that is
searched, in one pass and whatever their depth: `%252F`, `\\/`, `\\\\\\\\u002f` and `&#47;` all read `/`. A secret is
known by what it reads itself.

Rules: only pure functions, which never raise, whatever the text; a text without escapes reads as it is written.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

# What no way of writing changes: the unreserved characters of RFC 3986 §2.3, which need no escape in JSON or Python.
_SAME_EVERYWHERE = re.compile(r"[A-Za-z0-9._~-]*")
_ALPHANUMERIC: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

_HEX: Final = "[0-9A-Fa-f]"
# However many there are: each level of escaping doubles them. Those that escape nothing are not read at all.
_BACKSLASHES: Final = r"(?:\\|%(?:25)*5[Cc]|&#(?:92|[Xx]5[Cc]);)+"
_HIGH, _LOW = f"[dD][89ABab]{_HEX}{{2}}", f"[dD][C-Fc-f]{_HEX}{{2}}"
_ESCAPE = re.compile(
    rf"{_BACKSLASHES}(?:u({_HIGH}){_BACKSLASHES}u({_LOW})"
    rf"|(?:x({_HEX}{{2}})|u({_HEX}{{4}})|U({_HEX}{{8}}))|([bfnrt]))?"
    rf"|%(?:25)*({_HEX}{{2}})|&(?:#(\d{{1,7}})|#[Xx]({_HEX}{{1,6}})|(amp|apos|gt|lt|quot));|\+"
)
# Its groups, by number: the second half of a surrogate pair (UTF-16), a byte, a decimal number; the rest but for names
# are the hexadecimal numbers of characters.
_PAIR, _BYTE, _DECIMAL, _NAMED = 2, 7, 8, {6, 10}
_NAMES: Final = {
    **{"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"},
    **{"amp": "&", "apos": "'", "gt": ">", "lt": "<", "quot": '"'},
}
# An escape that what follows may complete.
_BEGUN_ESCAPE = re.compile(rf"(?:%(?:25)*{_HEX}?|(?<!\\)\\+(?:x{_HEX}?|u{_HEX}{{0,3}}|U{_HEX}{{0,7}})?)\Z")
# An escape that begins before a secret takes at most so many of its first characters, all of them alphanumeric.
_MAX_TAKEN: Final = 9

# Shorter pieces of Base64 say too little about the secret, and are found in too much else.
_MIN_BASE64: Final = 3
# Base64 turns 3 bytes into 4 characters. The secret may begin at any of the 3 places; per place: the first character
# that depends on the secret alone.
_BASE64_STARTS: Final = (0, 2, 3)


class Reading(NamedTuple):
    """What a secret reads: its first letters and digits, which are written so in every form, and the rest."""

    first: str
    rest: str

    @property
    def sure_end(self) -> str:
        """As much of its end as no escape before it can take."""
        return self.first[_MAX_TAKEN:] + self.rest


def readings(secret: str) -> set[Reading]:
    """Return what a secret reads, whatever comes before and after it; also where its bytes were taken for Latin-1.

    Nothing for one that is written in one way only, as tokens mostly are.
    """
    if _SAME_EVERYWHERE.fullmatch(secret):
        return set()
    whole = _BEGUN_ESCAPE.sub("", secret) or secret
    rest = whole.lstrip(_ALPHANUMERIC)
    first = whole[: len(whole) - len(rest)]
    return {Reading(first, read(form)) for form in (rest, _as_latin_1(rest))}


def read(text: str) -> str:
    """Return what `text` reads once its escapes are undone: UTF-8, each byte as one character, with a blank for `+`."""
    return _ESCAPE.sub(_symbols, _as_latin_1(text))


def places(text: str, candidates: Callable[[str], Iterable[Reading]]) -> Iterator[tuple[int, int]]:
    """Yield where in `text` secrets are written, also if the places overlap.

    `candidates` returns, for what `text` reads, the secrets that may be in it.
    """
    reading = read(text)
    secrets = candidates(reading)
    starts, ends = _places_of_symbols(text) if secrets else ([], [])
    for first, rest in secrets:
        found = reading.find(rest)
        while found >= 0:
            end = ends[found + len(rest) - 1]
            if reading.endswith(first, 0, found):
                yield starts[found - len(first)], end
            elif text.endswith(first, 0, starts[found]):  # an escape before it took some of it
                yield starts[found] - len(first), end
            found = reading.find(rest, found + 1)


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
                forms |= {form, form.replace("+", "-").replace("/", "_")}
    return forms


def _places_of_symbols(text: str) -> tuple[list[int], list[int]]:
    """Return where in `text` each character of what it reads begins, and where it ends.

    Backslashes that are not read belong to what comes next.
    """
    places = [place for place, char in enumerate(text) for _ in _as_latin_1(char)]
    starts: list[int] = []
    ends: list[int] = []
    begin = done = 0
    for found in _ESCAPE.finditer(_as_latin_1(text)):
        start, end = found.span()
        if done < start:
            starts += (begin, *range(done + 1, start))
            ends += range(done, start)
            begin = start
        if length := len(_symbols(found)):
            starts += [begin] * length
            ends += [end - 1] * length
            begin = end
        done = end
    starts += (begin, *range(done + 1, len(places)))
    ends += range(done, len(places))
    return [places[start] for start in starts if start < len(places)], [places[last] + 1 for last in ends]


def _symbols(found: re.Match[str]) -> str:
    """Return what one escape reads."""
    kind = found.lastindex
    if kind is None:  # a plus; backslashes that escape nothing
        return " " if found[0] == "+" else ""
    if kind in _NAMED:
        return _NAMES[found[kind]]
    number = int(found[kind], 10 if kind == _DECIMAL else 16)
    if kind == _PAIR:
        number = 0x10000 + ((int(found[1], 16) & 0x3FF) << 10) + (number & 0x3FF)
    if number < 0x80 or kind == _BYTE:
        return " " if number == 0x2B else chr(number)
    return _as_latin_1(chr(number)) if number <= 0x10FFFF else ""


def _as_latin_1(text: str) -> str:
    """Return the bytes of `text` in UTF-8, each as one character."""
    return text if text.isascii() else _to_bytes(text).decode("latin-1")


def _to_bytes(text: str) -> bytes:
    # Lone surrogates: a byte that could not be read (PEP 383), or else a text no encoding has a place for.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        if len(text) == 1:
            return text.encode("utf-8", "surrogatepass")
        return b"".join(map(_to_bytes, text))
