"""A request body that can be sent twice.

A request is repeated with a fresh token after a 401, or on a new connection where the kept one was dead; either needs
the body again. So what was read from the client is kept: in memory up to `MEMORY_LIMIT`, above it in a temporary file
without a name.

Rules: the client's bytes are read once, by one reader at a time, and never faster than they are sent on: a body above
the memory limit streams, and costs a few read buffers whatever its size. An attempt that begins later reads what is
kept first and goes on with the live rest; an attempt may be cancelled at any `await` without a byte being lost.
Nothing over `max_size` is taken. The file is written and read in worker threads, so that a slow disk slows this
request alone.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, TypeVar

from proxy.errors import BodyTooLarge, InternalError
from proxy.wire.incoming import Incoming

MEMORY_LIMIT: Final = 1 << 20  # bytes
_FILE_READ_SIZE: Final = 1 << 18  # bytes

_T = TypeVar("_T")


class RequestBody:
    """The body of one client request; `announced` is its Content-Length, `None` if the client did not say.

    Raises `BodyTooLarge` if the announced length already is too much.
    """

    def __init__(self, stream: Incoming, *, announced: int | None, max_size: int) -> None:
        self._stream = stream
        self._announced = announced
        self._max_size = max_size
        self._complete = stream.complete
        self._received = 0
        self._too_much = False
        # The first `_in_file` bytes stand in the file, the rest of what was received in `_in_memory`.
        self._file: int | None = None
        self._in_file = 0
        self._in_memory: list[bytes] = []
        self._file_work: asyncio.Future[Any] | None = None
        if announced is not None and announced > max_size:
            raise self._too_large()

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
        """Read all of a body that fits in memory, and return it; `None` for a larger one, which then streams.

        So no upstream connection waits for a client that is slow to send a small body. Raises as `chunks` does.
        """
        while not self._complete and self._file is None:
            await self._receive()
        return b"".join(self._in_memory) if self._file is None else None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the whole body from its first byte: what is kept, then the rest as the client sends it.

        Raises `BodyTooLarge`; `BadRequest` if the client's framing is broken; `ConnectionError` if it is gone;
        `InternalError` if there is no room to keep it.
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
        """Forget what was kept."""
        self._in_memory = []
        if self._file is None:
            return
        file, self._file = self._file, None
        if self._file_work is None or self._file_work.done():
            os.close(file)
        else:
            # A thread still uses the descriptor: closed under it, the number could by then be another file's.
            self._file_work.add_done_callback(lambda _: os.close(file))

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
        if self._file is not None or self._received > MEMORY_LIMIT:
            await self._move_to_file()
        return chunk

    async def _move_to_file(self) -> None:
        # Should the caller be cancelled, the same bytes are written to the same place again by the next call.
        pending = list(self._in_memory)
        try:
            if self._file is None:
                self._file = _unnamed_file()
            file, position = self._file, self._in_file
            await self._in_thread(lambda: _write_all(file, pending, position))
        except OSError as error:
            raise InternalError(
                "The proxy has no room to keep the request body.", reason=f"temporary file: {error}"
            ) from None
        self._in_file += sum(map(len, pending))
        self._in_memory = []

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
        future = asyncio.get_running_loop().run_in_executor(None, work)
        self._file_work = future
        # Shielded: a cancelled caller must not mark as done what a thread still does.
        return await asyncio.shield(future)

    def _too_large(self) -> BodyTooLarge:
        return too_large(self._max_size)


def too_large(max_size: int) -> BodyTooLarge:
    """Return the error for a body of more than `max_size` bytes."""
    return BodyTooLarge(f"The request body is larger than {max_size} bytes (upstream.max_body_size).")


def _unnamed_file() -> int:
    # Mode 0600 and unlinked as soon as it is made: nothing of it is seen or left, however the process ends.
    with tempfile.TemporaryFile(prefix="shop-auth-proxy-") as file:
        return os.dup(file.fileno())


def _write_all(file: int, chunks: list[bytes], position: int) -> None:
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            written = os.pwrite(file, rest, position)
            rest, position = rest[written:], position + written
