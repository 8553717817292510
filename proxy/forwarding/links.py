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
from typing import Final, Self

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


class LinkMap:
    """What becomes of links: URLs that begin with one of `sources` begin with `target` afterwards.

    Each is `http(s)://host[:port][/path]`, with or without a slash at its end; a source is found with either scheme
    and, if it has no port, also with the scheme's own. Raises `ValueError` for any other URL. To make one costs more
    than to rewrite a body with it, so keep it for the next request of the same shop and base.
    """

    def __init__(self, sources: Iterable[str], target: str, forms: Sequence[Form]) -> None:
        prefixes = tuple(dict.fromkeys(map(parse_prefix, sources)))
        to = str(parse_prefix(target))
        self._forms = [_LinksInForm(form, prefixes, to) for form in forms]
        self._hosts = {form.write(prefix.host).lower().encode() for form in forms for prefix in prefixes}
        self.longest = max(links.longest for links in self._forms)

    @classmethod
    def for_responses(cls, api: Iterable[str], base: str) -> Self:
        """Return what turns the shop's API URLs, the old hosts' too, into the proxy's base for the shop."""
        return cls(api, base, TEXT_FORMS)

    @classmethod
    def for_requests(cls, api: Sequence[str], base: str) -> Self:
        """Return what turns the base, and all of the shop's API URLs, into the first of these, the canonical one."""
        return cls([base, *api], api[0], REQUEST_FORMS)

    def rewrite(self, whole: bytes) -> bytes:
        """Return a body that is in memory, or the value of one of the `LINK_FIELDS`, with its links rewritten."""
        return self.replace(whole + b"\n")[:-1]  # an end as good as any

    def rewriter(self) -> "Rewriter":
        """Return what rewrites one streamed body."""
        return Rewriter(self)

    def replace(self, text: bytes) -> bytes:
        """Return the text with all links replaced, but for one right at its end: the next byte may belong to it."""
        lowered = text.lower()
        if any(host in lowered for host in self._hosts):  # a host name looks the same in every form
            for links in self._forms:
                if links.marker in lowered:
                    text = links.replace(text)
        return text

    def undecided_from(self, text: bytes) -> int:
        """Return from where on the end of the text may become a link; its length if nowhere."""
        for begin in _MAY_BEGIN.finditer(text, max(len(text) - self.longest, 0)):
            if any(links.may_be_at(begin.start(), text) for links in self._forms):
                return begin.start()
        return len(text)


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


class _LinksInForm:
    """Links as they are written in one form."""

    def __init__(self, form: Form, prefixes: tuple[Prefix, ...], target: str) -> None:
        self._form = form
        self._prefixes = prefixes
        self._target = form.write(target).encode().replace(b"\\", rb"\\")  # as `re.sub` reads it
        self._written = [form.write(text).encode() for prefix in prefixes for text in prefix.equals()]
        self._lowered = [text.lower() for text in self._written]
        self.marker = form.write("://").lower().encode()
        self.longest = max(map(len, self._written)) + (2 if form.percent else 0)

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        return self._form.pattern(self._prefixes)  # some forms hardly ever occur

    def replace(self, text: bytes) -> bytes:
        return self._pattern.sub(self._target, text)

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
        found = self._pattern.match(link + b"\n", begin - look_back)
        return found is not None and found.end() == len(link)
