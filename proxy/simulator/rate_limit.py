"""A platform's rate limit: at most so many requests in any second, per key.

Whether Shoprenter's window slides is not documented; it does here, because a client that keeps within the sliding
window keeps within every other kind too. Refused requests do not count.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

WINDOW = 1.0  # seconds


class RateLimiter:
    """Counts admitted requests over the last second; `limit` None admits everything, `clock` gives seconds."""

    def __init__(self, limit: int | None, clock: Callable[[], float]) -> None:
        if limit is not None and limit < 1:
            raise ValueError("a rate limit is at least 1 request a second, or None")
        self._limit = limit
        self._clock = clock
        self._admitted: dict[Hashable, deque[float]] = {}

    def admit(self, key: Hashable) -> bool:
        """Whether a request of `key` may pass now; if so it counts."""
        if self._limit is None:
            return True
        now = self._clock()
        times = self._admitted.setdefault(key, deque(maxlen=self._limit))
        # The deque holds the last `limit` admissions: only the oldest of them can stand in the way.
        if len(times) == self._limit and now - times[0] < WINDOW:
            return False
        times.append(now)
        return True
