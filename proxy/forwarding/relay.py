"""Step 8 on the way of a request: the platform's answer goes to the client, as it comes.

Rules: a body goes as fast as the client takes it, and is never held as a whole. Where links are rewritten, the head
waits for the body up to `_HELD_BACK` bytes or `_HELD_FOR` seconds: if it ends within that, what the head says of it is
exact; if not, the rest goes without a length, and with a weak ETag, since nobody knows whether a link will come.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.errors import UpstreamProtocolError
from proxy.forwarding.batches import BatchAnswer
from proxy.forwarding.challenges import ask_as_this_proxy
from proxy.forwarding.exchange import Exchange
from proxy.forwarding.upstream import UpstreamResponse
from proxy.links.answers import ANSWER_FIELDS, UNTOUCHED, Edit, added_fields, edit_of, edited_field
from proxy.links.body_editor import BodyEditor
from proxy.links.shop_links import ShopLinks
from proxy.links.unpacking import BrokenEncoding
from proxy.wire.head import Head

if TYPE_CHECKING:
    from proxy.wire.incoming import Incoming

_HELD_BACK: Final = 1 << 18  # bytes
_HELD_FOR: Final = 0.05  # seconds


def relay(exchange: Exchange, answer: UpstreamResponse, links: ShopLinks | None) -> Awaitable[None] | None:
    """Send the answer to the client; with its links rewritten, if there are `links`.

    Return what of that is still to be awaited, `None` if nothing is, as where all of the answer is here. Raises
    `UpstreamError`, and `ConnectionError` if the client is gone.
    """
    if exchange.body is not None:
        if not exchange.body.complete:
            exchange.response.refuse_rest()  # answered early
        answer.when_sent(exchange.body.close)  # no attempt needs it any more
    assert exchange.route is not None and exchange.target is not None  # noqa: S101, PT018 - for the type checker
    if answer.status == 401 or b"www-authenticate" in answer.head.first:
        ask_as_this_proxy(answer.head, answer.status, exchange.route.shop.key)
    edit = UNTOUCHED
    if links is not None:
        edit = edit_of(answer.status, answer.head.values, exchange.request.head.values, exchange.target.rest)
    if exchange.request.method == "POST" and exchange.route.shop.platform.is_batch(exchange.target.rest):
        exchange.batch = BatchAnswer(b"" if edit.unpack else b", ".join(answer.head.values(b"content-encoding")))
    if links is not None:
        if not (edit.passes or exchange.request.method == "HEAD" or answer.status == 304):
            return _pass_edited(exchange, answer, links, edit)
        _edit_head(answer.head, links, edit, changed=edit.rewrite)
    body = answer.body
    # Whether a length was announced; that of a body which may be edited is not known.
    known = (links is None or edit.passes) and answer.length is not None and answer.length >= 0
    length = answer.head.first[b"content-length"] if known else None
    if body is None:  # the ordinary case, with nothing to wait for
        _start(exchange, answer, answer.content or b"", length=length, complete=True)
        return None
    first = body.read_nowait()
    complete = body.complete
    _start(exchange, answer, first, length=length, complete=complete)
    return None if complete else _pass_rest(exchange, body)


async def _pass_edited(exchange: Exchange, answer: UpstreamResponse, links: ShopLinks, edit: Edit) -> None:
    """Send the answer with its body unpacked, and its links rewritten."""
    editor = BodyEditor(links, edit, b", ".join(answer.head.values(b"content-encoding")))
    try:
        whole = None if answer.content is None else editor.whole(answer.content, _HELD_BACK)
        body = EditedBody(answer, editor) if whole is None else None
        first = await body.begin() if body is not None else whole or b""
        complete = body is None or body.complete
        _edit_head(answer.head, links, edit, changed=editor.changed or (edit.rewrite and not complete))
        _start(exchange, answer, first, length=b"%d" % len(first) if complete else None, complete=complete)
        del first, whole
        if body is not None and not complete:
            await _pass_rest(exchange, body)
    except BrokenEncoding as error:
        raise UpstreamProtocolError(
            "The shop's API sent an answer that can't be decompressed.", reason=str(error)
        ) from None


def _start(exchange: Exchange, answer: UpstreamResponse, first: bytes, *, length: bytes | None, complete: bool) -> None:
    """Send the head of the answer, and so much of its body."""
    exchange.note_body(first)
    head = answer.head
    exchange.response.start(
        answer.status,
        answer.reason,
        head.passing,
        length=length,
        first=first,
        complete=complete,
        dated=b"date" in head.first,
    )


async def _pass_rest(exchange: Exchange, body: "Incoming | EditedBody") -> None:
    """Send what is left of the body as it comes, and as fast as the client takes it."""
    response, connection = exchange.response, exchange.request.connection
    while True:
        if connection.can_write is not None:
            body.pause()
            await exchange.until_taken()
        piece = await body.read()
        if not piece:
            break
        exchange.note_body(piece)
        response.write(piece)
        del piece  # nobody needs it while the client is slow
    response.finish()


class EditedBody:
    """The body of an answer, edited as it comes. No byte is lost when a reader is cancelled."""

    def __init__(self, answer: UpstreamResponse, editor: BodyEditor) -> None:
        self._answer = answer
        self._editor = editor
        self._pieces = editor.feed(answer.content or b"")
        self._follows = False  # whether the next piece is of what came with the last one
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

    def pause(self) -> None:
        """Have no more come before it is read."""
        if self._answer.body is not None:
            self._answer.body.pause()

    async def read(self) -> bytes:
        """Return the next piece, empty at the end. Raises `UpstreamError` and `BrokenEncoding`."""
        while not self.complete:
            if self._follows:
                await asyncio.sleep(0)  # a little that came may be a thousand times as much unpacked
            for piece in self._pieces:
                self._follows = True
                return piece
            packed = b"" if self._answer.body is None else await self._answer.body.read()
            if not packed:
                self.complete = True
                return self._editor.finish()
            self._pieces, self._follows = self._editor.feed(packed), False
        return b""


def _edit_head(head: Head, links: ShopLinks, edit: Edit, *, changed: bool) -> None:
    """Have the head of the answer say what is so of the edited body."""
    if not ANSWER_FIELDS.isdisjoint(head.first):
        head.change(ANSWER_FIELDS, partial(edited_field, links=links, edit=edit, changed=changed))
    for name, value in added_fields(head.values, edit, changed=changed):
        head.add(name, value)
