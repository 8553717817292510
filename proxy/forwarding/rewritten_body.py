"""A request body whose links go to the platform as the platform wrote them.

Rules: the platform gets the right length, so a body that is too large for memory is taken whole before it is sent (it
lies in the temporary file then, as it came), and is rewritten anew for each attempt, piece by piece.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from proxy.links.api_links import LinkMap
from proxy.links.multipart import FormLinks
from proxy.wire.body import RequestBody


class RewrittenBody:
    """A body as it is sent on: `length` bytes in all."""

    def __init__(self, body: RequestBody, links: LinkMap | FormLinks, length: int) -> None:
        self._body = body
        self._links = links
        self.length = length

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body from its first byte. Raises as `RequestBody.chunks` does."""
        rewriter = self._links.rewriter()
        async with aclosing(self._body.chunks()) as chunks:
            async for chunk in chunks:
                if piece := rewriter.feed(chunk):
                    yield piece
        yield rewriter.finish()


async def rewritten(body: RequestBody, links: LinkMap | FormLinks) -> RewrittenBody | None:
    """Take the whole body; return it as it is to be sent on, `None` if that is as it came.

    Raises as `RequestBody.chunks` does.
    """
    rewriter = links.rewriter()
    length = 0
    async with aclosing(body.chunks()) as chunks:
        async for chunk in chunks:
            length += len(rewriter.feed(chunk))
    length += len(rewriter.finish())
    return RewrittenBody(body, links, length) if rewriter.changed else None
