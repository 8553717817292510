"""By how much later than it was sent a request counts, because its answer took longer than usual. Pure.

Rules:
- A platform counts a request at some time between when it is sent and when its answer comes. By what this takes longer
  than usual, it may have been counted later, and so closer to those behind it.
- Most answers that take longer do so because of work that begins after the counting, and nothing tells one from the
  other. So this comes out of an allowance, a hundredth of the limit, saved up for a fifth of a second: enough for a
  moment now and then in which the network or the platform stands still. Answers that always vary cost no more.
- What is usual is the shortest of late, of more answers than can be late together; until there were so many, none is.
"""

from typing import Final

from proxy.platforms.platform import RateLimit

SHARE: Final = 0.01  # of the limit, at most, over time
SAVED: Final = 0.2  # seconds at most, and half of the window
_FEWEST: Final = 16  # answers of which the shortest is taken,
_WINDOWS: Final = 4  # and as many as these windows hold


class Lateness:
    """What is known of the answers under a limit, and what is left of the allowance: seconds that nothing goes."""

    __slots__ = ("_allowance", "_answers", "_count", "_earned", "_most", "_requests", "_shortest", "_usual")

    def __init__(self, limit: RateLimit) -> None:
        self._allowance = self._most = min(SAVED, limit.per / 2)
        self._earned = SHARE * limit.per / limit.requests
        self._requests = limit.requests
        self._answers = max(_FEWEST, _WINDOWS * limit.requests)
        self._count = 0
        self._shortest = float("inf")  # of these
        self._usual = 0.0

    def answered(self, took: float, margin: float) -> float:
        """Take note of what an answer took; return by how much later its request counts than it was sent.

        Of what it took longer than usual, a `margin` is no matter. All in seconds.
        """
        self._count += 1
        self._shortest = min(self._shortest, took)
        if self._count == self._answers:
            self._usual, self._count, self._shortest = self._shortest, 0, float("inf")
        self._usual = min(self._usual, took)
        late = max(min(took - self._usual - margin, self._most), 0.0) if self._allowance > 0 else 0.0
        self._allowance = min(self._allowance + self._earned - late / self._requests, self._most)
        return late
