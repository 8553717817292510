"""Connections to upstreams that are kept for the next request.

Rules: those to different origins, or through different egress proxies, are never mixed up. The one that was used last
is used first, so that those that are not needed grow old. None is idle for longer than `_MAX_IDLE`, and none is older
than `_MAX_AGE`: a change in DNS is seen within minutes, however steady the traffic. Above so many in all as memory is
meant for, and when others need what a connection takes, the one ends that was not used for longest.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.wire.sockets import has_come
from proxy.wire.upstream_connection import UpstreamConnection

if TYPE_CHECKING:
    from proxy.wire.upstream_errors import Way

_MAX_IDLE: Final = 15.0  # seconds; most servers keep one for longer
_MAX_AGE: Final = 180.0  # seconds
_SWEEP: Final = 5.0  # seconds between two looks for those that are idle for too long


class Destination(NamedTuple):
    """Where a connection goes, and by which way; `None`: directly."""

    scheme: str
    host: str
    port: int
    way: "Way | None"


class Pool:
    """The kept connections, `most` of them at once. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float], most: int) -> None:
        self._clock = clock
        self._most = most
        self._idle: dict[Destination, list[UpstreamConnection]] = {}  # the one that was used last is the last
        self._kept: dict[UpstreamConnection, Destination] = {}  # the same, over all
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    def take(
        self, destination: Destination, *, idle_for: float = _MAX_IDLE, surely: bool = False
    ) -> UpstreamConnection | None:
        """Return a kept connection that was idle for less than `idle_for` seconds; it is the caller's then.

        `surely` if it is to be one on which nothing has arrived, as its end would have: that costs a system call.
        """
        kept = self._idle.get(destination)
        if not kept:
            return None
        latest = self._clock() - idle_for
        while kept and (kept[-1].idle_since or 0.0) > latest:
            connection = kept.pop()
            connection.idle_since = None
            del self._kept[connection]
            if connection.transport.is_closing():  # it has ended just now, and not told yet
                continue
            if surely and has_come(connection.transport):
                connection.abort()
                continue
            return connection
        return None

    def keep(self, destination: Destination, connection: UpstreamConnection) -> None:
        """Keep a connection that is `reusable`, unless it is too old."""
        now = self._clock()
        if self._closed or now - connection.made_at >= _MAX_AGE:
            connection.abort()
            return
        if len(self._kept) >= self._most:
            self.make_room()
        connection.idle_since = now
        self._kept[connection] = destination
        self._idle.setdefault(destination, []).append(connection)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)

    def make_room(self) -> bool:
        """End the connection that was not used for longest; tell whether there was one."""
        connection = next(iter(self._kept), None)
        if connection is None:
            return False
        self._end(connection)
        return True

    def lost(self, destination: Destination, connection: UpstreamConnection) -> None:
        """Take note that a connection has ended."""
        if connection.idle_since is not None:
            connection.idle_since = None
            del self._kept[connection]
            self._idle[destination].remove(connection)

    def close(self) -> None:
        """End what is idle; what is in use ends when it is given back."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._kept):
            self._end(connection)

    def _end(self, connection: UpstreamConnection) -> None:
        self.lost(self._kept[connection], connection)
        connection.abort()

    def _sweep(self) -> None:
        """End what was not needed for long."""
        self._sweeping = None
        now = self._clock()
        for connection in list(self._kept):
            too_long = connection.idle_since is not None and now - connection.idle_since >= _MAX_IDLE
            if too_long or now - connection.made_at >= _MAX_AGE:
                self._end(connection)
        self._idle = {destination: kept for destination, kept in self._idle.items() if kept}
        if self._idle:
            self._sweeping = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)
