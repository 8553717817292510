"""Whether the store is asked at all. Pure: the clock comes in.

Rules: one failure is enough to leave the store alone, so that no more than one wait is spent on it; from then on a
probe beside the traffic finds out when it is well, and one success is enough to go back. If it fails again right after
that it has not been well in between.
"""

from typing import Final

_WELL_AFTER: Final = 1.0  # seconds
_LONG_AGO: Final = float("-inf")


class Breaker:
    """Closed while the store is well. Times are seconds on the monotonic clock.

    `opened_at` is when it last failed, `unwell_since` the first time since it was well.
    """

    __slots__ = ("_closed_at", "closed", "opened_at", "unwell_since")

    def __init__(self) -> None:
        self.closed = True
        self.opened_at = self.unwell_since = self._closed_at = _LONG_AGO

    def answered(self, now: float) -> bool:
        """Take note that the store answered; tell whether it had been given up."""
        if self.closed:
            return False
        self.closed, self._closed_at = True, now
        return True

    def failed(self, now: float) -> bool:
        """Take note that the store failed; tell whether that is news."""
        if not self.closed:
            return False
        self.closed, self.opened_at = False, now
        if now - self._closed_at >= _WELL_AFTER:
            self.unwell_since = now
        return True
