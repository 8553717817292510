"""When the next request may go under a platform's rate limit. Pure: the clock comes in.

Rules:
- A slot is one request. It is taken before the request is written and counts at once, but its window begins only when
  the request is sent: what a connection takes can never bring requests closer together.
- The window slides: the request after the last `requests` ones goes when the first of those has been sent `per` seconds
  ago and a safety margin more. Who keeps within the sliding window keeps within every other kind too.
- The window begins when a request is sent, not when it is answered: with 100 ms until the answer, that would leave 90 %
  of the limit. The margin is for what the network adds in between.
- After a 429 nothing goes for a while; then requests go at half the rate, evenly spaced, and faster step by step.
"""

import math
from collections import deque
from typing import Final

from proxy.platforms.platform import RateLimit

# Requests may reach the upstream closer together than they were sent: the later one by a quicker way. 20 ms is twice
# what a connection over the public internet commonly varies by, and leaves 98 % of a limit per second.
NETWORK_JITTER: Final = 0.020  # seconds
# Two clocks may run apart while NTP corrects them, each by 500 ppm at most.
CLOCK_DRIFT: Final = 0.001  # of the time that passes
# After that a slot whose request is still not sent is lent to others: connections that hang would stop the shop.
LONGEST_SENDING: Final = 10.0  # seconds; a connection takes half of it at most, unless upstream.connect_timeout is set

FIRST_PAUSE: Final = 1.0  # seconds after a 429 without Retry-After; doubled with each further one of the same request
# Each 429 takes the pace down by three steps, to half of what it was; after each 10 s it comes up by one.
_STEPS_DOWN: Final = 3
_MOST_STEPS: Final = 9  # an eighth of the rate
_STEP_TIME: Final = 10.0  # seconds
_ROUNDING: Final = 1e-6  # of a step: sums of floats are not exact


def safety_margin(per: float) -> float:
    """Return how much longer than `per` seconds the window is kept."""
    return NETWORK_JITTER + CLOCK_DRIFT * per


def pause_after_429(tries: int, retry_after: float | None) -> float:
    """Return how many seconds a request waits that was answered 429 for the `tries`-th time (from 1).

    `retry_after` is what the platform said, in seconds; 0 says nothing, since it has just shown that now is too soon.
    """
    if retry_after is not None and retry_after > 0:
        return retry_after
    return math.ldexp(FIRST_PAUSE, tries - 1)


class Pace:
    """What is known of the requests for one key. Times are seconds on the monotonic clock.

    A slot is known by its holder, any hashable object, from when it is taken until it is sent or given back.
    """

    __slots__ = ("_held", "_hold_until", "_last", "_lowered_at", "_normal_from", "_sent", "_window", "limit")

    def __init__(self, limit: RateLimit) -> None:
        self._sent: deque[float] = deque()  # those in the window, the oldest first
        self._held: dict[object, float] = {}  # since when, the oldest first
        self._last = float("-inf")  # when a request was sent last
        self._hold_until = float("-inf")
        self._lowered_at = float("-inf")
        self._normal_from = float("-inf")  # never before _hold_until
        self.change(limit)

    def change(self, limit: RateLimit) -> None:
        """Keep another limit from now on."""
        self.limit = limit
        self._window = limit.per + safety_margin(limit.per)

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
        return at

    def take(self, holder: object, now: float) -> None:
        """Take the slot that is due."""
        self._held[holder] = now

    def give_back(self, holder: object) -> None:
        """Take note that the slot was not used."""
        self._held.pop(holder, None)

    def sent(self, holder: object, now: float) -> None:
        """Take note that the request is sent; if that is told again, it was sent again, and counts again."""
        self._held.pop(holder, None)
        self._sent.append(now)
        self._last = now

    def throttled(self, taken_at: float, now: float, pause: float) -> None:
        """Take note of a 429 for the slot that was taken at `taken_at`: for `pause` seconds nothing goes.

        What was under way when the pace was lowered says nothing about the lower one, and lowers it no further.
        """
        steps = self._steps(now)
        if taken_at >= self._lowered_at:
            self._lowered_at = now
            steps = min(steps + _STEPS_DOWN, _MOST_STEPS)
        self._hold_until = max(self._hold_until, now + pause)
        self._normal_from = self._hold_until + steps * _STEP_TIME

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
        return at

    def idle(self, now: float) -> bool:
        """Tell whether all of this can be forgotten."""
        self.due(now)
        return not self._sent and not self._held and now >= self._normal_from

    def _slowed(self, now: float) -> float:
        """Return when the next slot may be taken at the lowered pace."""
        last = max(self._last, next(reversed(self._held.values()), self._last))
        return max(now, self._hold_until, last + self._spacing(now))

    def _steps(self, now: float) -> int:
        left = self._normal_from - max(now, self._hold_until)
        return math.ceil(left / _STEP_TIME - _ROUNDING) if left > 0 else 0

    def _spacing(self, now: float) -> float:
        return self._window / self.limit.requests * math.exp2(self._steps(now) / _STEPS_DOWN)
