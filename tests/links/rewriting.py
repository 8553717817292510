r"""Rewrites links slowly and plainly: what `proxy.forwarding.links` must equal, written from the rules and not from it.

It goes through a text byte by byte and asks at each place: does one of the ways to write a source stand here, what
character is before it, and what character after it? An escape (`\n`, `\u0022`, `%22`) is the character it stands for.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

CANONICAL = "https://demo.api2.myshoprenter.hu/api"
OLD = "https://demo.api.myshoprenter.hu"
OLDER = "https://demo.api.shoprenter.hu"
API = (CANONICAL, OLD, OLDER)
BASE = "http://proxy:8080/demo"

TEXT_FORMS = [(":", "/"), (":", "\\/"), (":", "&#47;"), (":", "&#x2F;")]
PERCENT_FORMS = [("%3A", "%2F"), ("%3A", "%5C%2F"), ("%3A", "/"), (":", "%2F")]

_ENDS = "/?#\"'<>&])},;\\|` \t\r\n\v\f"


class Link(NamedTuple):
    """A way to write a source: in which form, and where in it the case of letters begins to matter."""

    text: bytes
    colon: str
    slash: str
    path_at: int


def write(url: str, colon: str = ":", slash: str = "/") -> bytes:
    """A URL as it stands in a form."""
    written = url.replace("/", slash).replace(":", colon)
    if "%" in colon + slash:
        written = written.replace("[", "%5B").replace("]", "%5D")
    return written.encode()


def written_links(sources: Sequence[str], forms: Sequence[tuple[str, str]]) -> Iterator[Link]:
    """Every way to write every source."""
    for source in sources:
        host, slash, path = source.partition("://")[2].partition("/")
        for colon, in_form in forms:
            for scheme, own_port in (("http", ":80"), ("https", ":443")):
                has_port = re.search(r":\d+$", host)
                for port in [""] if has_port else ["", own_port]:
                    authority = write(f"{scheme}://{host}{port}", colon, in_form)
                    yield Link(authority + write(slash + path, colon, in_form), colon, in_form, len(authority))


def find(text: bytes, links: Sequence[Link]) -> Iterator[tuple[int, Link]]:
    """Every link in a text, and where it begins."""
    at = 0
    while at < len(text):
        here = [link for link in links if text[at : at + 4].lower() == b"http" and stands_at(text, at, link)]
        if here:
            longest = max(here, key=lambda link: len(link.text))
            yield at, longest
            at += len(longest.text)
        else:
            at += 1


def reference(text: bytes, sources: Sequence[str], target: str, forms: Sequence[tuple[str, str]]) -> bytes:
    """The text with its links rewritten."""
    result, done = b"", 0
    for at, link in find(text, list(written_links(sources, forms))):
        result += text[done:at] + write(target, link.colon, link.slash)
        done = at + len(link.text)
    return result + text[done:]


def stands_at(text: bytes, at: int, link: Link) -> bool:
    there = text[at : at + len(link.text)]
    if there.lower() != link.text.lower():
        return False
    path, its_path = there[link.path_at :], link.text[link.path_at :]
    if _with_plain_slashes(path, link.slash) != _with_plain_slashes(its_path, link.slash):
        return False
    percent = "%" in link.colon + link.slash
    before = character_before(text[:at], percent=percent)
    after = character_after(text[at + len(link.text) :], percent=percent)
    return not re.fullmatch(r"[A-Za-z0-9+.-]", before) and (after == "" or after in _ENDS)


def _with_plain_slashes(path: bytes, slash: str) -> bytes:
    # The letters in a slash, `%2f`, are none of the path's: their case means nothing.
    return re.sub(re.escape(slash.encode()), b"/", path, flags=re.IGNORECASE)


def character_before(text: bytes, *, percent: bool) -> str:
    if percent:
        if text[-1:] == b"+":
            return " "
        if re.search(rb"%5[cC][nrtNRT]$", text):
            return "\n"
        escape = re.search(rb"%([0-9a-fA-F]{2})$", text)
    else:
        if re.search(rb"\\[nrtNRT]$", text):
            return "\n"
        escape = re.search(rb"\\[uU]([0-9a-fA-F]{4})$", text)
    if escape:
        return chr(int(escape[1], 16))
    return text[-1:].decode("latin-1")


def character_after(text: bytes, *, percent: bool) -> str:
    """The character that a text begins with; a full stop, which ends nothing, for an escape that is none."""
    if percent and text[:1] == b"+":
        return " "
    if percent and text[:1] == b"%":
        escape = re.match(rb"%([0-9a-fA-F]{2})", text)
        return chr(int(escape[1], 16)) if escape else "."
    return text[:1].decode("latin-1")
