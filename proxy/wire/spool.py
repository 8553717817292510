"""The temporary files of request bodies, and the threads that make, write, read and close them.

Rules: a file has mode 0600 and no name, so that nothing of it is seen or left, however the process ends. Nothing that
may wait for the disk is done in the event loop, nor in threads that others need: a slow disk slows large bodies alone.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable
from typing import Final, TypeVar

from proxy.threads import Crew
from proxy.wire.descriptors import Descriptors

_THREADS: Final = 8

_T = TypeVar("_T")


class Spool:
    """Has files made, written, read and closed. Each takes one of the `descriptors`, before it is made."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
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

    def close(self, file: int) -> None:
        """Close a file; what it held may take long to be let go of."""
        try:
            closing = self._crew.do(lambda: os.close(file))
        except OSError:  # there is no thread at all
            os.close(file)
            self._descriptors.give()
        else:
            closing.add_done_callback(lambda _: self._descriptors.give())

    def end(self) -> None:
        """Let the threads end when they have done all; nobody waits for them."""
        self._crew.dismiss()


def unnamed_file() -> int:
    """Make a file, in a thread of the spool; return its descriptor. Raises `OSError`."""
    with tempfile.TemporaryFile(prefix="shop-auth-proxy-") as file:
        return os.dup(file.fileno())


def write_all(file: int, pieces: list[bytes], position: int) -> None:
    """Write all of the pieces, in a thread of the spool. Raises `OSError`."""
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            written = os.pwrite(file, rest, position)
            rest, position = rest[written:], position + written
