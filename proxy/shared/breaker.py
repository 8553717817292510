"""Whether the store is asked at all. Pure: the clock comes in.

Rules: one failure is enough to leave the store alone, so that no more than one wait is spent on it; from then on a
probe beside the traffic finds out when it is well, and one success is enough to go back.
"""


class Breaker:
    """Closed while the store is well. Times are seconds on the monotonic clock."""

    __slots__ = ("closed", "opened_at")

    def __init__(self) -> None:
        self.closed = True
        self.opened_at = float("-inf")

    def answered(self) -> bool:
        """Take note that the store answered; tell whether it had been given up."""
        was_open, self.closed = not self.closed, True
        return was_open

    def failed(self, now: float) -> bool:
        """Take note that the store failed; tell whether that is news."""
        if not self.closed:
            return False
        self.closed, self.opened_at = False, now
        return True
