"""When the next request may go under a platform's rate limit. Pure: the clock comes in.

Rules:
- A slot is one request. It is taken before the request is written and counts at once, but its window begins only when
  the request is sent: what a connection takes can never bring requests closer together.
- The window slides: the request after the last `requests` ones goes when the first of those has been sent `per` seconds
  ago and a safety margin more. Who keeps within the sliding window keeps within every other kind too.
- The window begins when a request is sent, not when it is answered: with 100 ms until the answer, that would leave 90 %
  of the limit. The margin is for what the network adds in between; a request whose answer takes longer than usual may
  have been held up for longer, and counts as sent so much later (`lateness.py`).
- After a 429 nothing goes for a while, the longer the more of them come in a row, whichever requests got them: some
  platforms prolong a block with every request that meets it. Then one request tries, and the others wait until it is
  known whether it was let through. Then requests go at half the rate, evenly spaced, and faster step by step.
"""

import math
from bisect import insort
from collections import deque
from contextlib import suppress
from typing import Final

from proxy.guards.lateness import Lateness
from proxy.platforms.platform import RateLimit

# Requests may reach the upstream closer together than they were sent: the later one by a quicker way. 20 ms is twice
# what a connection over the public internet commonly varies by, and leaves 98 % of a limit per second.
NETWORK_JITTER: Final = 0.020  # seconds
# Two clocks may run apart while NTP corrects them, each by 500 ppm at most.
CLOCK_DRIFT: Final = 0.001  # of the time that passes
# After that a slot whose request is still not sent is lent to others: connections that hang would stop the shop.
LONGEST_SENDING: Final = 10.0  # seconds; a connection takes half of it at most, unless upstream.connect_timeout is set

FIRST_PAUSE: Final = 1.0  # seconds after a 429 without Retry-After; doubled with each further one in a row
# A Retry-After is believed so far, unless requests may wait for longer; twice as far with each further 429 in a row.
FIRST_BELIEF: Final = 30.0  # seconds
LONGEST_PAUSE: Final = 300.0  # seconds; of both, and what is known of a row is kept for so long after its last pause
LONGEST_TRY: Final = 10.0  # seconds; after that the next one tries: who is too fast is told so sooner
# Each 429 takes the pace down by three steps, to half of what it was; after each 10 s it comes up by one.
STEPS_DOWN: Final = 3
MOST_STEPS: Final = 9  # an eighth of the rate
STEP_TIME: Final = 10.0  # seconds
_ROUNDING: Final = 1e-6  # of a step: sums of floats are not exact


def safety_margin(per: float) -> float:
    """Return how much longer than `per` seconds the window is kept."""
    return NETWORK_JITTER + CLOCK_DRIFT * per


def pause_after_429(in_a_row: int, retry_after: float | None) -> float:
    """Return how many seconds are due after the `in_a_row`-th 429 (from 1).

    `retry_after` is what the platform said, in seconds; 0 says nothing, since it has just shown that now is too soon,
    and after the first of a row it has shown that a shorter one than ours is too.
    """
    grown = _doubled(FIRST_PAUSE, in_a_row)
    if retry_after is None or not retry_after > 0:
        return grown
    return retry_after if in_a_row == 1 else max(retry_after, grown)


def _doubled(seconds: float, in_a_row: int) -> float:
    return min(math.ldexp(seconds, min(in_a_row, 30) - 1), LONGEST_PAUSE)


class Pace:
    """What is known of the requests for one key. Times are seconds on the monotonic clock.

    A slot is known by its holder, any hashable object, from when it is taken until it is sent or given back.
    """

    __slots__ = (
        "_held",
        "_hold_until",
        "_in_a_row",
        "_last",
        "_lateness",
        "_lowered_at",
        "_normal_from",
        "_sent",
        "_try_until",
        "_trying",
        "_unanswered",
        "_window",
        "limit",
    )

    def __init__(self, limit: RateLimit) -> None:
        self._sent: deque[float] = deque()  # those in the window, the oldest first
        self._held: dict[object, float] = {}  # since when, the oldest first
        self._unanswered: dict[object, float] = {}  # when they were sent
        self._last = float("-inf")  # when a request was sent last
        self._hold_until = float("-inf")
        self._lowered_at = float("-inf")
        self._normal_from = float("-inf")  # never before _hold_until
        self._in_a_row = 0  # 429s without another answer in between
        self._trying: object = None  # the holder of the slot that finds out whether a pause was long enough
        self._try_until = float("-inf")
        self.change(limit)

    def change(self, limit: RateLimit) -> None:
        """Keep another limit from now on."""
        self.limit = limit
        self._window = limit.per + safety_margin(limit.per)
        self._lateness = Lateness(limit)

    @property
    def holders(self) -> frozenset[object]:
        """Those who have a slot and have not sent yet."""
        return frozenset(self._held)

    def due(self, now: float) -> float:
        """Return when the next slot may be taken: now or earlier if there is one, else when to look again."""
        sent, held = self._sent, self._held
        while sent and sent[0] + self._window <= now:
            sent.popleft()
        while held and next(iter(held.values())) + LONGEST_SENDING <= now:
            del held[next(iter(held))]
        missing = len(sent) + len(held) - self.limit.requests
        if missing < 0:
            at = now
        elif missing < len(sent):
            at = sent[missing] + self._window
        else:
            at = next(iter(held.values())) + LONGEST_SENDING
        if now < self._normal_from:
            at = max(at, self._slowed(now))
        if self._trying is not None:
            at = max(at, self._try_until)
        return at

    def want(self, waiting: int, patience: float, now: float) -> None:
        """Take note that so many wait, the first of them for `patience` seconds: nothing has to be done for it."""

    def lapsed(self, holder: object, now: float) -> bool:
        """Tell whether the slot is not good any more: it is, until it is lent to others."""
        return holder not in self._held

    def take(self, holder: object, now: float) -> None:
        """Take the slot that is due."""
        self._held[holder] = now
        if self._in_a_row:
            self._trying, self._try_until = holder, now + LONGEST_TRY

    def give_back(self, holder: object) -> None:
        """Take note that the slot was not used."""
        self._held.pop(holder, None)
        self.unanswered(holder)

    def sent(self, holder: object, now: float) -> None:
        """Take note that the request is sent; if that is told again, it was sent again, and counts again."""
        self._held.pop(holder, None)
        self._unanswered[holder] = now
        self._sent.append(now)
        self._last = now

    def heard(self, holder: object, now: float) -> None:
        """Take note that the answer comes, whichever it is; its request may count as sent later for that."""
        sent = self._unanswered.pop(holder, None)
        if sent is not None and (late := self._lateness.answered(now - sent, NETWORK_JITTER)):
            with suppress(ValueError):  # its window may be over already
                self._sent.remove(sent)
            insort(self._sent, sent + late)

    def throttled(self, taken_at: float, now: float, retry_after: float | None, max_wait: float = 0.0) -> float:
        """Take note of a 429 for the slot that was taken at `taken_at`; return how many seconds the platform wants.

        For so long nothing goes, within bounds; `max_wait` is how long requests may wait. What was under way when the
        pace was lowered says nothing about the lower one, and lowers it no further.
        """
        steps = self._steps(now)
        if taken_at >= self._lowered_at:
            self._lowered_at = now
            self._in_a_row += 1
            self._trying = None
            steps = min(steps + STEPS_DOWN, MOST_STEPS)
        in_a_row = max(self._in_a_row, 1)
        pause = pause_after_429(in_a_row, retry_after)
        believed = max(_doubled(FIRST_BELIEF, in_a_row), max_wait)
        self._hold_until = max(self._hold_until, now + min(pause, believed))
        self._normal_from = self._hold_until + steps * STEP_TIME
        return max(pause, self._hold_until - now)

    def answered(self, taken_at: float) -> bool:
        """Take note of another answer than 429 for the slot that was taken at `taken_at`; tell whether a row has ended.

        What was under way when the last 429 came says nothing about the time after it.
        """
        if not self._in_a_row or taken_at < self._lowered_at:
            return False
        self._in_a_row = 0
        self._trying = None
        return True

    def unanswered(self, holder: object) -> None:
        """Take note that there will be no answer for the slot: if the others waited for it, the next one tries."""
        self._unanswered.pop(holder, None)
        if self._trying == holder:
            self._trying = None

    def earliest(self, position: int, now: float) -> float:
        """Return when the slot after the next `position` ones can be had at the earliest, if none is given back."""
        self.due(now)  # which forgets what is over
        rounds, index = divmod(position, self.limit.requests)
        index += len(self._sent) + len(self._held) - self.limit.requests
        if index < 0:
            at = now
        elif index < len(self._sent):
            at = self._sent[index] + self._window
        else:
            at = now + self._window  # for one that is about to be sent
        return max(at, self._hold_until) + rounds * self._window

    def expected(self, position: int, now: float) -> float:
        """Return when the slot after the next `position` ones is to be had, if the pace stays what it is."""
        at = self.earliest(position, now)
        if now < self._normal_from:
            at = max(at, max(self.earliest(0, now), self._slowed(now)) + position * self._spacing(now))
        if self._trying is not None:
            at += max(self._try_until - now, 0.0)
        return at

    def idle(self, now: float) -> bool:
        """Tell whether all of this can be forgotten."""
        self.due(now)
        if self._in_a_row and now < self._hold_until + LONGEST_PAUSE:
            return False
        return not self._sent and not self._held and now >= self._normal_from

    @property
    def blocked(self) -> bool:
        """Whether the last answer was a 429."""
        return self._in_a_row > 0

    def _slowed(self, now: float) -> float:
        """Return when the next slot may be taken at the lowered pace."""
        last = max(self._last, next(reversed(self._held.values()), self._last))
        return max(now, self._hold_until, last + self._spacing(now))

    def _steps(self, now: float) -> int:
        left = self._normal_from - max(now, self._hold_until)
        return math.ceil(left / STEP_TIME - _ROUNDING) if left > 0 else 0

    def _spacing(self, now: float) -> float:
        return self._window / self.limit.requests * math.exp2(self._steps(now) / STEPS_DOWN)
