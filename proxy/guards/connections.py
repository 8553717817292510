"""Who may hold a connection to the proxy: so many in all, and so many from one address.

Rules: nobody is kept out by connections that do nothing, or on which nobody was let in. When all places are taken, a
new connection gets the place of another: of the oldest on which no request was admitted so far, whatever it does; else
of the one idle for longest between two. Where every place is in use, the new one is refused at once; to let it wait
would make it look slow, not full. The addresses of one IPv6 network count as one; loopback counts only in all, since
the traffic of a whole sidecar comes from there, and whoever is there is on this machine. Nothing is kept of a
connection that is refused or has ended, and no step here takes longer for there being many.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Protocol

from structlog.typing import FilteringBoundLogger

from proxy.guards.descriptors import Descriptors
from proxy.platforms.addresses import IpAddress, ip_of, source_of
from proxy.telemetry.metrics import ConnectionMetrics

_LOG_EVERY: Final = 10.0  # seconds


class Held(Protocol):
    """A connection as it is seen here."""

    def drop(self) -> None:
        """End it at once."""


@dataclass(slots=True)
class _Places:
    """Some places and who has them, each in the order in which it came to that. Only the keys of the dicts count."""

    limit: int
    source: IpAddress | None = None
    strangers: dict[Held, None] = field(default_factory=dict)  # no request was admitted on them
    idle: dict[Held, None] = field(default_factory=dict)
    busy: dict[Held, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.strangers) + len(self.idle) + len(self.busy)

    def least_missed(self) -> Held | None:
        """Return the connection that is to make room, or `None` if none can be done without."""
        return next(iter(self.strangers or self.idle), None)

    def remove(self, connection: Held) -> None:
        for places in (self.idle, self.busy, self.strangers):
            if connection in places:
                del places[connection]
                return


class ConnectionGuard:
    """Gives places to connections. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        log: FilteringBoundLogger,
        metrics: ConnectionMetrics,
        descriptors: Descriptors,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._descriptors = descriptors
        self._all = _Places(0)
        self._max_per_address = 0
        self._by_source: dict[IpAddress | None, _Places] = {}
        self._held: dict[Held, tuple[_Places, ...]] = {}  # where each of them counts
        self._exempt: tuple[IPv4Network | IPv6Network, ...] = ()
        self._clock = clock
        self._logged_at: dict[str, float] = {}

    def keep_to(self, max_connections: int, max_per_address: int, exempt: Iterable[IPv4Network | IPv6Network]) -> None:
        """Set the limits; there are no places before. Connections from `exempt` count only in all."""
        self._all.limit = max_connections
        self._max_per_address = max_per_address
        for places in self._by_source.values():
            places.limit = max_per_address
        self._exempt = tuple(exempt)

    def admit(self, connection: Held, address: str) -> bool:
        """Give the connection a place, if need be that of another, which is dropped; tell whether it has got one."""
        counted = (self._all,) if self._is_exempt(address) else (self._of_source(address), self._all)
        crowded = next((places for places in counted if len(places) >= places.limit), None)
        if crowded is not None:
            displaced = crowded.least_missed()
            if displaced is None:
                self._metrics.refused += 1
                self._tell(address, crowded)
                return False
            self._metrics.displaced += 1
            self._tell(address, crowded)
            self.leave(displaced)
            displaced.drop()
        self._held[connection] = counted
        self._descriptors.note()
        for places in counted:
            places.strangers[connection] = None
            if places is not self._all:
                self._by_source[places.source] = places
        self._metrics.open = len(self)
        return True

    def begin(self, connection: Held) -> None:
        """Take note that a request is admitted: the connection is in use until `end`."""
        for places in self._held.get(connection, ()):
            if connection in places.idle:
                del places.idle[connection]
            else:
                places.strangers.pop(connection, None)
            places.busy[connection] = None

    def end(self, connection: Held) -> None:
        """Take note that the connection is idle now; nothing comes of it where no request was admitted."""
        for places in self._held.get(connection, ()):
            if connection in places.busy:
                del places.busy[connection]
                places.idle[connection] = None

    def leave(self, connection: Held) -> None:
        """Take the place back, if the connection has one."""
        counted = self._held.pop(connection, ())
        for places in counted:
            places.remove(connection)
            if places is not self._all and not len(places):
                del self._by_source[places.source]
        if counted:
            self._descriptors.give()
        self._metrics.open = len(self)

    def handshake_failed(self, address: str, reason: str) -> None:
        """Take note that TLS with a client did not come about."""
        self._metrics.failed_handshakes += 1
        if self._to_be_told("tls.handshake_failed"):
            self._log.info(
                "tls.handshake_failed",
                address=address,
                reason=reason,
                failed_so_far=self._metrics.failed_handshakes,
            )

    def held(self) -> list[Held]:
        """Return the connections that have a place."""
        return list(self._held)

    def __len__(self) -> int:
        """Count the connections that have a place."""
        return len(self._held)

    def _of_source(self, address: str) -> _Places:
        source = source_of(address)
        return self._by_source.get(source) or _Places(self._max_per_address, source)

    def _is_exempt(self, address: str) -> bool:
        ip = ip_of(address)
        return ip is not None and (ip.is_loopback or any(ip in network for network in self._exempt))

    def _tell(self, address: str, crowded: _Places) -> None:
        if self._to_be_told("connections.crowded"):
            self._log.warning(
                "connections.crowded",
                setting="server.max_connections" if crowded is self._all else "server.max_connections_per_address",
                limit=crowded.limit,
                address=address,
                refused_so_far=self._metrics.refused,
                displaced_so_far=self._metrics.displaced,
            )

    def _to_be_told(self, event: str) -> bool:
        """Tell whether it is time to log this again: not each time, since who floods would flood the log too."""
        now = self._clock()
        if event in self._logged_at and now - self._logged_at[event] < _LOG_EVERY:
            return False
        self._logged_at[event] = now
        return True
