"""A request body whose links go to the platform as the platform wrote them.

Rules: the platform gets the right length, so a body that is too large for memory is taken whole before it is sent (it
lies in the temporary file then, as it came), and is rewritten anew for each attempt, piece by piece.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from proxy.forwarding.body import RequestBody
from proxy.forwarding.headers import Fields
from proxy.forwarding.links import LinkMap
from proxy.forwarding.rewriting import ShopLinks, may_hold_links, without_digests


class RewrittenBody:
    """A body as it is sent on: `length` bytes in all."""

    was_announced = True

    def __init__(self, body: RequestBody, links: LinkMap, length: int) -> None:
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


async def with_links_of_platform(
    body: RequestBody, content: bytes | None, fields: Fields, links: ShopLinks
) -> tuple[RequestBody | RewrittenBody, bytes | None, Fields]:
    """Return what to send of a request: the body, its content where that is in memory, and the header fields.

    Raises as `RequestBody.chunks` does.
    """
    if content == b"" or not may_hold_links(fields):
        return body, content, fields
    if content is None:
        rewritten = await _measured(body, links.to_platform)
        return (body, None, fields) if rewritten is None else (rewritten, None, without_digests(fields))
    changed = links.to_platform.rewrite(content)
    return body, changed, fields if changed == content else without_digests(fields)


async def _measured(body: RequestBody, links: LinkMap) -> RewrittenBody | None:
    """Take the whole body; return it as it is to be sent on, `None` if that is as it came."""
    rewriter = links.rewriter()
    length = 0
    async with aclosing(body.chunks()) as chunks:
        async for chunk in chunks:
            length += len(rewriter.feed(chunk))
    length += len(rewriter.finish())
    return RewrittenBody(body, links, length) if rewriter.changed else None
