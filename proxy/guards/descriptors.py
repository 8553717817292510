"""File descriptors: how many the system lets us have, and who may take one.

Rules: a connection of a client needs one, and while its request is served another one, to the platform; a large body
needs a third, for its file. Were there none left, the system would accept no connection any more, and nobody could make
room for anybody. So the process takes what it needs of what it may have; if that is too little, there are fewer places
for connections, and the log says so. All that is open is counted. Connections to platforms that are only kept make room
first, for whoever needs a descriptor. Where that does not help, who needs one waits a while and is then refused, which
is no fault of the platform's; but a client's connection and a token request, whose numbers are bounded, have theirs at
once. Files may take a part only, so that what they belong to can go on to the platform and end.
"""

import asyncio
import resource
from collections import deque
from collections.abc import Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

from proxy.errors import Overloaded

_FOR_EACH: Final = 2
_FOR_THE_REST: Final = 64  # listener, log, event loop, lookups, files that are read, and what is just being closed
_FILES_UP_TO: Final = 7 / 8  # of what is taken in all; the rest is for connections
_PATIENCE: Final = 5.0  # seconds
_LOOK_AGAIN: Final = 0.05  # seconds
_TRY_AGAIN: Final = 1.0  # seconds

_EndOne = Callable[[], bool]


class _Line:
    """Those who wait for a descriptor; it goes on while less than `limit` are taken."""

    def __init__(self) -> None:
        self.limit = float("inf")
        self.waiting: deque[asyncio.Future[None]] = deque()


class Descriptors:
    """Those that may be open at once; before `keep_to` there is no limit.

    `make_room` has functions that each end a connection which is only kept, if there is one, and tell whether.
    """

    def __init__(self) -> None:
        self._for_connections, self._for_files = _Line(), _Line()
        self.taken = self.refused = 0
        self.make_room: list[_EndOne] = []

    @property
    def limit(self) -> float:
        """How many may be open."""
        return self._for_connections.limit

    def keep_to(self, connections: int, log: FilteringBoundLogger) -> int:
        """Make room for so many connections of clients as far as the system lets us; return for how many there is."""
        room = room_for(connections, log)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = float("inf") if soft == resource.RLIM_INFINITY else max(soft - _FOR_THE_REST, _FOR_EACH)
        self._for_connections.limit, self._for_files.limit = limit, limit * _FILES_UP_TO
        return room

    def note(self) -> None:
        """Take note of one that is open, or is about to be, whatever the limit is."""
        self.taken += 1
        if self.taken > self._for_connections.limit:
            self._end_one()

    async def take(self) -> None:
        """Take one for a connection to a platform; wait for it. Raises `Overloaded`."""
        await self._take(self._for_connections)

    async def take_for_file(self) -> None:
        """Take one for a file; wait for it. Raises `Overloaded`."""
        await self._take(self._for_files)

    def give(self) -> None:
        """Take note that one is closed."""
        self.taken -= 1
        for line in (self._for_connections, self._for_files):
            while line.waiting and self.taken < line.limit:
                self.taken += 1
                line.waiting.popleft().set_result(None)

    async def _take(self, line: _Line) -> None:
        if self.taken < line.limit and not line.waiting:
            self.taken += 1
            return
        loop = asyncio.get_running_loop()
        waiter, until = loop.create_future(), loop.time() + _PATIENCE
        line.waiting.append(waiter)
        try:
            while not waiter.done():
                if loop.time() >= until:
                    self.refused += 1
                    raise Overloaded("The proxy has run out of file descriptors (ulimit -n).", retry_after=_TRY_AGAIN)
                self._end_one()  # again and again: some come to be idle meanwhile
                await asyncio.wait([waiter], timeout=_LOOK_AGAIN)
        except BaseException:
            if waiter.cancel():
                line.waiting.remove(waiter)
            else:  # it was given one just now
                self.give()
            raise

    def _end_one(self) -> None:
        any(end() for end in self.make_room)


def room_for(connections: int, log: FilteringBoundLogger) -> int:
    """Make room for so many connections as far as the system lets us; return for how many there is, 1 at least."""
    needed = connections * _FOR_EACH + _FOR_THE_REST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):  # macOS has one more limit
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    room = max((soft - _FOR_THE_REST) // _FOR_EACH, 1)
    log.warning(
        "connections.limited",
        setting="server.max_connections",
        wanted=connections,
        limit=room,
        reason=f"only {soft} files can be open at once: allow {needed} (ulimit -n, or LimitNOFILE= in systemd)",
    )
    return room
