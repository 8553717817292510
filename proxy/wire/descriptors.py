"""File descriptors as the wire sees them: one is taken before anything is opened; and what it means if none is left."""

import errno
from typing import Final, Protocol

from proxy.errors import Overloaded

_NONE_LEFT: Final = (errno.EMFILE, errno.ENFILE)


class Descriptors(Protocol):
    """How many files may be open; see `proxy.guards.descriptors`. Taking raises `Overloaded`."""

    async def take(self) -> None: ...
    async def take_for_file(self) -> None: ...
    def give(self) -> None: ...


def none_left(error: BaseException) -> Overloaded | None:
    """Return what clients are told if an error means that the system has no descriptor left; else `None`."""
    if isinstance(error, OSError) and error.errno in _NONE_LEFT:
        return Overloaded("The proxy has run out of file descriptors (ulimit -n).", retry_after=1.0)
    return None
