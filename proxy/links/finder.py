"""Finds links in a text and replaces them.

Rules: what comes out is what one search for each form would make of it, one after the other. Where many links look
alike, and most texts hold only such, they are replaced at once; that takes a fraction of the time.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Final

from proxy.links.forms import ENDS, LOOK_BACK, OPENERS, Form
from proxy.platforms.url_prefix import Prefix, parse_prefix

_MAY_BEGIN: Final = re.compile(rb"[hH](?:\Z|[tT](?:\Z|[tT](?:\Z|[pP])))|[/\\&%]")
_SHORTEST_MARK: Final = 4  # bytes; a shorter one is found everywhere
_MOST_LOOKS: Final = 4  # so many kinds of links that look alike, the rest one by one


def without_scheme(prefix: Prefix) -> str:
    """Return the prefix of a URL that has the scheme of where it stands."""
    return str(prefix).removeprefix(f"{prefix.scheme}:")


class Target:
    """What links begin with afterwards: a URL. Raises `ValueError` for one that `parse_prefix` does not take."""

    def __init__(self, url: str) -> None:
        prefix = parse_prefix(url)
        self.url, self.relative = str(prefix), without_scheme(prefix)


class Finder:
    """Finds URLs that begin with one of `sources`, in several forms."""

    def __init__(self, sources: Iterable[str], forms: Sequence[Form]) -> None:
        prefixes = tuple(dict.fromkeys(map(parse_prefix, sources)))
        self._forms = [_LinksInForm(form, prefixes) for form in forms]
        # A host looks the same in every form, but for the colons and brackets of IPv6.
        hosts = {max(re.split(r"[\[\]:]+", prefix.host), key=len) for prefix in prefixes}
        common = _common_begin(hosts)
        self._marks = [mark.encode() for mark in ([common] if len(common) >= _SHORTEST_MARK else hosts)]
        # What makes a longer prefix of one on the same host.
        self._more = {
            longer.path.removeprefix(prefix.path)
            for prefix in prefixes
            for longer in prefixes
            if (longer.host, longer.port) == (prefix.host, prefix.port) and longer.path.startswith(f"{prefix.path}/")
        }
        self.longest = max(links.longest for links in self._forms)

    def replace(self, text: bytes, target: Target, around: bytes = b"") -> bytes:
        """Return the text, with that `around` it, with all links replaced that something follows."""
        lowered = text.lower()
        marks = self._count(lowered)
        if not marks:
            return text  # there can't be a link without a host
        replaced = b"".join((around, text, around))
        if all(self._marks) and not self._count(target.url.lower().encode()):
            replaced, marks = self._alike_replaced(replaced, target, lowered, marks)
        if marks:
            for links in self._forms:
                replaced = links.replace(replaced, target)
        return replaced[len(around) : len(replaced) - len(around)]

    def _alike_replaced(self, text: bytes, target: Target, lowered: bytes, marks: int) -> tuple[bytes, int]:
        """Return the text with links replaced that look like the first, then the next, and how many marks are left."""
        for _ in range(_MOST_LOOKS):
            found = next(((links, link) for links in self._forms if (link := links.first(text)) is not None), None)
            if found is None:
                return text, 0
            links, link = found
            begin, end = link.span()
            before, after = text[begin - 1 : begin], text[end : end + 1]
            longer = (links.with_more(link, more).lower() for more in self._more)
            # No link holds one of these, so whatever looks like this is a link, and no other begins or ends in it.
            if before not in OPENERS or after not in ENDS or any(begun in lowered for begun in longer):
                break
            parts = text.split(before + link[0] + after)
            text = (before + links.written(link, target) + after).join(parts)
            marks -= (len(parts) - 1) * self._count(link[0].lower())
            if not marks:
                break
        return text, marks

    def _count(self, lowered: bytes) -> int:
        return sum([lowered.count(mark) for mark in self._marks])

    def undecided_from(self, text: bytes) -> int:
        """Return from where on the end of the text may become a link; its length if nowhere."""
        for begin in _MAY_BEGIN.finditer(text, max(len(text) - self.longest, 0)):
            if any(links.may_be_at(begin.start(), text) for links in self._forms):
                return begin.start()
        return len(text)


def _common_begin(texts: Collection[str]) -> str:
    first, last = min(texts), max(texts)
    return first[: next((at for at, pair in enumerate(zip(first, last)) if pair[0] != pair[1]), len(first))]


class _LinksInForm:
    """Links as they are written in one form."""

    def __init__(self, form: Form, prefixes: tuple[Prefix, ...]) -> None:
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

    def replace(self, text: bytes, target: Target) -> bytes:
        """Return the text with all links replaced."""
        known: dict[bytes, bytes] = {}  # many look alike

        def written(link: re.Match[bytes]) -> bytes:
            if link[0] not in known:
                known[link[0]] = self.written(link, target)
            return known[link[0]]

        text = self._with_scheme.sub(written, text)
        return self._without_scheme.sub(lambda link: written(link) if self._opened(link) else link[0], text)

    def written(self, link: re.Match[bytes], target: Target) -> bytes:
        """Return the target as this link is written."""
        return self._form.write(target.url if link.re is self._with_scheme else target.relative, like=link[0])

    def with_more(self, link: re.Match[bytes], more: str) -> bytes:
        """Return the link with more of a path."""
        return link[0] + self._form.write(more, like=link[0])

    def may_be_at(self, begin: int, text: bytes) -> bool:
        """Tell whether the text from `begin` to its end is one of these links, or the beginning of one."""
        begun = text[begin:]
        if begun[0] in b"hH" or self._form.may_be_slashes(begun):
            plain, cut = self._form.plain(begun)
            for url, lowered in self._urls:
                # To compare in lower case is quick; what the pattern makes of the whole link decides.
                if lowered.startswith(plain):
                    rest = self._form.continued(url[len(plain) :], begun, cut)
                    if rest is not None and self._is_at(begin, text[: len(text) - len(cut)] + rest):
                        return True
        cut_end = self._form.end_is_cut(text)
        return cut_end > 0 and self._is_at(begin, text[:-cut_end])

    def _is_at(self, begin: int, text: bytes) -> bool:
        """Tell whether the text from `begin` to its end is one of these links."""
        look_back = max(begin - LOOK_BACK, 0)
        text = text[look_back:] + b"\n"  # an end as good as any
        pattern = self._with_scheme if text[begin - look_back] in b"hH" else self._without_scheme
        link = pattern.match(text, begin - look_back)
        return link is not None and link.end() == len(text) - 1 and (pattern is self._with_scheme or self._opened(link))

    def _opened(self, link: re.Match[bytes]) -> bool:
        """Tell whether a link without a scheme may stand where it does."""
        begin = link.start()
        return self._form.opened.search(link.string, max(begin - LOOK_BACK, 0), begin) is not None
