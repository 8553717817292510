"""Counts failing attempts to be let in, by the address they come from. Pure; the clock comes in.

Rules:
- Of the attempts from one source that fail, `MOST` in any `PERIOD` are answered as such; those above are told to wait.
  Attempts that succeed are no matter of this file: a whole office may share an address.
- What one source is: `source_of`.
- Memory is bounded: what is older than `PERIOD` goes, and above `max_sources` the source goes that failed longest ago.
  Whoever has that many addresses gets other words in the answer by it, and nothing else.
"""

from collections.abc import Callable
from typing import Final

from proxy.platforms.addresses import IpAddress, source_of

MOST: Final = 10
PERIOD: Final = 60.0  # seconds
_MAX_SOURCES: Final = 10_000


class Failures:
    """The latest failing attempts of each source. `clock` is monotonic, in seconds."""

    def __init__(self, *, clock: Callable[[], float], max_sources: int = _MAX_SOURCES) -> None:
        self._clock = clock
        self._max_sources = max_sources
        self._times: dict[IpAddress | None, list[float]] = {}  # the source that failed longest ago comes first

    def __len__(self) -> int:
        """Count the sources of which something is known."""
        return len(self._times)

    def count(self, address: str | None) -> float | None:
        """Take note of a failing attempt from an IP address; return in how many seconds to try again.

        `None` if it is not one too many. Those that are do not count: the wait becomes no longer by them.
        """
        now = self._clock()
        self._forget(now)
        source = source_of(address)
        times = [time for time in self._times.get(source, ()) if time > now - PERIOD]
        if len(times) >= MOST:
            return times[0] + PERIOD - now
        self._times.pop(source, None)
        if len(self._times) >= self._max_sources:
            del self._times[next(iter(self._times))]
        self._times[source] = [*times, now]
        return None

    def _forget(self, now: float) -> None:
        while self._times:
            source, times = next(iter(self._times.items()))
            if times[-1] > now - PERIOD:
                return
            del self._times[source]
