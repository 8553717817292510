"""The temporary files of request bodies, and the threads that make, write, read and close them.

Rules: a file has mode 0600 and no name, so that nothing of it is seen or left, however the process ends. Nothing that
may wait for the disk is done in the event loop, nor in threads that others need: a slow disk slows large bodies alone.
What the system has not written yet counts as memory of the control group, and where that is full, whoever asks for
memory waits for the disk, the event loop too. So where there is much of it, each write waits until the disk has it.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable
from typing import Final, TypeVar

from proxy.errors import Overloaded, StorageUnavailable
from proxy.threads import Crew
from proxy.wire.descriptors import Descriptors, none_left

_THREADS: Final = 8
_TRY_AGAIN: Final = 10.0  # seconds

_T = TypeVar("_T")


class Spool:
    """Has files made, written, read and closed. Each takes one of the `descriptors`, before it is made.

    While more than `unwritten` bytes lie in files, none of what is added waits for the disk in the system's memory.
    """

    def __init__(self, descriptors: Descriptors, unwritten: int) -> None:
        self._descriptors = descriptors
        self._unwritten = unwritten
        self._size = 0  # of all files
        self._crew = Crew("spool", _THREADS)

    async def admit(self) -> None:
        """Take a descriptor for a file, which `close` or `leave` gives back. Raises `Overloaded`."""
        await self._descriptors.take_for_file()

    def leave(self) -> None:
        """Give back the descriptor of a file that was not made."""
        self._descriptors.give()

    def do(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        """Have something done with a file that may take long; what comes of it. Raises `OSError`."""
        return self._crew.do(work)

    def write(self, file: int, pieces: list[bytes], position: int) -> None:
        """Write all of the pieces, in a thread. Raises `OSError`."""
        _write_all(file, pieces, position)
        if self._size > self._unwritten:
            os.fdatasync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)

    def grew(self, more: int) -> None:
        """Take note of so many bytes that a file has now."""
        self._size += more

    def close(self, file: int, size: int) -> None:
        """Close a file of `size` bytes; what it held may take long to be let go of."""
        try:
            closing = self._crew.do(lambda: os.close(file))
        except OSError:  # there is no thread at all
            os.close(file)
            self._closed(size)
        else:
            closing.add_done_callback(lambda _: self._closed(size))

    def _closed(self, size: int) -> None:
        self._size -= size
        self._descriptors.give()

    def end(self) -> None:
        """Let the threads end when they have done all; nobody waits for them."""
        self._crew.dismiss()


def unnamed_file() -> int:
    """Make a file, in a thread of the spool; return its descriptor. Raises `OSError`."""
    with tempfile.TemporaryFile(prefix="shop-auth-proxy-") as file:
        return os.dup(file.fileno())


def _write_all(file: int, pieces: list[bytes], position: int) -> None:
    """Write all of the pieces, in a thread of the spool. Raises `OSError`."""
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            written = os.pwrite(file, rest, position)
            rest, position = rest[written:], position + written


def unavailable(error: OSError) -> StorageUnavailable | Overloaded:
    """Return what clients are told, and the operator, if something can't be done with a file."""
    return none_left(error) or StorageUnavailable(
        "The proxy has no room to keep the request body: its disk is full or failing. Small bodies still pass.",
        reason=f"temporary file in {tempfile.tempdir or 'no directory'}: {error.strerror or error}; free some"
        " space there, or start the proxy with TMPDIR set to a directory that has some",
        retry_after=_TRY_AGAIN,
    )
