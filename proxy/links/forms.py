r"""How a URL may be written in a text, and what may stand around it.

JSON may write a slash as `\/` or `\u002F`, XML as `&#47;` or `&sol;`, a form body as `%2F`, and each a colon in a like
way; a host name has no way but one. A text is searched in two `Form`s: as it is, and as a form body escapes it.

Rules: a URL prefix holds only characters that no form needs to escape, but for those that `Form` knows. In one link all
colons are written in the same way, and all slashes. Scheme, host and escapes match in either case, a path exactly. A
prefix is found only where it begins and ends as a URL does: `xhttps://…`, `…/apifoo` and `….evil.com` are other URLs.
Without a scheme (`//host/…`, RFC 3986 §4.2) it is found only behind what opens a value: `x://host` and `a//host` are
others.
"""

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Final
from urllib.parse import quote

from proxy.platforms.url_prefix import Prefix

# Glue is what can stand in a scheme (RFC 3986 §3.1): after it, `http` is the end of another word.
_GLUE: Final = b"[a-z0-9+.-]"
_GLUE_HEX: Final = b"(?:2[bde]|3[0-9]|4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])"  # the same as hexadecimal numbers
# What can't go on a host or a path segment. Some of these could by the letter of RFC 3986 §3.3 (`;`), but in texts they
# end a URL.
ENDS: Final = b"\t\n\v\f\r /?#\"'`<>&])},;\\|"

_END_HEX: Final = b"|".join(b"%02x" % byte for byte in ENDS)
_END: Final = b"[%s]" % re.escape(ENDS)
# In a form body a space is a plus sign, and the rest may be escaped as the URL itself is.
_PERCENT_END: Final = b"[%s]|(?i:%%(?:%s))" % (re.escape(ENDS + b"+"), _END_HEX)
_CUT_ESCAPE: Final = re.compile(rb"%%[%b]?\Z" % bytes({code[0] for code in _END_HEX.split(b"|")}))

# These stand behind `http`, so that the search for it is a quick one. An escape may end in a letter or digit, which
# then is no glue: `\n`, `\u0022` and `\x22` in JSON and JavaScript, `%22` in a form body, `%5Cn` where that holds JSON.
_BEGIN: Final = (
    rb"(?i:(?<!%bhttp)|(?<=\\[nrt]http)|(?<=\\u[0-9a-f]{4}http)(?<!\\u00%bhttp)|(?<=\\x[0-9a-f]{2}http)(?<!\\x%bhttp))"
    % (_GLUE, _GLUE_HEX, _GLUE_HEX)
)
# A plus sign is a space there.
_PERCENT_BEGIN: Final = rb"(?i:(?<![a-z0-9.-]http)|(?<=%%5c[nrt]http)|(?<=%%[0-9a-f]{2}http)(?<!%%%bhttp))" % _GLUE_HEX
LOOK_BACK: Final = len(rb"\u0022")  # bytes before a URL that tell whether it is one

# What may stand before a link without a scheme, as it is and as escapes have it. A byte order mark stands at the start.
OPENERS: Final = b"\t\n\v\f\r \"'`(<=>[,"
_OPENER_HEX: Final = b"|".join(b"%02x" % byte for byte in OPENERS)
_OPENED: Final = re.compile(
    rb"""(?: [%b] | \xef\xbb\xbf | \\[nrt] | \\(?:u00|x)(?:%b)
        | &(?: quot | apos | [lg]t | \#0?3[49] | \#6[02] | \#x2[27] | \#x3[ce] ); )\Z"""
    % (re.escape(OPENERS), _OPENER_HEX),
    re.IGNORECASE | re.VERBOSE,
)
_PERCENT_OPENED: Final = re.compile(
    rb"(?: [%b+] | %%(?:%b) | %%5c[nrt] )\Z" % (re.escape(OPENERS), _OPENER_HEX), re.IGNORECASE | re.VERBOSE
)


def _spellings(character: str, name: str) -> tuple[str, ...]:
    r"""Return the ways to write a colon or a slash: plain, JSON's, JavaScript's, and XML's and HTML's of that name."""
    code = ord(character)
    numbers = [f"&#{code:0{width}};" for width in (2, 3, 4)] + [f"&#x{code:0{width}X};" for width in (2, 3, 4)]
    return (character, f"\\u{code:04X}", f"\\x{code:02X}", *numbers, f"&{name};")


_COLONS: Final = _spellings(":", "colon")
_SLASHES: Final = (*_spellings("/", "sol"), r"\/")
_ESCAPE: Final = re.compile(b"%[0-9a-fA-F]{2}")


def _any_of(ways: Iterable[str]) -> bytes:
    return b"(?i:%b)" % b"|".join(re.escape(way.encode()) for way in ways)


class _Cuts:
    """The beginnings of escapes, as a text may end in one when the rest is still to come."""

    def __init__(self, escapes: Iterable[str]) -> None:
        self._cuts = frozenset(escape[:size].lower().encode() for escape in escapes for size in range(1, len(escape)))
        self._longest = max(map(len, self._cuts))
        self._first_byte = re.compile(b"[%b]" % re.escape(bytes({cut[0] for cut in self._cuts})))

    def __contains__(self, text: bytes) -> bool:
        return text.lower() in self._cuts

    def at_end_of(self, text: bytes) -> bytes:
        """Return the longest end of the text that is one; nothing, if none is."""
        begins = self._first_byte.finditer(text, max(len(text) - self._longest, 0))
        return next((end for begin in begins if (end := text[begin.start() :]) in self), b"")


class Form:
    """A way to write URLs; `percent` if it is the one of form bodies, where what stands around a URL is escaped too.

    `colons` and `slashes` are how these may be written, the most usual way first. `begin` stands behind `http` in a
    pattern, `end` behind a prefix; `opened` finds the end of what a link without a scheme may follow.
    """

    def __init__(
        self,
        colons: tuple[str, ...],
        slashes: tuple[str, ...],
        *,
        begin: bytes,
        end: bytes,
        opened: re.Pattern[bytes],
        percent: bool = False,
    ) -> None:
        self._ways = {":": colons, "/": slashes} | ({"[": ("%5B",), "]": ("%5D",)} if percent else {})
        self._begin = begin
        # What begins an escape ends a URL, but not if it is a colon: then there comes a port, or a password.
        self._end = b"(?!%b)(?:%b)" % (_any_of(way for way in colons if way != ":"), end)
        self.percent = percent
        self.opened = opened

    def write(self, text: str, *, like: bytes) -> bytes:
        """Return a URL, or part of one, with its colons and slashes written as the first ones of a link are."""
        written = text.encode()
        if self.percent:
            written = written.replace(b"[", b"%5B").replace(b"]", b"%5D")
        # No slash is written with a colon.
        return written.replace(b"/", self._first("/", like)).replace(b":", self._first(":", like))

    def longest(self, text: str) -> int:
        """Return the number of bytes that a URL can take, together with what tells that it has ended."""
        colon, slash = (max(self._ways[character], key=len) for character in ":/")
        return len(self.write(text, like=(colon + slash).encode())) + len(colon) - 1

    def with_scheme(self, prefixes: Iterable[Prefix]) -> re.Pattern[bytes]:
        """Return what finds any of the prefixes, of two on a host the one with the longest path."""
        same_colon = b"(?i:(?P=colon))"
        return re.compile(
            b"[hH][tT][tT][pP]%b(?P<s>[sS])?%b(?P<colon>%b)(?P<slash>%b)(?i:(?P=slash))(?:%b)(?=%b)"
            % (
                self._begin,
                b"(?!:/)" if self.percent else b"",  # what is plain, the other form finds
                _any_of(self._ways[":"]),
                _any_of(self._ways["/"]),
                self._hosts(prefixes, same_colon, own_port=b"(?:%b(?(s)443|80))?" % same_colon),
                self._end,
            )
        )

    def without_scheme(self, prefixes: Iterable[Prefix]) -> re.Pattern[bytes]:
        """Return what finds the prefixes from their slashes on; whether `opened` fits before that, has to be asked."""
        slashes = [way for way in self._ways["/"] if way != "/" or not self.percent]
        hosts = self._hosts(prefixes, _any_of(self._ways[":"]), own_port=b"")
        return re.compile(b"(?P<slash>%b)(?i:(?P=slash))(?:%b)(?=%b)" % (_any_of(slashes), hosts, self._end))

    def may_be_slashes(self, begun: bytes) -> bool:
        """Tell whether this may be the beginning of a link without a scheme, or of its first slash."""
        first = self._patterns["/"].match(begun)
        rest = begun if first is None else begun[first.end() :]
        return not rest or rest in self.cuts or (first is not None and first.re.match(rest) is not None)

    def plain(self, begun: bytes) -> str:
        """Return what has come of a URL without escapes and in lower case."""
        for character in self._ways:
            begun = self._patterns[character].sub(character.encode(), begun)
        return begun.lower().decode("latin-1")

    def continued(self, rest: str, begun: bytes, cut: bytes) -> bytes | None:
        """Return how the `rest` of a URL that has `begun` so is written; `None` if it can't begin with such a cut."""
        if not cut:
            return self.write(rest, like=begun)
        for way in self._ways.get(rest[:1], ()):
            written = way.encode()
            first = self._first(rest[0], begun + written)
            if written.lower() == first.lower() and written.lower().startswith(cut.lower()):
                return written + self.write(rest[1:], like=begun + written)
        return None

    def cut_ends(self, text: bytes) -> list[int]:
        """Return how many bytes at the end of a text may only tell with others whether a URL ends before them."""
        escape = _CUT_ESCAPE.search(text, max(len(text) - 2, 0)) if self.percent else None
        return [len(cut) for cut in (self.colon_cuts.at_end_of(text), escape[0] if escape else b"") if cut]

    def _first(self, character: str, like: bytes) -> bytes:
        """Return how a colon or slash is written first in a link; as is usual, if there is none in it."""
        found = self._patterns[character].search(like)
        if found is None:
            return self._ways[character][0].encode()
        # As most encoders write it, and as RFC 3986 §2.1 recommends.
        return _ESCAPE.sub(lambda escape: escape[0].upper(), found[0]) if self.percent else found[0]

    def _hosts(self, prefixes: Iterable[Prefix], colon: bytes, *, own_port: bytes) -> bytes:
        def pattern(prefix: Prefix) -> bytes:
            host = self.write(prefix.host, like=b":/")
            port = colon + prefix.port.encode() if prefix.port else own_port
            path = re.escape(prefix.path.encode()).replace(b"/", b"(?i:(?P=slash))")
            return b"(?i:%b)" % re.escape(host).replace(b":", colon) + port + path

        return b"|".join(map(pattern, sorted(prefixes, key=lambda prefix: len(prefix.path), reverse=True)))

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[bytes]]:
        return {character: re.compile(_any_of(ways)) for character, ways in self._ways.items()}

    @cached_property
    def cuts(self) -> _Cuts:
        """What may become a colon or a slash."""
        return _Cuts(way for ways in self._ways.values() for way in ways)

    @cached_property
    def colon_cuts(self) -> _Cuts:
        """What may become a colon."""
        return _Cuts(self._ways[":"])


TEXT: Final = Form(_COLONS, _SLASHES, begin=_BEGIN, end=_END, opened=_OPENED)
# Also in requests. Of a colon and the slashes behind it, at least one is escaped: only the slash by Go's
# url.PathEscape, only the colon by JavaScript's escape() and Python's quote(), which leave the slash in `\/` too.
PERCENT: Final = Form(
    (*(quote(way, safe="") for way in _COLONS), ":"),
    (*(quote(way, safe="") for way in _SLASHES), "/", "%5C/"),
    begin=_PERCENT_BEGIN,
    end=_PERCENT_END,
    opened=_PERCENT_OPENED,
    percent=True,
)
