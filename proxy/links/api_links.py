"""Rewrites links in bodies and header fields, both ways, so that an app that follows them stays with the proxy.

In answers, the URLs of this shop's API become the proxy's own base for the shop; in requests, that base and the URLs of
the API's old hosts become the platform's canonical URL. Values in, bytes out, no I/O.

Rules: only a whole prefix of this shop's API is replaced, and in the form it was written in (`forms.py`); all other
bytes pass as they are. A stream comes out as if it had been rewritten in one piece, wherever it is cut. Held back is
only what may be the beginning of a link at the end of what has come: as many bytes as the longest link has, and of an
escape after it that may not end it.
"""

from collections.abc import Sequence
from typing import Final

from proxy.links.finder import Finder
from proxy.links.forms import LOOK_BACK, PERCENT, TEXT

# For what has passed and is looked back at: it must not look like the beginning of a link, and g is as good a letter.
_WITHOUT_H: Final = bytes.maketrans(b"hH", b"gG")


class ApiLinks:
    """The links of one shop: what its API's URLs (`api`, the canonical one first) become, and what becomes them.

    Each URL is `http(s)://host[:port][/path]`, with or without a slash at its end; it is found with either scheme and,
    if it has no port, also with the scheme's own. Raises `ValueError` for any other. To prepare for them costs more
    than to rewrite a body, so keep this for the next request for the shop, and what it returns for the same base.
    """

    def __init__(self, api: Sequence[str]) -> None:
        self._api = api
        self._finder = Finder(api, [TEXT])

    def in_answers(self, base: str) -> "LinkMap":
        """Return what turns the shop's API URLs, the old hosts' too, into the proxy's base for the shop."""
        return LinkMap(self._finder, base)

    def in_requests(self, base: str) -> "LinkMap":
        """Return what turns the base, and all of the shop's API URLs, into the canonical one."""
        return LinkMap(Finder([base, *self._api], [TEXT, PERCENT]), self._api[0])


class LinkMap:
    """What becomes of links: those that `finder` finds begin with `target` afterwards, which is a URL as they are."""

    def __init__(self, finder: Finder, target: str) -> None:
        self._finder = finder
        self._target = finder.target(target)
        self.longest = finder.longest

    def rewrite(self, whole: bytes) -> bytes:
        """Return a body that is in memory, or the value of a header field, with its links rewritten."""
        return self._finder.replace(whole, self._target, around=b"\n")  # the begin and end of a text are a line's

    def rewriter(self) -> "Rewriter":
        """Return what rewrites one streamed body."""
        return Rewriter(self)

    def replace(self, text: bytes) -> bytes:
        """Return the text with all links replaced, but for one right at its end: the next byte may belong to it."""
        return self._finder.replace(text, self._target)

    def undecided_from(self, text: bytes) -> int:
        """Return from where on the end of the text may become a link; its length if nowhere."""
        return self._finder.undecided_from(text)


class Rewriter:
    """Rewrites one body as it streams.

    `changed` tells whether anything was replaced so far, `held` how many bytes wait for what comes after them.
    """

    def __init__(self, links: LinkMap) -> None:
        self._links = links
        self._before = b"\n"  # as `LinkMap.rewrite` has it
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
        text, start = b"".join((self._before, self._held, b"\n")), len(self._before)
        self._held = b""
        return self._replaced(text)[start:-1]

    def _replaced(self, text: bytes) -> bytes:
        replaced = self._links.replace(text)
        self.changed = self.changed or replaced != text
        return replaced
