"""How many calls of one shop may go in a batch now, and when batches are given up. Pure: the clock comes in.

Rules:
- The number starts small, doubles while full batches are answered quickly, and halves when one is slow, or its answer
  is large, or it was too much. Then it grows by an eighth at a time, and stays below what was too much for a while.
- One batch at a time. Who could go in the next one waits for the end of this one, but not for long.
- An answer that makes no sense ends all batches for a minute. "Too fast" inside one, or several times in a row for the
  whole, ends them for an hour: this platform seems to count each part.
"""

from typing import Final

FIRST_SIZE: Final = 8
QUICK: Final = 1.0  # seconds
SLOW: Final = 3.0
LARGE: Final = 1 << 22  # bytes of an answer, unpacked
HOLD: Final = 1.0  # seconds
REMEMBERED: Final = 60.0  # seconds, how much was too much
GIVEN_UP: Final = 60.0
TOO_FAST_IN_A_ROW: Final = 3
OFF: Final = 3600.0

_NEVER: Final = float("-inf")


class BatchSize:
    """What is known of one shop's batches; `limit` is how many calls its platform takes. Times are on one clock."""

    __slots__ = ("_given_up_until", "_size", "_throttlings", "_too_much", "_too_much_until", "begun_at", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._size = min(FIRST_SIZE, limit)
        self._too_much: int | None = None
        self._too_much_until = _NEVER
        self._given_up_until = _NEVER
        self._throttlings = 0
        self.begun_at: float | None = None  # of the one under way

    def change(self, limit: int) -> None:
        """Take note that the platform takes another number from now on."""
        self.limit = limit
        self._size = min(self._size, limit)

    def most(self, now: float) -> int:
        """Return how many may go together, if no batch is under way; 1: none."""
        if now < self._given_up_until:
            return 1
        if now >= self._too_much_until and self._too_much is not None:
            self._too_much = None
            self._size = max(self._size, 2)
        return self._size

    def not_before(self, now: float) -> float:
        """Return until when it is better to wait for the end of the one under way."""
        if self.begun_at is None or now < self._given_up_until:
            return _NEVER
        return self.begun_at + HOLD

    def answered(self, parts: int, seconds: float, size: int) -> None:
        """Take note of an answer for so many parts, of `size` bytes."""
        self._throttlings = 0
        if seconds > SLOW or size > LARGE:
            self._size = max(parts // 2, 2)
        elif seconds < QUICK and parts >= self._size:
            grown = self._size * 2 if self._too_much_until == _NEVER else self._size + max(self._size // 8, 1)
            self._size = min(grown, self.limit, (self._too_much or self.limit + 1) - 1)

    def too_much(self, parts: int, now: float) -> None:
        """Take note that so many were too much: the next ones are half of that."""
        self._size = (parts + 1) // 2 if parts > 2 else 1
        self._too_much = parts if self._too_much is None else min(self._too_much, parts)
        self._too_much_until = now + REMEMBERED

    def throttled(self, now: float, *, inside: bool) -> bool:
        """Take note of "too fast" for a batch, or `inside` one; tell whether that is the end of them."""
        self._throttlings += 1
        if self._throttlings < TOO_FAST_IN_A_ROW and not inside:
            return False
        self._throttlings = 0
        self._given_up_until = now + OFF
        return True

    def given_up(self, now: float) -> None:
        """Take note that an answer made no sense."""
        self._given_up_until = max(self._given_up_until, now + GIVEN_UP)
