"""Finds links in a text and replaces them.

Rules: links are found from left to right, in all forms alike, and none within another. Those that look like the first
one are replaced at once, which takes a fraction of the time, and in most texts no others are left.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from proxy.links.forms import ENDS, LOOK_BACK, OPENERS, Form
from proxy.platforms.url_prefix import Prefix, parse_prefix

_MAY_BEGIN: Final = re.compile(rb"[hH](?:\Z|[tT](?:\Z|[tT](?:\Z|[pP])))|[/\\&%]")
_SHORTEST_MARK: Final = 4  # bytes; a shorter one is found everywhere
_MOST_ROUNDS: Final = 4  # of replacing all that look alike; then the rest, one by one
_MOST_SEEN: Final = 64


def without_scheme(prefix: Prefix) -> str:
    """Return the prefix of a URL that has the scheme of where it stands."""
    return str(prefix).removeprefix(f"{prefix.scheme}:")


class _Alike(NamedTuple):
    """Links that look alike, with what is around them, and as they are written afterwards.

    `marks`: how many of them are in one. It is all of these that it seems to be, unless one of `longer` is in the text
    (in lower case).
    """

    before: bytes
    after: bytes
    longer: tuple[bytes, ...]
    marks: int


class Target(NamedTuple):
    """What links begin with afterwards, with a scheme and without.

    `rounds`: how often links that look alike may be replaced at once, and the others then be searched for. `seen`
    remembers what links look like, since most bodies of a shop begin with the same ones.
    """

    url: str
    relative: str
    rounds: int
    seen: "dict[tuple[_LinksInForm, bytes], _Alike | None]"


class Finder:
    """Finds URLs that begin with one of `sources`, in several forms."""

    def __init__(self, sources: Iterable[str], forms: Sequence[Form]) -> None:
        prefixes = tuple(dict.fromkeys(map(parse_prefix, sources)))
        self._prefixes = prefixes
        self._forms = [_LinksInForm(form, prefixes) for form in forms]
        marks = {_mark(prefix) for prefix in prefixes}
        common = _common_begin(marks)
        self._marks = [common] if len(common) >= _SHORTEST_MARK else list(marks)
        # What makes longer prefixes of some on the same host, by its mark.
        self._more = {
            (_mark(prefix), longer.path.removeprefix(prefix.path))
            for prefix in prefixes
            for longer in prefixes
            if longer[1:3] == prefix[1:3] and longer.path.startswith(f"{prefix.path}/")
        }
        self.longest = max(links.longest for links in self._forms)

    def target(self, url: str) -> Target:
        """Return a URL as what links become. Raises `ValueError` for one that `parse_prefix` does not take."""
        prefix = parse_prefix(url)
        url = str(prefix)
        rounds = _MOST_ROUNDS
        if not all(self._marks) or url.endswith(("http", "https")):  # with what follows, that may look like a link
            rounds = 0
        elif self._count(url.lower().encode()):
            # It may be found again, which does no harm if it becomes the same again. On another port it is not.
            on_host = [source.path for source in self._prefixes if _may_be_same_server(source, prefix)]
            found = {path for path in on_host if f"{path}/".startswith(f"{prefix.path}/")}
            rounds = int(found == {prefix.path}) if on_host else _MOST_ROUNDS
        return Target(url, without_scheme(prefix), rounds, {})

    def replace(self, text: bytes, target: Target, around: bytes = b"") -> bytes:
        """Return the text, with that `around` it, with all links replaced that something follows."""
        lowered = text.lower()
        marks = self._count(lowered)
        if not marks:
            return text  # there can't be a link without a host
        replaced, marks = self._alike_replaced(b"".join((around, text, around)), target, lowered, marks)
        if marks:
            replaced = self._each_replaced(replaced, target)
        return replaced[len(around) : len(replaced) - len(around)]

    def undecided_from(self, text: bytes) -> int:
        """Return from where on the end of the text may become a link; its length if nowhere."""
        for begin in _MAY_BEGIN.finditer(text, max(len(text) - self.longest, 0)):
            at = begin.start()
            if any(links.may_be_at(at, text) for links in self._forms) and not self._is_within_link(at, text):
                return at
        return len(text)

    def _is_within_link(self, at: int, text: bytes) -> bool:
        # The path of one may end in `http`, and what ends it may as well begin an escaped colon.
        return any(link.start() < at < link.end() for _, link in self._found(text, max(at - self.longest, 0)))

    def _alike_replaced(self, text: bytes, target: Target, lowered: bytes, marks: int) -> tuple[bytes, int]:
        """Return the text with links replaced that look like the first, then the next, and how many marks are left."""
        for _ in range(target.rounds):
            for links in self._forms:
                if links.sign in text and (link := links.first(text)) is not None:
                    break
            else:
                return text, 0
            look = links, text[link.start() - 1 : link.end() + max(len(link["slash"]), 2)]
            if look not in target.seen:
                if len(target.seen) >= _MOST_SEEN:
                    target.seen.clear()
                target.seen[look] = self._alike(links, link, target)
            alike = target.seen[look]
            if alike is None or (alike.longer and any(begun in lowered for begun in alike.longer)):
                break
            parts = text.split(alike.before)
            text = alike.after.join(parts)
            marks -= (len(parts) - 1) * alike.marks
            if not marks:
                break
        return text, marks

    def _alike(self, links: "_LinksInForm", link: re.Match[bytes], target: Target) -> _Alike | None:
        """Return what looks like this link; `None` if that need not be one."""
        opener, end = link.string[link.start() - 1 : link.start()], links.end_of(link)
        # No link holds these, so all that looks like this is a link, if it is none of a longer prefix.
        if not end or opener not in OPENERS:
            return None
        known = link[0].lower()
        longer = tuple([links.with_more(link, more).lower() for mark, more in self._more if mark in known])
        return _Alike(opener + link[0] + end, opener + links.written(link, target) + end, longer, self._count(known))

    def _each_replaced(self, text: bytes, target: Target) -> bytes:
        """Return the text with all links replaced, one by one."""
        known: dict[bytes, bytes] = {}  # many look alike
        pieces: list[bytes] = []
        done = 0
        for links, link in self._found(text):
            if link.start() >= done:
                if link[0] not in known:
                    known[link[0]] = links.written(link, target)
                pieces += text[done : link.start()], known[link[0]]
                done = link.end()
        return b"".join((*pieces, text[done:]))

    def _found(self, text: bytes, begin: int = 0) -> "list[tuple[_LinksInForm, re.Match[bytes]]]":
        """Return all links from `begin` on, in order of their beginnings."""
        found = [(links, link) for links in self._in(text) for link in links.all(text, begin)]
        return sorted(found, key=lambda one: one[1].start())

    def _in(self, text: bytes) -> "list[_LinksInForm]":
        return [links for links in self._forms if links.sign in text]

    def _count(self, lowered: bytes) -> int:
        return sum(map(lowered.count, self._marks))


def _may_be_same_server(one: Prefix, other: Prefix) -> bool:
    # Without a port, or with one of these, it is as the scheme says, and both are found (`Prefix.equals`).
    ports = {"" if prefix.port in ("80", "443") else prefix.port for prefix in (one, other)}
    return one.host == other.host and len(ports) == 1


def _mark(prefix: Prefix) -> bytes:
    """Return what of a host looks the same in every form: all of it, but for the colons and brackets of IPv6."""
    return max(re.split(r"[\[\]:]+", prefix.host), key=len).encode()


def _common_begin(texts: Collection[bytes]) -> bytes:
    first, last = min(texts), max(texts)
    size = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:size]


class _LinksInForm:
    """Links as they are written in one form."""

    def __init__(self, form: Form, prefixes: tuple[Prefix, ...]) -> None:
        self.sign = b"%" if form.percent else b""  # without which there is none
        self._form = form
        self._prefixes = prefixes
        urls = [url for prefix in prefixes for url in (*prefix.equals(), without_scheme(prefix))]
        self._urls = [(url, url.lower()) for url in urls]
        self.longest = max(map(form.longest, urls))

    @cached_property
    def _with_scheme(self) -> re.Pattern[bytes]:
        return self._form.with_scheme(self._prefixes)  # what finds links in form bodies is hardly ever needed

    @cached_property
    def _without_scheme(self) -> re.Pattern[bytes]:
        return self._form.without_scheme(self._prefixes)

    def first(self, text: bytes) -> re.Match[bytes] | None:
        """Return the first link with a scheme, or if there is none the first without one."""
        return self._with_scheme.search(text) or next(filter(self._opened, self._without_scheme.finditer(text)), None)

    def all(self, text: bytes, begin: int) -> Iterator[re.Match[bytes]]:
        """Yield all links from `begin` on, those with a scheme first."""
        yield from self._with_scheme.finditer(text, begin)
        yield from filter(self._opened, self._without_scheme.finditer(text, begin))

    def written(self, link: re.Match[bytes], target: Target) -> bytes:
        """Return the target as this link is written."""
        return self._form.write(target.url if link.re is self._with_scheme else target.relative, like=link[0])

    def with_more(self, link: re.Match[bytes], more: str) -> bytes:
        """Return the link with more of a path."""
        return link[0] + self._form.write(more, like=link[0])

    def end_of(self, link: re.Match[bytes]) -> bytes:
        """Return so much of what follows a link that it ends whatever comes then; nothing if that is far to see."""
        text, end, slash = link.string, link.end(), link["slash"]
        after = slash if text.startswith(slash, end) else text[end : end + 2]
        return after if after[0] in ENDS and after not in self._form.colon_cuts else b""

    def may_be_at(self, begin: int, text: bytes) -> bool:
        """Tell whether the text from `begin` to its end is one of these links, or the beginning of one."""
        begun = text[begin:]
        if begun[0] not in b"hH" and not (self._form.may_be_slashes(begun) and self._is_opened(begin, text)):
            return False
        cut = self._form.cuts.at_end_of(begun)
        come = text[: len(text) - len(cut)]
        plain = self._form.plain(come[begin:])
        for url, lowered in self._urls:
            # To compare in lower case is quick; what the pattern makes of the whole link decides.
            if lowered.startswith(plain):
                rest = self._form.continued(url[len(plain) :], come[begin:], cut)
                if rest is not None and self._is_at(begin, come + rest):
                    return True
        return any(size < len(begun) and self._is_at(begin, text[:-size]) for size in self._form.cut_ends(begun))

    def _is_at(self, begin: int, text: bytes) -> bool:
        """Tell whether the text from `begin` to its end is one of these links."""
        look_back = max(begin - LOOK_BACK, 0)
        text = text[look_back:] + b"\n"  # an end as good as any
        pattern = self._with_scheme if text[begin - look_back] in b"hH" else self._without_scheme
        link = pattern.match(text, begin - look_back)
        return link is not None and link.end() == len(text) - 1 and (pattern is self._with_scheme or self._opened(link))

    def _is_opened(self, begin: int, text: bytes) -> bool:
        """Tell whether a link without a scheme may begin there."""
        return self._form.opened.search(text, max(begin - LOOK_BACK, 0), begin) is not None

    def _opened(self, link: re.Match[bytes]) -> bool:
        return self._is_opened(link.start(), link.string)
