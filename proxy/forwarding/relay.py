"""Step 8 on the way of a request: the platform's answer goes to the client, as it comes.

Rules: a body goes as fast as the client takes it, and is never held as a whole. Where links are rewritten, the head
waits for the body up to `_HELD_BACK` bytes or `_HELD_FOR` seconds: if it ends within that, what the head says of it is
exact; if not, the rest goes without a length, and with a weak ETag, since nobody knows whether a link will come.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.errors import UpstreamProtocolError
from proxy.forwarding.exchange import Exchange
from proxy.forwarding.headers import Fields, client_response_fields, fields_named, first_named
from proxy.forwarding.upstream_response import UpstreamResponse
from proxy.links.answers import ANSWER_FIELDS, Edit, added_fields, edit_of, edited_field
from proxy.links.body_editor import BodyEditor
from proxy.links.shop_links import ShopLinks
from proxy.links.unpacking import BrokenEncoding

if TYPE_CHECKING:
    from collections.abc import Iterator

_HELD_BACK: Final = 1 << 18  # bytes
_HELD_FOR: Final = 0.05  # seconds


async def relay(exchange: Exchange, answer: UpstreamResponse, links: ShopLinks | None) -> None:
    """Send the answer to the client; with its links rewritten, if there are `links`.

    Raises `UpstreamError`, and `ConnectionError` if the client is gone.
    """
    fields = client_response_fields(answer.fields)
    length = None if answer.chunked else first_named(answer.fields, b"content-length")
    if exchange.body is not None and not exchange.body.complete:
        exchange.response.refuse_rest()  # answered early
    if links is None:
        await _send(exchange, fields, length, answer.read_nowait(), answer)
        return
    edit = edit_of(
        answer.status, partial(fields_named, answer.fields), partial(fields_named, exchange.request.raw_headers)
    )
    if edit.passes or exchange.request.method == "HEAD" or answer.status == 304:
        fields = _edited_fields(fields, links, edit, changed=edit.rewrite)
        await _send(exchange, fields, length if edit.passes else None, answer.read_nowait(), answer)
        return
    body = EditedBody(answer, links, edit)
    first = await body.begin()
    fields = _edited_fields(fields, links, edit, changed=body.changed or (edit.rewrite and not body.complete))
    await _send(exchange, fields, b"%d" % len(first) if body.complete else None, first, body)


def _edited_fields(fields: Fields, links: ShopLinks, edit: Edit, *, changed: bool) -> Fields:
    edited: Fields = []
    for name, value in fields:
        known = name.lower()
        new = edited_field(known, value, links, edit, changed=changed) if known in ANSWER_FIELDS else value
        if new is not None:
            edited.append((name, new))
    return [*edited, *added_fields(partial(fields_named, fields), edit, changed=changed)]


async def _send(
    exchange: Exchange, fields: Fields, length: bytes | None, first: bytes, body: "UpstreamResponse | EditedBody"
) -> None:
    answer, response = exchange.answer, exchange.response
    assert answer is not None  # noqa: S101 - for the type checker
    exchange.note_body(first)
    response.start(answer.status, answer.reason, fields, length=length, first=first, complete=body.complete)
    if not body.complete:
        while chunk := await body.read():
            exchange.note_body(chunk)
            await response.write(chunk)
        response.finish()


class EditedBody:
    """The body of an answer, unpacked and with its links rewritten, read piece by piece."""

    def __init__(self, answer: UpstreamResponse, links: ShopLinks, edit: Edit) -> None:
        self._answer = answer
        self._editor = BodyEditor(links, edit, b", ".join(fields_named(answer.fields, b"content-encoding")))
        self._pieces: Iterator[bytes] = iter(())
        self.complete = False

    @property
    def changed(self) -> bool:
        """Whether a link has been rewritten so far."""
        return self._editor.changed

    async def begin(self) -> bytes:
        """Return the body if it comes soon and is small, else the beginning of it."""
        pieces: list[bytes] = []
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_HELD_FOR):
                while size <= _HELD_BACK and not self.complete:
                    pieces.append(await self.read())
                    size += len(pieces[-1])
        return b"".join(pieces)

    async def read(self) -> bytes:
        """Return the next piece, empty at the end. No byte is lost when this is cancelled. Raises `UpstreamError`."""
        while not self.complete:
            try:
                for piece in self._pieces:
                    return piece
                packed = await self._answer.read()
                if packed:
                    self._pieces = self._editor.feed(packed)
                else:
                    self.complete = True
                    return self._editor.finish()
            except BrokenEncoding as error:
                raise UpstreamProtocolError(
                    "The shop's API sent an answer that can't be unpacked.", reason=str(error)
                ) from None
        return b""
