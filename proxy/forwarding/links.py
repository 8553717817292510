"""Rewrites links in bodies and header fields, both ways, so that an app that follows them stays with the proxy.

In answers, the URLs of this shop's API become the proxy's own base for the shop; in requests, that base and the URLs of
the API's old hosts become the platform's canonical URL. Values in, bytes out, no I/O.

Rules: only a whole prefix of this shop's API is replaced, and in the form it was written in (`link_forms.py`); all
other bytes pass as they are. A stream comes out as if it had been rewritten in one piece, wherever it is cut. Held back
is only what may be the beginning of a link at the end of what has come: as many bytes as the longest link has, and up
to two of an escape after it.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final

from proxy.forwarding.link_forms import LOOK_BACK, REQUEST_FORMS, TEXT_FORMS, Form
from proxy.platforms.url_prefix import Prefix, parse_prefix

# The header fields of an answer that hold links (RFC 9110 §8.7, §10.2.2; RFC 8288 §3), in lower case.
LINK_FIELDS: Final = frozenset((b"location", b"content-location", b"link"))

_REWRITABLE: Final = re.compile(
    rb"[ \t]*(?:text/[^;, \t]+ | application/(?:json|xml) | [^/;, \t]+/[^;, \t]+\+(?:json|xml))[ \t]*(?:;.*)?",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_FORM_BODY: Final = re.compile(
    rb"[ \t]*(?:application/x-www-form-urlencoded | multipart/form-data)[ \t]*(?:;.*)?",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
# Where a letter is no single byte, no link is found anyway; the body then need not be held up or unpacked either.
_WIDE_CHARSET: Final = re.compile(
    rb""";[ \t]*charset[ \t]*=[ \t]*["']?(?:utf-?16|utf-?32|(?:iso-10646-)?ucs-?[24])""", re.IGNORECASE
)

_MAY_BEGIN: Final = re.compile(rb"[hH](?:\Z|[tT](?:\Z|[tT](?:\Z|[pP])))")
# For what has passed and is looked back at: it must not look like the beginning of a link, and g is as good a letter.
_WITHOUT_H: Final = bytes.maketrans(b"hH", b"gG")


def is_rewritable(content_type: bytes, *, request: bool = False) -> bool:
    """Tell whether a body of this Content-Type may hold links to rewrite: JSON, XML, text; in requests also forms.

    Bodies in UTF-16 and UTF-32 are left alone.
    """
    known = _REWRITABLE.fullmatch(content_type) or (request and _FORM_BODY.fullmatch(content_type))
    return bool(known) and _WIDE_CHARSET.search(content_type) is None


class ApiLinks:
    """The links of one shop: what its API's URLs (`api`, the canonical one first) become, and what becomes them.

    Each URL is `http(s)://host[:port][/path]`, with or without a slash at its end; it is found with either scheme and,
    if it has no port, also with the scheme's own. Raises `ValueError` for any other. To prepare for them costs more
    than to rewrite a body, so keep this for the next request for the shop, and what it returns for the same base.
    """

    def __init__(self, api: Sequence[str]) -> None:
        self._api = api
        self._finder = _Finder(api, TEXT_FORMS)

    def in_answers(self, base: str) -> "LinkMap":
        """Return what turns the shop's API URLs, the old hosts' too, into the proxy's base for the shop."""
        return LinkMap(self._finder, base)

    def in_requests(self, base: str) -> "LinkMap":
        """Return what turns the base, and all of the shop's API URLs, into the canonical one."""
        return LinkMap(_Finder([base, *self._api], REQUEST_FORMS), self._api[0])


class LinkMap:
    """What becomes of links: those that `finder` finds begin with `target` afterwards, which is a URL as they are."""

    def __init__(self, finder: "_Finder", target: str) -> None:
        self._finder = finder
        self._targets = finder.written(str(parse_prefix(target)))
        self.longest = finder.longest

    def rewrite(self, whole: bytes) -> bytes:
        """Return a body that is in memory, or the value of one of the `LINK_FIELDS`, with its links rewritten."""
        return self.replace(whole + b"\n")[:-1]  # an end as good as any

    def rewriter(self) -> "Rewriter":
        """Return what rewrites one streamed body."""
        return Rewriter(self)

    def replace(self, text: bytes) -> bytes:
        """Return the text with all links replaced, but for one right at its end: the next byte may belong to it."""
        return self._finder.replace(text, self._targets)

    def undecided_from(self, text: bytes) -> int:
        """Return from where on the end of the text may become a link; its length if nowhere."""
        return self._finder.undecided_from(text)


class Rewriter:
    """Rewrites one body as it streams.

    `changed` tells whether anything was replaced so far, `held` how many bytes wait for what comes after them.
    """

    def __init__(self, links: LinkMap) -> None:
        self._links = links
        self._before = b""
        self._held = b""
        self.changed = False

    @property
    def held(self) -> int:
        """Number of bytes held back."""
        return len(self._held)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the body, and return what can be sent on."""
        text, start = b"".join((self._before, self._held, chunk)), len(self._before)
        end = self._links.undecided_from(text)
        self._held = text[end:]
        self._before = text[max(end - LOOK_BACK, 0) : end].translate(_WITHOUT_H)
        # Cut before an `h`, which ends no link: none is missed there.
        return self._replaced(text[:end])[start:]

    def finish(self) -> bytes:
        """Return the rest, after the last `feed`."""
        text, start = self._before + self._held + b"\n", len(self._before)
        self._held = b""
        return self._replaced(text)[start:-1]

    def _replaced(self, text: bytes) -> bytes:
        replaced = self._links.replace(text)
        self.changed = self.changed or replaced != text
        return replaced


class _Finder:
    """Finds URLs that begin with one of `sources`, in several forms."""

    def __init__(self, sources: Iterable[str], forms: Sequence[Form]) -> None:
        prefixes = tuple(dict.fromkeys(map(parse_prefix, sources)))
        self._forms = [_LinksInForm(form, prefixes) for form in forms]
        self._hosts = {form.write(prefix.host).lower().encode() for form in forms for prefix in prefixes}
        self.longest = max(links.longest for links in self._forms)

    def written(self, target: str) -> list[bytes]:
        """Return a URL in each of the forms, as `replace` takes it."""
        return [links.written(target) for links in self._forms]

    def replace(self, text: bytes, targets: Sequence[bytes]) -> bytes:
        """Return the text with all links replaced, each by the target in its form."""
        lowered = text.lower()
        if any(host in lowered for host in self._hosts):  # a host name looks the same in every form
            for links, target in zip(self._forms, targets, strict=True):
                if links.marker in lowered:
                    text = links.pattern.sub(target, text)
        return text

    def undecided_from(self, text: bytes) -> int:
        """Return from where on the end of the text may become a link; its length if nowhere."""
        for begin in _MAY_BEGIN.finditer(text, max(len(text) - self.longest, 0)):
            if any(links.may_be_at(begin.start(), text) for links in self._forms):
                return begin.start()
        return len(text)


class _LinksInForm:
    """Links as they are written in one form."""

    def __init__(self, form: Form, prefixes: tuple[Prefix, ...]) -> None:
        self._form = form
        self._prefixes = prefixes
        self._written = [form.write(text).encode() for prefix in prefixes for text in prefix.equals()]
        self._lowered = [text.lower() for text in self._written]
        self.marker = form.write("://").lower().encode()
        self.longest = max(map(len, self._written)) + (2 if form.percent else 0)

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        return self._form.pattern(self._prefixes)  # some forms hardly ever occur

    def written(self, target: str) -> bytes:
        return self._form.write(target).encode().replace(b"\\", rb"\\")  # as `re.sub` reads it

    def may_be_at(self, begin: int, text: bytes) -> bool:
        """Tell whether the text from `begin` to its end is one of these links, or the beginning of one."""
        begun = text[begin:].lower()
        for written, lowered in zip(self._written, self._lowered, strict=True):
            # Prefixes in lower case are quick to compare; what the pattern makes of the whole link decides.
            if lowered.startswith(begun) and self._finds(text + written[len(begun) :], begin):
                return True
        cut = self._form.end_is_cut(text)
        return cut > 0 and self._finds(text[:-cut], begin)

    def _finds(self, text: bytes, begin: int) -> bool:
        look_back = max(begin - LOOK_BACK, 0)
        link = text[look_back:]
        found = self.pattern.match(link + b"\n", begin - look_back)
        return found is not None and found.end() == len(link)
