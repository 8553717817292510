"""How the calls of the last minutes went, minute by minute. The clock comes in.

Rules: a fixed number of numbers, whatever the traffic; counting costs a few additions.
"""

from math import inf
from typing import Final, NamedTuple

MINUTES: Final = 15  # with the one that has just begun


class Minute(NamedTuple):
    """The calls of one minute, and how many of them failed or were answered 401."""

    calls: int
    errors: int
    unauthorized: int


class Recent:
    """The calls of the last minutes. Times are seconds on the monotonic clock."""

    __slots__ = (
        "_all_calls",
        "_all_errors",
        "_all_unauthorized",
        "_calls",
        "_errors",
        "_minute",
        "_same_until",
        "_unauthorized",
    )

    def __init__(self) -> None:
        self._minute = 0  # the newest one that is held; minute n is at n % MINUTES
        self._all_calls = self._all_errors = self._all_unauthorized = 0  # of all minutes that are held
        self._same_until = inf  # when the oldest call is so old that these change
        self._calls = [0] * MINUTES
        self._errors = [0] * MINUTES
        self._unauthorized = [0] * MINUTES

    def count(self, now: float, *, error: bool, unauthorized: bool, calls: int = 1) -> None:
        """Count a call that ended now, or some that ended alike."""
        minute = int(now // 60)
        slot = (minute if minute == self._minute else self._advance(now)) % MINUTES
        if not self._all_calls:
            self._same_until = (minute + MINUTES) * 60.0
        self._calls[slot] += calls
        self._all_calls += calls
        if error:
            self._errors[slot] += calls
            self._all_errors += calls
        if unauthorized:
            self._unauthorized[slot] += calls
            self._all_unauthorized += calls

    def minutes(self, now: float) -> tuple[Minute, ...]:
        """Return the last minutes, the oldest first."""
        newest = self._advance(now)
        slots = [(newest + step) % MINUTES for step in range(1, MINUTES + 1)]
        return tuple(Minute(self._calls[slot], self._errors[slot], self._unauthorized[slot]) for slot in slots)

    def sums(self, now: float) -> tuple[int, int, int]:
        """Return the sums of the last minutes, as `Minute` has them: of tens of thousands of shops in one go."""
        if now >= self._same_until:
            self._advance(now)
        return self._all_calls, self._all_errors, self._all_unauthorized

    def _advance(self, now: float) -> int:
        """Empty the minutes that have begun since the last call; return the newest one."""
        minute = int(now // 60)
        for begun in range(max(self._minute, minute - MINUTES) + 1, minute + 1) if self._all_calls else ():
            slot = begun % MINUTES
            self._all_calls -= self._calls[slot]
            self._all_errors -= self._errors[slot]
            self._all_unauthorized -= self._unauthorized[slot]
            self._calls[slot] = self._errors[slot] = self._unauthorized[slot] = 0
        self._minute = minute
        held = range(minute - MINUTES + 1, minute + 1)
        oldest = next((each for each in held if self._calls[each % MINUTES]), inf)
        self._same_until = (oldest + MINUTES) * 60.0
        return minute
