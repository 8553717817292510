r"""Rewrites links slowly and plainly: what `proxy.links` must equal, written from the rules and not from it.

It goes through a text byte by byte and asks at each place: does one of the ways to write a source stand here, what
character is before it, and what character after it? An escape (`\n`, `\u0022`, `%22`) is the character it stands for.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

CANONICAL = "https://demo.api2.myshoprenter.hu/api"
OLD = "https://demo.api.myshoprenter.hu"
OLDER = "https://demo.api.shoprenter.hu"
API = (CANONICAL, OLD, OLDER)
BASE = "http://proxy:8080/demo"

Form = tuple[str, str]  # how colons are written, and how slashes

COLONS = [
    *(":", "\\u003A", "\\x3A", "&#58;", "&#058;", "&#0058;", "&#x3A;", "&#x03A;", "&#x003A;", "&colon;"),
]
SLASHES = [
    *("/", "\\/", "\\u002F", "\\x2F", "&#47;", "&#047;", "&#0047;", "&#x2F;", "&#x02F;", "&#x002F;", "&sol;"),
]
PERCENT_COLONS = [
    *(":", "%3A", "%5Cu003A", "%5Cx3A", "%26%2358%3B", "%26%23058%3B", "%26%230058%3B"),
    *("%26%23x3A%3B", "%26%23x03A%3B", "%26%23x003A%3B", "%26colon%3B"),
]
PERCENT_SLASHES = [
    *("/", "%2F", "%5C%2F", "%5C/", "%5Cu002F", "%5Cx2F", "%26%2347%3B", "%26%23047%3B", "%26%230047%3B"),
    *("%26%23x2F%3B", "%26%23x02F%3B", "%26%23x002F%3B", "%26sol%3B"),
]
TEXT_FORMS: list[Form] = list(product(COLONS, SLASHES))
PERCENT_FORMS: list[Form] = list(product(PERCENT_COLONS, PERCENT_SLASHES))[1:]  # the first is none of its own
FORMS = TEXT_FORMS + PERCENT_FORMS

_ENDS = "/?#\"'<>&])},;\\|` \t\r\n\v\f"
_OPENERS = "\"'`(<=>[, \t\r\n\v\f"
_ENTITIES = {
    **{"&quot;": '"', "&#34;": '"', "&#034;": '"', "&#x22;": '"'},
    **{"&apos;": "'", "&#39;": "'", "&#039;": "'", "&#x27;": "'"},
    **{"&lt;": "<", "&#60;": "<", "&#x3c;": "<", "&gt;": ">", "&#62;": ">", "&#x3e;": ">"},
}


class Link(NamedTuple):
    """A way to write a source: in which form, and where in it the case of letters begins to matter."""

    text: bytes
    colon: str
    slash: str
    path_at: int

    @property
    def scheme(self) -> bytes:
        """What stands before the first colon or slash; nothing, if it has none."""
        found = re.match(b"https?", self.text)
        return found[0] if found else b""

    @property
    def percent(self) -> bool:
        return "%" in self.colon + self.slash


class Links:
    """All ways to write all sources, to be found by their text."""

    def __init__(self, sources: Sequence[str], forms: Sequence[Form]) -> None:
        self.all = list(written_links(sources, forms))
        self._by_text: dict[bytes, list[Link]] = defaultdict(list)
        for link in self.all:
            self._by_text[link.text.lower()].append(link)
        self._first_bytes = {text[:1] for text in self._by_text} | {b"H"}
        self._lengths = sorted({len(link.text) for link in self.all}, reverse=True)
        self.longest = self._lengths[0]

    def at(self, text: bytes, at: int) -> Link | None:
        """The longest one that stands there."""
        if text[at : at + 1] not in self._first_bytes:
            return None
        for length in self._lengths:
            for link in self._by_text.get(text[at : at + length].lower(), ()):
                if stands_at(text, at, link):
                    return link
        return None

    def begun(self, text: bytes) -> Iterator[Link]:
        """Those that begin so."""
        lowered = text.lower()
        return (link for text, links in self._by_text.items() if text.startswith(lowered) for link in links)


def write(url: str, colon: str = ":", slash: str = "/") -> bytes:
    """A URL as it stands in a form."""
    written = url.replace("/", slash).replace(":", colon)
    if "%" in colon + slash:
        written = written.replace("[", "%5B").replace("]", "%5D")
    return written.encode()


def written_links(sources: Sequence[str], forms: Sequence[Form]) -> Iterator[Link]:
    """Every way to write every source."""
    for source, (colon, in_form) in product(sources, forms):
        host, slash, path = source.partition("://")[2].partition("/")
        beginnings = [f"{scheme}://{host}" for scheme in ("http", "https")]
        if not re.search(r":\d+$", host):
            beginnings += [f"http://{host}:80", f"https://{host}:443"]
        if "%" not in colon or "%" in in_form:  # `//` is no escape
            beginnings.append(f"//{host}")
        for beginning in beginnings:
            authority = write(beginning, colon, in_form)
            yield Link(authority + write(slash + path, colon, in_form), colon, in_form, len(authority))


def find(text: bytes, links: Links) -> Iterator[tuple[int, Link]]:
    """Every link in a text, and where it begins."""
    at = 0
    while at < len(text):
        link = links.at(text, at)
        if link is not None:
            yield at, link
        at += 1 if link is None else len(link.text)


def reference(text: bytes, links: Links, target: str) -> bytes:
    """The text with its links rewritten."""
    result, done = b"", 0
    for at, link in find(text, links):
        there = text[at : at + len(link.text)]
        slash_at = len(link.scheme) and len(link.scheme) + len(link.colon)
        colon_at = len(link.scheme) or link.text.find(link.colon.encode())
        colon = there[colon_at : colon_at + len(link.colon)].decode() if colon_at > 0 else ""
        slash = there[slash_at : slash_at + len(link.slash)].decode()
        if link.percent:
            colon, slash = _in_capitals(colon), _in_capitals(slash)
        url = target if link.scheme else target.partition(":")[2]
        result += text[done:at] + write(url, colon or ("%3A" if link.percent else ":"), slash)
        done = at + len(there)
    return result + text[done:]


def stands_at(text: bytes, at: int, link: Link) -> bool:
    there = text[at : at + len(link.text)]
    if there.lower() != link.text.lower():
        return False
    path, its_path = there[link.path_at :], link.text[link.path_at :]
    if _with_plain_slashes(path, link.slash) != _with_plain_slashes(its_path, link.slash):
        return False
    before = character_before(text[:at], percent=link.percent)
    after = character_after(text[at + len(link.text) :], percent=link.percent)
    begins = not re.fullmatch(r"[A-Za-z0-9+.-]", before) if link.scheme else before == "" or before in _OPENERS
    return begins and (after == "" or after in _ENDS)


def _in_capitals(written: str) -> str:
    return re.sub("%..", lambda escape: escape[0].upper(), written)


def _with_plain_slashes(path: bytes, slash: str) -> bytes:
    # The letters in a slash, `%2f`, are none of the path's: their case means nothing.
    return re.sub(re.escape(slash.encode()), b"/", path, flags=re.IGNORECASE)


def character_before(text: bytes, *, percent: bool) -> str:
    """The last character of a text; the first one of a file has nothing before it but a byte order mark."""
    if percent:
        if text[-1:] == b"+":
            return " "
        if re.search(rb"%5[cC][nrtNRT]\Z", text):
            return "\n"
        escape = re.search(rb"%([0-9a-fA-F]{2})\Z", text)
    else:
        if re.search(rb"\\[nrtNRT]\Z", text):
            return "\n"
        if text.endswith(b"\xef\xbb\xbf"):
            return ""
        entity = re.search(rb"&[a-zA-Z0-9#]+;\Z", text)
        if entity and entity[0].decode().lower() in _ENTITIES:
            return _ENTITIES[entity[0].decode().lower()]
        escape = re.search(rb"\\(?:[uU]00|[xX])([0-9a-fA-F]{2})\Z", text) or re.search(
            rb"\\[uU]([0-9a-fA-F]{4})\Z", text
        )
    if escape:
        return chr(int(escape[1], 16))
    return text[-1:].decode("latin-1")


def character_after(text: bytes, *, percent: bool) -> str:
    """The character that a text begins with; a full stop, which ends nothing, for an escape that is none.

    Of escapes in texts only those of a colon are known: what else an escape begins with ends a URL.
    """
    if any(text[: len(way)].lower() == way.lower().encode() for way in (PERCENT_COLONS if percent else COLONS)):
        return ":"
    if percent and text[:1] == b"+":
        return " "
    if percent and text[:1] == b"%":
        escape = re.match(rb"%([0-9a-fA-F]{2})", text)
        return chr(int(escape[1], 16)) if escape else "."
    return text[:1].decode("latin-1")
