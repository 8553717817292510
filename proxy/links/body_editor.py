"""The body of an answer, unpacked and with its links rewritten.

Rules: a body that is all there is edited in one go; one that streams costs bounded memory, whatever is packed in it. A
broken coding is an error, never a short but complete body.
"""

from collections.abc import Iterator
from functools import cached_property

from proxy.links.answers import Edit
from proxy.links.api_links import Rewriter
from proxy.links.shop_links import ShopLinks
from proxy.links.unpacking import Unpacker, unpack


class BodyEditor:
    """Edits one body; `coding` is its Content-Encoding, all values in one.

    `changed` tells whether a link was rewritten so far.
    """

    def __init__(self, links: ShopLinks, edit: Edit, coding: bytes) -> None:
        self._coding = coding if edit.unpack else b""
        self._links = links.to_client if edit.rewrite else None
        self.changed = False

    @cached_property
    def _unpacker(self) -> Unpacker:
        return Unpacker(self._coding)

    @cached_property
    def _rewriter(self) -> Rewriter | None:
        return None if self._links is None else self._links.rewriter()

    def whole(self, body: bytes, limit: int) -> bytes | None:
        """Return a body that is all there; `None` if it unpacks to more than `limit` bytes, and has to be fed.

        Raises `BrokenEncoding`.
        """
        unpacked = unpack(body, self._coding, limit) if self._coding else body
        if unpacked is None or self._links is None:
            return unpacked
        rewritten = self._links.rewrite(unpacked)
        self.changed = rewritten != unpacked
        return rewritten

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what can be sent on with the next bytes of the body, in pieces that are never empty.

        They must be taken to the last before the next call. Raises `BrokenEncoding`.
        """
        for unpacked in self._unpacker.feed(chunk):
            piece = unpacked if self._rewriter is None else self._rewriter.feed(unpacked)
            self.changed = self._rewriter is not None and self._rewriter.changed
            if piece:
                yield piece

    def finish(self) -> bytes:
        """Return the rest, after the last `feed`. Raises `BrokenEncoding` if the coding has not ended."""
        self._unpacker.finish()
        rest = b"" if self._rewriter is None else self._rewriter.finish()
        self.changed = self._rewriter is not None and self._rewriter.changed
        return rest
