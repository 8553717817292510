"""A request body whose links go to the platform as the platform wrote them.

Rules: the platform gets the right length, so a body that is too large for memory is taken whole before it is sent (it
lies in the temporary file then, as it came), and is rewritten anew for each attempt, piece by piece.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from proxy.forwarding.body import RequestBody
from proxy.forwarding.headers import Fields, fields_named
from proxy.links.answers import DIGESTS
from proxy.links.api_links import LinkMap
from proxy.links.multipart import FormLinks
from proxy.links.requests import ADDED_REQUEST_FIELDS, REQUEST_FIELDS, edited_request_field, links_in_request
from proxy.links.shop_links import ShopLinks


class RewrittenBody:
    """A body as it is sent on: `length` bytes in all."""

    was_announced = True

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


def edited_request_fields(fields: Fields) -> Fields:
    """Return the fields of an upstream request whose answer may have to be rewritten."""
    edited: Fields = []
    for name, value in fields:
        known = name.lower().replace(b"_", b"-")
        new = edited_request_field(known, value) if known in REQUEST_FIELDS else value
        if new is not None:
            edited.append((name, new))
    return [*edited, *ADDED_REQUEST_FIELDS]


async def with_links_of_platform(
    body: RequestBody, content: bytes | None, fields: Fields, links: ShopLinks
) -> tuple[RequestBody | RewrittenBody, bytes | None, Fields]:
    """Return what to send of a request: the body, its content where that is in memory, and the header fields.

    Raises as `RequestBody.chunks` does.
    """
    in_request = None if content == b"" else links_in_request(partial(fields_named, fields), links)
    if in_request is None:
        return body, content, fields
    if content is None:
        rewritten = await _measured(body, in_request)
        return (body, None, fields) if rewritten is None else (rewritten, None, _without_digests(fields))
    changed = in_request.rewrite(content)
    return body, changed, fields if changed == content else _without_digests(fields)


def _without_digests(fields: Fields) -> Fields:
    return [(name, value) for name, value in fields if name.lower() not in DIGESTS]


async def _measured(body: RequestBody, links: LinkMap | FormLinks) -> RewrittenBody | None:
    """Take the whole body; return it as it is to be sent on, `None` if that is as it came."""
    rewriter = links.rewriter()
    length = 0
    async with aclosing(body.chunks()) as chunks:
        async for chunk in chunks:
            length += len(rewriter.feed(chunk))
    length += len(rewriter.finish())
    return RewrittenBody(body, links, length) if rewriter.changed else None
