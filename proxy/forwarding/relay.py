"""Step 8 on the way of a request: the platform's answer goes to the client, as it comes.

Rules: a body goes as fast as the client takes it, and is never held as a whole. Where links are rewritten, the head
waits for the body up to `_HELD_BACK` bytes or `_HELD_FOR` seconds: if it ends within that, what the head says of it is
exact; if not, the rest goes without a length, and with a weak ETag, since nobody knows whether a link will come.
"""

import asyncio
from contextlib import suppress
from typing import Final

from proxy.errors import UpstreamProtocolError
from proxy.forwarding.exchange import Exchange
from proxy.forwarding.headers import Fields, client_response_fields, fields_named, first_named
from proxy.forwarding.rewriting import UNTOUCHED, Edit, ShopLinks, edit_of, edited_fields
from proxy.forwarding.unpacking import BrokenEncoding, Unpacker
from proxy.forwarding.upstream_response import UpstreamResponse

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
    edit = edit_of(answer.status, answer.fields, exchange.request.raw_headers)
    if edit == UNTOUCHED or exchange.request.method == "HEAD" or answer.status == 304:
        fields = edited_fields(fields, links, edit, changed=edit.rewrite)
        await _send(exchange, fields, length if edit == UNTOUCHED else None, answer.read_nowait(), answer)
        return
    body = EditedBody(answer, links, edit)
    first = await body.begin()
    fields = edited_fields(fields, links, edit, changed=body.changed or (edit.rewrite and not body.complete))
    await _send(exchange, fields, b"%d" % len(first) if body.complete else None, first, body)


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
        coding = b", ".join(fields_named(answer.fields, b"content-encoding"))
        self._unpacker = Unpacker(coding if edit.unpack else b"")
        self._unpacked = self._unpacker.feed(b"")
        self._rewriter = links.to_client.rewriter() if edit.rewrite else None
        self.complete = False

    @property
    def changed(self) -> bool:
        """Whether a link has been rewritten so far."""
        return self._rewriter is not None and self._rewriter.changed

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
                for unpacked in self._unpacked:
                    if piece := self._rewritten(unpacked):
                        return piece
                packed = await self._answer.read()
                if packed:
                    self._unpacked = self._unpacker.feed(packed)
                else:
                    self._unpacker.finish()
                    self.complete = True
            except BrokenEncoding as error:
                raise UpstreamProtocolError(
                    "The shop's API sent an answer that can't be unpacked.", reason=str(error)
                ) from None
        return self._rest()

    def _rewritten(self, piece: bytes) -> bytes:
        return piece if self._rewriter is None else self._rewriter.feed(piece)

    def _rest(self) -> bytes:
        return b"" if self._rewriter is None else self._rewriter.finish()
