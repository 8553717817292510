"""Who may hold a connection to the proxy: so many in all, and so many from one address.

Rules: nobody is kept out by connections that do nothing. When all places are taken, a new connection gets the place of
one that waits: first of the oldest that never sent a whole request, then of the one idle for longest between two.
Where every place is in use, the new one is refused at once; to let it wait would make it look slow, not full. The
addresses of one IPv6 network (/64) count as one, since whoever has one of them has all. Nothing is kept of a
connection that is refused or has ended.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from proxy.telemetry.metrics import ConnectionMetrics

_LOOK_AT: Final = 100  # connections in search of an idle one; those that are not go to the end of the line
_LOG_EVERY: Final = 10.0  # seconds
_IPV6_SOURCE: Final = 64  # bits: what a provider gives to one customer at least (RFC 6177)


class Held(Protocol):
    """A connection as it is seen here."""

    @property
    def idle(self) -> bool:
        """Whether nobody would miss it."""

    def drop(self) -> None:
        """End it at once."""


@dataclass(slots=True)
class _Places:
    """Some places and who has them, in the order in which they were last of use. Only the keys of the dicts count."""

    limit: int
    unused: dict[Held, None] = field(default_factory=dict)  # not one whole request so far
    used: dict[Held, None] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        return len(self.unused) + len(self.used) >= self.limit

    def idle(self) -> Held | None:
        """Return the connection that would be missed least, or `None` if none can be done without."""
        if self.unused:
            return next(iter(self.unused))
        for _ in range(min(_LOOK_AT, len(self.used))):
            connection = next(iter(self.used))
            if connection.idle:
                return connection
            self.touch(connection)
        return None

    def touch(self, connection: Held) -> None:
        self.remove(connection)
        self.used[connection] = None

    def remove(self, connection: Held) -> None:
        self.used.pop(connection, None)
        self.unused.pop(connection, None)


class ConnectionGuard:
    """Gives places to connections. `clock` is monotonic, in seconds; connections from `exempt` count only in all."""

    def __init__(
        self,
        log: FilteringBoundLogger,
        metrics: ConnectionMetrics,
        *,
        max_connections: int,
        max_per_address: int,
        exempt: Iterable[IPv4Network | IPv6Network],
        clock: Callable[[], float],
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._all = _Places(max_connections)
        self._max_per_address = max_per_address
        self._by_source: dict[str, _Places] = {}
        self._sources: dict[Held, str] = {}
        self._exempt = tuple(exempt)
        self._clock = clock
        self._logged_at: float | None = None

    def admit(self, connection: Held, address: str) -> bool:
        """Give the connection a place, if need be that of another, which is dropped; tell whether it has got one."""
        source = self._source(address)
        own = None if source is None else self._by_source.get(source) or _Places(self._max_per_address)
        crowded = next((places for places in (own, self._all) if places is not None and places.full), None)
        displaced = None
        if crowded is not None:
            displaced = crowded.idle()
            if displaced is None:
                self._metrics.refused += 1
                self._tell(address, crowded)
                return False
            self._metrics.displaced += 1
            self._tell(address, crowded)
            self.leave(displaced)
            displaced.drop()
        self._all.unused[connection] = None
        if source is not None and own is not None:
            own.unused[connection] = None
            self._by_source[source] = own
            self._sources[connection] = source
        self._metrics.open = len(self)
        return True

    def requested(self, connection: Held) -> None:
        """Take note that a whole request has come."""
        if connection in self._all.unused or connection in self._all.used:
            self._all.touch(connection)
            source = self._sources.get(connection)
            if source is not None:
                self._by_source[source].touch(connection)

    def leave(self, connection: Held) -> None:
        """Take the place back, if the connection has one."""
        self._all.remove(connection)
        source = self._sources.pop(connection, None)
        if source is not None:
            own = self._by_source[source]
            own.remove(connection)
            if not (own.unused or own.used):
                del self._by_source[source]
        self._metrics.open = len(self)

    def __len__(self) -> int:
        """Count the connections that have a place."""
        return len(self._all.unused) + len(self._all.used)

    def _source(self, address: str) -> str | None:
        """Return what counts as one caller; `None` for an exempt one."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return address  # no IP: a test's socket pair, say
        if isinstance(parsed, IPv6Address):
            parsed = parsed.ipv4_mapped or parsed
        if any(parsed in network for network in self._exempt):
            return None
        if isinstance(parsed, IPv6Address):
            return str(IPv6Address(int(parsed) >> (128 - _IPV6_SOURCE) << (128 - _IPV6_SOURCE)))
        return str(parsed)

    def _tell(self, address: str, crowded: _Places) -> None:
        """Log that there are too many: not each time, since who floods would flood the log too."""
        now = self._clock()
        if self._logged_at is not None and now - self._logged_at < _LOG_EVERY:
            return
        self._logged_at = now
        self._log.warning(
            "connections.crowded",
            setting="server.max_connections" if crowded is self._all else "server.max_connections_per_address",
            limit=crowded.limit,
            address=address,
            refused_so_far=self._metrics.refused,
            displaced_so_far=self._metrics.displaced,
        )
