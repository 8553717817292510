"""Step 8 on the way of a request: the platform's answer goes to the client, as it comes.

Rules: a body goes as fast as the client takes it, and is never held as a whole. Where links are rewritten, the head
waits for the body up to `_HELD_BACK` bytes or `_HELD_FOR` seconds: if it ends within that, what the head says of it is
exact; if not, the rest goes without a length, and with a weak ETag, since nobody knows whether a link will come.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

from proxy.errors import UpstreamProtocolError
from proxy.forwarding.exchange import Exchange
from proxy.forwarding.upstream import UpstreamResponse
from proxy.links.answers import ANSWER_FIELDS, Edit, added_fields, edit_of, edited_field
from proxy.links.body_editor import BodyEditor
from proxy.links.shop_links import ShopLinks
from proxy.links.unpacking import BrokenEncoding
from proxy.wire.head import Head

_HELD_BACK: Final = 1 << 18  # bytes
_HELD_FOR: Final = 0.05  # seconds


async def relay(exchange: Exchange, answer: UpstreamResponse, links: ShopLinks | None) -> None:
    """Send the answer to the client; with its links rewritten, if there are `links`.

    Raises `UpstreamError`, and `ConnectionError` if the client is gone.
    """
    if exchange.body is not None and not exchange.body.complete:
        exchange.response.refuse_rest()  # answered early
    if links is None:
        if (
            answer.content is not None and not exchange.newly_not_permitted
        ):  # the ordinary case, with nothing to wait for
            exchange.response.start(
                answer.status,
                answer.reason,
                answer.head.passing,
                length=_announced(answer),
                first=answer.content,
                complete=True,
            )
        else:
            await _pass(exchange, answer, _announced(answer))
        return
    edit = edit_of(answer.status, answer.head.values, exchange.request.head.values)
    if edit.passes or exchange.request.method == "HEAD" or answer.status == 304:
        _edit_head(answer.head, links, edit, changed=edit.rewrite)
        await _pass(exchange, answer, _announced(answer) if edit.passes else None)
    else:
        await _pass_edited(exchange, answer, links, edit)


def _announced(answer: UpstreamResponse) -> bytes | None:
    """Return the length that the answer announces, if it does."""
    return None if answer.length is None or answer.length < 0 else answer.head.first.get(b"content-length")


async def _pass(exchange: Exchange, answer: UpstreamResponse, length: bytes | None) -> None:
    """Send the answer with its body as it is."""
    response, head, content, body = exchange.response, answer.head, answer.content, answer.body
    if body is None:
        first, complete = content or b"", True
    else:
        first, complete = body.read_nowait(), body.complete
    exchange.note_body(first)
    response.start(answer.status, answer.reason, head.passing, length=length, first=first, complete=complete)
    if body is not None and not complete:
        while piece := await body.read():
            exchange.note_body(piece)
            await response.write(piece)
        response.finish()


async def _pass_edited(exchange: Exchange, answer: UpstreamResponse, links: ShopLinks, edit: Edit) -> None:
    """Send the answer with its body unpacked, and its links rewritten."""
    editor = BodyEditor(links, edit, b", ".join(answer.head.values(b"content-encoding")))
    response = exchange.response
    try:
        whole = None if answer.content is None else editor.whole(answer.content, _HELD_BACK)
        body = EditedBody(answer, editor)
        first, complete = (await body.begin(), body.complete) if whole is None else (whole, True)
        _edit_head(answer.head, links, edit, changed=editor.changed or (edit.rewrite and not complete))
        exchange.note_body(first)
        length = b"%d" % len(first) if complete else None
        lines = answer.head.passing
        response.start(answer.status, answer.reason, lines, length=length, first=first, complete=complete)
        if not complete:
            while piece := await body.read():
                exchange.note_body(piece)
                await response.write(piece)
            response.finish()
    except BrokenEncoding as error:
        raise UpstreamProtocolError(
            "The shop's API sent an answer that can't be unpacked.", reason=str(error)
        ) from None


class EditedBody:
    """The body of an answer, edited as it comes. No byte is lost when a reader is cancelled."""

    def __init__(self, answer: UpstreamResponse, editor: BodyEditor) -> None:
        self._answer = answer
        self._editor = editor
        self._pieces = editor.feed(answer.content or b"")
        self.complete = False

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
        """Return the next piece, empty at the end. Raises `UpstreamError` and `BrokenEncoding`."""
        while not self.complete:
            for piece in self._pieces:
                return piece
            packed = b"" if self._answer.body is None else await self._answer.body.read()
            if not packed:
                self.complete = True
                return self._editor.finish()
            self._pieces = self._editor.feed(packed)
        return b""


def _edit_head(head: Head, links: ShopLinks, edit: Edit, *, changed: bool) -> None:
    """Have the head of the answer say what is so of the edited body."""
    for known in ANSWER_FIELDS & head.first.keys():
        head.change(known, partial(edited_field, known, links=links, edit=edit, changed=changed))
    for name, value in added_fields(head.values, edit, changed=changed):
        head.add(name, value)
