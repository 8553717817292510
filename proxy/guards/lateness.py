"""By how much later than it was sent a request counts, because its answer took longer than usual. Pure.

Rules:
- A platform counts a request at some time between when it is sent and when its answer comes. By what this takes longer
  than usual, it may have been counted later, and so closer to those behind it.
- Most answers that take longer do so because of work that begins after the counting, and nothing tells one from the
  other. So this comes out of an allowance, a hundredth of the limit, saved up for a fifth of a second: enough for a
  moment now and then in which the network or the platform stands still. Answers that always vary cost no more.
- An answer that takes far longer than nearly all others is likely to come from a platform that stood still. Those have
  an allowance of their own, as large, saved up for a second. Where they are frequent, they are not far longer any more.
- What is usual is the shortest of late, of more answers than can be late together; until there were so many, none is.
"""

from typing import Final

from proxy.platforms.platform import RateLimit

SHARE: Final = 0.01  # of the limit, at most, over time; of each allowance
SAVED: Final = 0.2  # seconds at most, and half of the window
STANDSTILL: Final = 1.0  # seconds at most, and the window
_FEWEST: Final = 16  # answers of which the shortest is taken,
_WINDOWS: Final = 4  # and as many as these windows hold
_FAR_LONGER: Final = 4.0  # than three of four


class _Allowance:
    """What may be counted later for one reason: `earned` for each answer, `most` seconds at most."""

    __slots__ = ("_earned", "_left", "_requests", "most")

    def __init__(self, most: float, limit: RateLimit) -> None:
        self._left = self.most = most
        self._earned = SHARE * limit.per / limit.requests
        self._requests = limit.requests

    def spend(self, wanted: float) -> float:
        """Return how much of what is `wanted` is granted, at one answer: seconds."""
        granted = max(min(wanted, self.most), 0.0) if self._left > 0 else 0.0
        self._left = min(self._left + self._earned - granted / self._requests, self.most)
        return granted


class Lateness:
    """What is known of the answers under a limit, and what is left of the allowances: seconds that nothing goes."""

    __slots__ = ("_answers", "_count", "_shortest", "_standstills", "_step", "_three_of_four", "_usual", "_varying")

    def __init__(self, limit: RateLimit) -> None:
        self._varying = _Allowance(min(SAVED, limit.per / 2), limit)
        self._standstills = _Allowance(min(STANDSTILL, limit.per), limit)
        self._answers = max(_FEWEST, _WINDOWS * limit.requests)
        self._count = 0
        self._shortest = float("inf")  # of these
        self._usual = 0.0
        self._three_of_four = 0.0  # take no longer, about; 0: none came yet
        # One that takes longer moves that up by so much, three that don't move it back: requests that are late together
        # at most double it.
        self._step = 2.0 ** (1 / limit.requests)

    def answered(self, took: float, margin: float) -> float:
        """Take note of what an answer took; return by how much later its request counts than it was sent.

        Of what it took longer than usual, a `margin` is no matter. All in seconds.
        """
        self._count += 1
        self._shortest = min(self._shortest, took)
        if self._count == self._answers:
            self._usual, self._count, self._shortest = self._shortest, 0, float("inf")
        self._usual = min(self._usual, took)
        most = self._three_of_four or _FAR_LONGER * took
        self._three_of_four = most * (self._step if took > most else self._step ** (-1 / 3))
        late = took - self._usual - margin
        stood_still = took > _FAR_LONGER * most + margin
        standstill = self._standstills.spend(late if stood_still else 0.0)
        return standstill or self._varying.spend(late)
