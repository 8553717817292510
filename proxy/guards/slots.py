"""The slots of one key, and the line of those who wait for one.

Rules:
- A slot goes to who comes first only if nobody waits; else to whose turn it is.
- Who waits in vain is refused as soon as that is known: on arrival, or when a 429 makes the wait too long; else when
  its time is up, because others came in between.
- One timer, and only while somebody waits: it rings when the next slot is due, or when somebody's time is up.

When the next slot is due is decided in `pace.py`, and whose it is in `rotation.py`.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from proxy.errors import PacedOut
from proxy.guards.pace import Pace
from proxy.guards.rotation import Rotation
from proxy.platforms.platform import RateLimit
from proxy.telemetry.metrics import PacingMetrics

_TIMER_RESOLUTION: Final = 0.001  # seconds; uvloop's timers know no shorter ones, and may ring early by one
_NEVER: Final = float("inf")
_BLOCKED: Final = (
    "The platform answered that this shop's requests come too fast. Until it lets one through, only one tries now and"
    " then, after longer and longer pauses; this request would have to wait for too long (pacing.max_wait)."
)


class Timer(Protocol):
    """What `call_later` returns."""

    def cancel(self) -> None: ...


class Pacing(Protocol):
    """When the next request may go: as `Pace` decides for one process, or as replicas agree (`shared_pace.py`)."""

    @property
    def limit(self) -> RateLimit: ...
    @property
    def blocked(self) -> bool: ...
    def change(self, limit: RateLimit) -> None: ...
    def due(self, now: float) -> float: ...
    def want(self, waiting: int, patience: float, now: float) -> None: ...
    def take(self, holder: object, now: float) -> None: ...
    def lapsed(self, holder: object, now: float) -> bool: ...
    def give_back(self, holder: object) -> None: ...
    def sent(self, holder: object, now: float) -> None: ...
    def throttled(self, taken_at: float, now: float, retry_after: float | None, max_wait: float) -> float: ...
    def answered(self, taken_at: float) -> bool: ...
    def unanswered(self, holder: object) -> None: ...
    def earliest(self, position: int, now: float) -> float: ...
    def expected(self, position: int, now: float) -> float: ...
    def idle(self, now: float) -> bool: ...


# Makes what replicas agree on for a key, of what this one knows, and what is to be called when slots have come.
Sharing = Callable[[bytes, Pace, Callable[[], None]], Pacing]


@dataclass(frozen=True, slots=True)
class PacingPolicy:
    """The settings of `[pacing]`: seconds that a request may wait, and how many may wait for one key."""

    max_wait: float = 30.0
    max_queue: int = 1000


@dataclass(slots=True)
class Office:
    """What the slots of all keys share. `clock` is monotonic, in seconds; `call_later` takes seconds and a function.

    `sharing` is there if other replicas have the same limit to keep.
    """

    policy: PacingPolicy
    metrics: PacingMetrics
    clock: Callable[[], float]
    call_later: Callable[[float, Callable[[], None]], Timer]
    sharing: Sharing | None = None


class Place(NamedTuple):
    """A place in line: of which client, and its number; the lower the earlier the request came in."""

    client: str
    number: int


class _Waiter(NamedTuple):
    place: Place
    deadline: float
    granted: asyncio.Future[bool]


class Slots:
    """Gives out the slots of one key. A slot is known by the place of its request."""

    __slots__ = ("_key", "_next_deadline", "_office", "_own", "_pace", "_sharing", "_timer", "_timer_at", "_waiting")

    def __init__(self, office: Office, key: bytes, limit: RateLimit) -> None:
        self._office = office
        self._key = key
        self._own = Pace(limit)
        self._pace: Pacing = self._own
        self._sharing: Sharing | None = None
        self._share()
        self._waiting: Rotation[_Waiter] = Rotation()
        self._next_deadline = _NEVER  # of those who wait; or an earlier time
        self._timer: Timer | None = None
        self._timer_at = _NEVER

    def keep(self, limit: RateLimit) -> None:
        """Keep this limit from now on."""
        if self._pace.limit is not limit:
            self._pace.change(limit)
        if self._office.sharing is not self._sharing:
            self._share()

    def idle(self, now: float) -> bool:
        """Tell whether all of this can be forgotten."""
        return not self._waiting and self._pace.idle(now)

    @property
    def waiting(self) -> int:
        """How many requests wait in line."""
        return len(self._waiting)

    def expected_wait(self, now: float) -> float:
        """Return how many seconds a request that comes now would wait, if the pace stays what it is."""
        return self._pace.expected(len(self._waiting), now) - now

    def take_at_once(self, place: Place, now: float) -> bool:
        """Take a slot if there is one for who comes now; tell whether there was."""
        self._pace.unanswered(place)  # it would not come again if it still waited for its answer
        if self._waiting or self._pace.due(now) > now:
            return False
        self._pace.take(place, now)
        return True

    async def wait(self, place: Place, now: float, patience: float) -> None:
        """Wait up to `patience` seconds for a slot. Raises `PacedOut`."""
        self._check_wait(place, now, patience)
        self._check_room(place, now)
        waiter = _Waiter(place, now + patience, asyncio.get_running_loop().create_future())
        self._waiting.join(*place, waiter)
        self._next_deadline = min(self._next_deadline, waiter.deadline)
        self._set_timer(now)
        metrics = self._office.metrics
        metrics.waiting += 1
        try:
            granted = await waiter.granted
        except asyncio.CancelledError:
            if self._waiting.leave(*place):
                self._set_timer(self._office.clock())
            else:  # the slot may have been granted just now
                self.give_back(place)
            raise
        finally:
            metrics.waiting -= 1
            metrics.waits += 1
            metrics.waited_seconds += self._office.clock() - now
        if not granted:
            raise self._paced_out(place, self._office.clock())

    def lapsed(self, place: Place) -> bool:
        """Tell whether the slot is not good any more."""
        return self._pace.lapsed(place, self._office.clock())

    def sent(self, place: Place) -> None:
        """Take note that the request is sent."""
        self._pace.sent(place, self._office.clock())
        if self._waiting:
            self._serve()

    def give_back(self, place: Place) -> None:
        """Give the slot, which was not used, to the next."""
        self._pace.give_back(place)
        if self._waiting:
            self._serve()

    def unanswered(self, place: Place) -> None:
        """Take note that no answer to the request will come."""
        self._pace.unanswered(place)
        if self._waiting:
            self._serve()

    def answered(self, taken_at: float) -> None:
        """Take note of another answer than 429 for the slot taken at `taken_at`."""
        if self._pace.answered(taken_at) and self._waiting:
            self._serve()

    def throttled(self, taken_at: float, retry_after: float | None) -> float:
        """Take note of a 429 for the slot taken at `taken_at`; return in how many seconds to come again."""
        now = self._office.clock()
        pause = self._pace.throttled(taken_at, now, retry_after, self._office.policy.max_wait)
        earliest = self._pace.earliest(0, now)
        self._refuse(waiter for waiter in self._waiting if waiter.deadline < earliest)
        self._set_timer(now)
        return pause

    def _share(self) -> None:
        """Agree with other replicas from now on, or with none."""
        self._sharing = sharing = self._office.sharing
        limit = self._pace.limit
        self._own.change(limit)
        self._pace = self._own if sharing is None else sharing(self._key, self._own, self._serve)

    def _check_wait(self, place: Place, now: float, patience: float) -> None:
        """Refuse a request for which there will be no slot in time."""
        if self._pace.earliest(self._waiting.ahead_of(*place), now) - now > patience:
            raise self._paced_out(place, now)

    def _check_room(self, place: Place, now: float) -> None:
        """Make room in the line, or refuse this request."""
        if len(self._waiting) >= self._office.policy.max_queue and not self.make_room(place.client):
            raise self._paced_out(place, now)

    def make_room(self, client: str) -> bool:
        """Refuse the last one of a client with more in line than this one would have; tell whether there was one."""
        longest = self._waiting.longest_line()
        if len(longest) <= self._waiting.line_length(client) + 1:
            return False
        self._refuse([longest[-1]])
        return True

    def _paced_out(self, place: Place, now: float) -> PacedOut:
        """Return the error that says when to come again: when a new request would have to wait half of the time.

        Not only when it would be served at once: under constant load, who waits for that never gets into the line.
        """
        self._office.metrics.paced_out += 1
        wait = self._pace.expected(self._waiting.ahead_of(*place), now) - now
        wait_for_room = self._pace.expected(0, now) - now
        limit = self._pace.limit
        return PacedOut(
            _BLOCKED
            if self._pace.blocked
            else f"The platform takes {limit.requests} requests in {limit.per:g} s from this shop, and too many wait in"
            " line already (pacing.max_wait, pacing.max_queue).",
            retry_after=max(wait - self._office.policy.max_wait / 2, wait_for_room),
        )

    def _serve(self) -> None:
        """Grant the slots that there are, and refuse those whose time is up."""
        now = self._office.clock()
        while self._waiting and self._pace.due(now) <= now:
            waiter = self._waiting.first()
            if waiter.granted.done():  # cancelled, and about to leave
                self._waiting.leave(*waiter.place)
                continue
            self._waiting.advance()
            self._pace.take(waiter.place, now)
            waiter.granted.set_result(True)
        if now >= self._next_deadline:
            self._refuse(waiter for waiter in self._waiting if waiter.deadline <= now)
        self._set_timer(now)

    def _refuse(self, waiters: Iterable[_Waiter]) -> None:
        for waiter in list(waiters):
            self._waiting.leave(*waiter.place)
            if not waiter.granted.done():
                waiter.granted.set_result(False)
        self._next_deadline = min((waiter.deadline for waiter in self._waiting), default=_NEVER)

    def _set_timer(self, now: float) -> None:
        """See that a timer rings in time if somebody waits; it may ring too early."""
        waiting = self._waiting
        self._pace.want(len(waiting), waiting.first().deadline - now if waiting else 0.0, now)
        at = min(self._pace.due(now), self._next_deadline) if waiting else _NEVER
        if self._timer is not None:
            if self._timer_at <= at < _NEVER:
                return
            self._timer.cancel()
            self._timer = None
        if at < _NEVER:
            self._timer_at = at
            self._timer = self._office.call_later(max(at - now, _TIMER_RESOLUTION), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._serve()
