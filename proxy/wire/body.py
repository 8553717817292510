"""A request body that can be sent twice.

A request is repeated with a fresh token after a 401, or on a new connection where the kept one was dead; either needs
the body again. So what was read from the client is kept: in memory up to `MEMORY_LIMIT` and as far as there is room,
else in a temporary file.

Rules: the client's bytes are read once, by one reader at a time, and never faster than they are sent on: a body above
the memory limit streams, and costs a few read buffers whatever its size. An attempt that begins later reads what is
kept first and goes on with the live rest; an attempt may be cancelled at any `await` without a byte being lost.
Nothing over `max_size` is taken. What it holds of memory and of the disk is asked for before, and given back when
nobody can need it any more.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

from proxy.errors import BodyTooLarge, Overloaded
from proxy.wire.incoming import Incoming
from proxy.wire.spool import Spool, unavailable, unnamed_file

MEMORY_LIMIT: Final = 1 << 20  # bytes
_FILE_READ_SIZE: Final = 1 << 18  # bytes
# What of a body may be on its way here; and from a wide stream, here and further on.
LEAST_MEMORY: Final = 1 << 17  # bytes
_WIDE: Final = 5 << 17

_T = TypeVar("_T")


class Room(Protocol):
    """What a request may hold; see `proxy.guards.budgets`. Raises `Overloaded`."""

    def memory(self, more: int) -> None:
        """Hold so many bytes more, or less, below 0."""

    def spool(self, more: int) -> None:
        """The same on the disk."""


class RequestBody:
    """The body of one client request; `announced` is its Content-Length, `None` if the client did not say.

    Raises `BodyTooLarge` if the announced length already is too much, and `Overloaded` if there is no room for it.
    """

    def __init__(self, stream: Incoming, spool: Spool, room: Room, *, announced: int | None, max_size: int) -> None:
        self._stream = stream
        self._spool = spool
        self._room = room
        self._announced = announced
        self._max_size = max_size
        self._complete = stream.complete
        self._received = 0
        self._too_much = False
        # The first `_in_file` bytes stand in the file, the rest of what was received in `_in_memory`.
        self._spooled = announced is not None and announced > MEMORY_LIMIT  # whether there is a file, or is to be one
        self._admitted = False
        self._file: int | None = None
        self._in_file = 0
        self._in_memory: list[bytes] = []
        self._file_work: asyncio.Future[Any] | None = None
        self._holds_memory = self._holds_spool = 0
        if announced is not None and announced > max_size:
            raise self._too_large()
        self._hold_memory()
        if self._spooled:
            self._hold_spool()

    @property
    def length(self) -> int | None:
        """The length in bytes, as soon as it is known."""
        return self._received if self._complete else self._announced

    @property
    def received(self) -> int:
        """The number of bytes read from the client so far."""
        return self._received

    @property
    def complete(self) -> bool:
        """Whether the client has sent all of it."""
        return self._complete

    async def read_ahead(self) -> bytes | None:
        """Read a body that is small, and return it if it is kept in memory; else `None`, it streams then.

        So no upstream connection waits for a client that is slow to send a small body. Raises as `chunks` does.
        """
        while not self._complete and self._received <= MEMORY_LIMIT:
            await self._receive()
        if self._spooled:
            return None
        content = b"".join(self._in_memory)
        self._in_memory = [content]
        self._hold_memory(0)
        return content

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the whole body from its first byte: what is kept, then the rest as the client sends it.

        Raises `BodyTooLarge`; `BadRequest` if the client's framing is broken; `ConnectionError` if it is gone;
        `Overloaded` if there is no room to keep it, `StorageUnavailable` if that can't be done.
        """
        position = 0
        while True:
            while position < self._received:
                chunk = await self._kept_from(position)
                position += len(chunk)
                yield chunk
            if self._complete:
                return
            chunk = await self._receive()
            position += len(chunk)
            if chunk:
                yield chunk

    def close(self) -> None:
        """Forget what was kept, and give back what it took. No attempt begins after this, and none goes on."""
        self._in_memory = []
        self._room.memory(-self._holds_memory)
        self._room.spool(-self._holds_spool)
        self._holds_memory = self._holds_spool = 0
        if self._file_work is None or self._file_work.done():
            self._close_file()
        else:
            # A thread still uses the descriptor: closed under it, the number could by then be another file's.
            self._file_work.add_done_callback(lambda _: self._close_file())

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._spool.close(file, self._in_file)
        elif self._admitted:
            self._spool.leave()
        self._admitted = False

    async def _receive(self) -> bytes:
        """Read what the client has sent and keep it; empty at the end."""
        if self._too_much:
            raise self._too_large()  # also to an attempt that begins later: what was read then is not kept
        chunk = await self._stream.read()
        if not chunk:
            self._complete = True
            return chunk
        if self._received + len(chunk) > self._max_size:
            self._too_much = True
            raise self._too_large()
        # From here the chunk is accounted for, whenever the caller is cancelled.
        self._in_memory.append(chunk)
        self._received += len(chunk)
        if self._spooled or self._received > MEMORY_LIMIT or not self._fits_in_memory():
            await self._move_to_file()
        return chunk

    def _fits_in_memory(self) -> bool:
        try:
            self._hold_memory()
        except Overloaded:
            return False
        return True

    async def _move_to_file(self) -> None:
        """Write what is in memory to the file. Raises `Overloaded`, and `StorageUnavailable` if that can't be done.

        Should the caller be cancelled, the same bytes are written to the same place again by the next call.
        """
        self._spooled = True
        self._hold_spool()
        if not self._admitted:
            await self._spool.admit()
            self._admitted = True
        pending, position = list(self._in_memory), self._in_file
        await self._in_thread(lambda: self._write(pending, position))
        written = sum(map(len, pending))
        self._in_file += written
        self._spool.grew(written)
        self._in_memory = []
        self._hold_memory()
        if not self._stream.wide and self._received > LEAST_MEMORY:
            self._widen()

    def _write(self, pieces: list[bytes], position: int) -> None:
        """Write to the file, which is made if need be; in a thread."""
        if self._file is None:
            self._file = unnamed_file()
        self._spool.write(self._file, pieces, position)

    async def _kept_from(self, position: int) -> bytes:
        if position >= self._in_file:
            return b"".join(self._in_memory)[position - self._in_file :]
        file, size = self._file, min(_FILE_READ_SIZE, self._in_file - position)
        assert file is not None  # noqa: S101 - for the type checker: something stands in the file
        return await self._in_thread(lambda: os.pread(file, size, position))

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        if self._file_work is not None and not self._file_work.done():
            # A caller who was cancelled left it behind. One at a time, or `close` would not know of them all.
            await asyncio.wait([self._file_work])
        try:
            self._file_work = future = self._spool.do(work)
            # Shielded: a cancelled caller must not mark as done what a thread still does.
            return await asyncio.shield(future)
        except OSError as error:
            raise unavailable(error) from None

    def _hold_memory(self, most_on_its_way: int | None = None) -> None:
        """Hold what is kept in memory, and what may be on its way. Raises `Overloaded`; then it is what it was."""
        if most_on_its_way is None:
            most_on_its_way = _WIDE if self._stream.wide else LEAST_MEMORY
        if self._announced is not None:
            most_on_its_way = min(most_on_its_way, self._announced - self._received)
        amount = self._received - self._in_file + most_on_its_way
        if amount != self._holds_memory:
            self._room.memory(amount - self._holds_memory)
            self._holds_memory = amount

    def _hold_spool(self) -> None:
        """Hold room for all of it as far as that is known. Raises `Overloaded`; then it is what it was."""
        amount = max(self._received, self._announced or 0)
        if amount != self._holds_spool:
            self._room.spool(amount - self._holds_spool)
            self._holds_spool = amount

    def _widen(self) -> None:
        """Take more at a time from who sends much, if there is room."""
        with suppress(Overloaded):
            self._hold_memory(_WIDE)
            self._stream.wide = True

    def _too_large(self) -> BodyTooLarge:
        return too_large(self._max_size)


def too_large(max_size: int) -> BodyTooLarge:
    """Return the error for a body of more than `max_size` bytes."""
    return BodyTooLarge(f"The request body is larger than {max_size} bytes (upstream.max_body_size).")
