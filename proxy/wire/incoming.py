"""A body on its way in, from a client or from an upstream: how it ends, what of it has come, and who waits for it.

Rules: it has one reader at a time, and no byte is lost when the reader is cancelled. What comes faster than it is read
is held up to `HIGH_WATER`, or `_NARROW`; then whoever sends it is not listened to, as after `pause`, until it is read.
Whatever goes wrong ends the wait of the reader at once, behind what came in order.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.wire.chunked import BrokenFramingError, Chunked

HIGH_WATER: Final = 1 << 17  # bytes
_NARROW: Final = 1 << 16
_MANY: Final = 256  # chunks, in one read
PIECE_COST: Final = 64  # bytes of memory beside its content; somebody might send one byte at a time


class Incoming:
    """A body of `length` bytes; of as many as come until its end is told, where that is `None`; or in a coding.

    `listen` is called with False when enough is there, with True when more can come. It is `wide` if more is taken at a
    time; that may be set at any time. It is `dense` if it comes in so many chunks that to take them takes long: then it
    is read a little at a time, and others are served in between. `total` counts the content that came so far.
    """

    __slots__ = (
        "_chunked",
        "_discards",
        "_error",
        "_held",
        "_left",
        "_listen",
        "_listening",
        "_pieces",
        "_waiter",
        "dense",
        "ended",
        "total",
        "wide",
    )

    def __init__(
        self,
        length: int | None,
        listen: Callable[[bool], object],
        *,
        chunked: Chunked | None = None,
        wide: bool = True,
    ) -> None:
        self._left = length
        self._chunked = chunked
        self._listen = listen
        self._listening = True
        self._discards = False
        self._pieces: list[bytes] = []
        self._held = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self.dense = False
        self.total = 0
        self.wide = wide
        self.ended = length == 0 and chunked is None

    @property
    def complete(self) -> bool:
        """Whether all of it came, and was read."""
        return self.ended and not self._pieces and self._error is None

    @property
    def wanted(self) -> bool:
        """Whether more of it could be taken, and is missing."""
        return self._listening and not self.ended and self._error is None

    def feed(self, data: bytes) -> bytes:
        """Take what came; return what is behind the end. Raises `BrokenFramingError`."""
        if self._chunked is not None:
            pieces, rest = self._chunked.feed(data)
            self.dense = len(pieces) > _MANY
            self._take(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            self.ended = self._chunked.ended
        elif self._left is None:
            rest = b""
            self._take(data)
        else:
            rest = data[self._left :]
            piece = data[: self._left] if rest else data
            self._left -= len(piece)
            self._take(piece)
            self.ended = self._left == 0
        self._wake()
        if self._held > (HIGH_WATER if self.wide else _NARROW) or (self.dense and not self._discards):
            self.pause()
        return rest

    def pause(self) -> None:
        """Have whoever sends it wait, until it is read again."""
        if self._listening and not self.ended:
            self._listening = False
            self._listen(False)

    def end(self) -> None:
        """Take note that nothing more can come. Raises `BrokenFramingError` if something is missing."""
        if not self.ended and (self._left is not None or self._chunked is not None):
            raise BrokenFramingError
        self.ended = True
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Take note that the rest will not come: whoever reads on gets the error. The first one counts."""
        if self._error is None and not self.ended:
            self._error = error
            self._wake()

    def read_nowait(self) -> bytes:
        """Return what has come and was not read, maybe nothing. Raises what `fail` was told."""
        pieces = self._pieces
        if not pieces:
            if self._error is not None:
                raise self._error
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self._held = 0
        self._go_on()
        return data

    def unread(self, data: bytes) -> None:
        """Put back what was read."""
        if data:
            self._pieces.insert(0, data)
            self._held += len(data)

    async def read(self) -> bytes:
        """Return what has come since the last call, empty at the end; wait for it. Raises what `fail` was told."""
        while not (self._pieces or self.ended or self._error is not None):
            self._go_on()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.read_nowait()

    def discard(self) -> None:
        """Keep nothing of what came and of what will."""
        self._discards = True
        self._pieces = []
        self._held = 0

    def _take(self, piece: bytes) -> None:
        if not piece:
            return
        self.total += len(piece)
        if not self._discards:
            self._pieces.append(piece)
            self._held += len(piece) + PIECE_COST

    def _go_on(self) -> None:
        if not self._listening:
            self._listening = True
            self._listen(True)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
