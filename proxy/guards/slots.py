"""The slots of one key, and the line of those who wait for one.

Rules:
- A slot goes to who comes first only if nobody waits; else to whose turn it is.
- Who waits in vain is refused as soon as that is known: on arrival, or when a 429 makes the wait too long; else when
  its time is up, because others came in between.
- Those who can go together do so on the slot of the first of them (`errands.py`). While some wait who could go with
  others of their kind, slots are spaced evenly, so that the first don't spend them singly. Who waits for an errand's
  end lets others pass.
- One timer, and only while somebody waits: it rings when the next slot is due (`pace.py`), or somebody's time is up.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.errors import PacedOut
from proxy.guards.errands import Offer, Seat, company, held_until, slots_needed
from proxy.guards.office import Office, Pacing, Sharing, Timer
from proxy.guards.pace import Pace
from proxy.guards.rotation import Place, Rotation
from proxy.platforms.platform import RateLimit

if TYPE_CHECKING:
    from proxy.guards.pacing import Turn

_TIMER_RESOLUTION: Final = 0.001  # seconds; uvloop's timers know no shorter ones, and may ring early by one
_NEVER: Final = float("inf")
_BLOCKED: Final = (
    "The platform answered that this shop's requests come too fast. Until one gets through, the proxy only tries"
    " one now and then, with longer and longer pauses; this request would have to wait too long (pacing.max_wait)."
)


class _Waiter(NamedTuple):
    place: Place
    deadline: float
    granted: asyncio.Future[bool | Seat]
    offer: Offer | None
    handing_over: "Callable[[], Turn]"


class Slots:
    """Gives out the slots of one key. A slot is known by the place of its request."""

    __slots__ = (
        "_evenly_until",
        "_key",
        "_next_deadline",
        "_office",
        "_own",
        "_pace",
        "_sharing",
        "_taken_at",
        "_timer",
        "_timer_at",
        "_waiting",
    )

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
        self._taken_at = self._evenly_until = -_NEVER  # when a slot was taken last; until when they are spaced

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
        if self._waiting or self._due(now) > now:
            return False
        self._take(place, now)
        return True

    async def wait(
        self, place: Place, now: float, patience: float, offer: Offer | None, handing_over: "Callable[[], Turn]"
    ) -> Seat | None:
        """Wait up to `patience` seconds for a slot; return a seat instead if others come along. Raises `PacedOut`.

        The slot then belongs to the turn that `handing_over` returns.
        """
        self._check_wait(place, now, patience, offer)
        if len(self._waiting) >= self._office.policy.max_queue and not self.make_room(place.client):
            raise self._paced_out(place, now)
        waiter = _Waiter(place, now + patience, asyncio.get_running_loop().create_future(), offer, handing_over)
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
            elif isinstance(seat := _result(waiter.granted), bool):  # the slot may have been granted just now
                self.give_back(place)
            else:
                seat.leave()
            raise
        finally:
            metrics.waiting -= 1
            metrics.waits += 1
            metrics.waited_seconds += self._office.clock() - now
        if not granted:
            raise self._paced_out(place, self._office.clock())
        return None if granted is True else granted

    def look_again(self) -> None:
        """Take note that there may be a slot for who waits, or that an errand is over for whose end some wait."""
        if self._waiting:
            self._serve()

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

    def heard(self, place: Place) -> None:
        """Take note that the answer to the request comes."""
        self._pace.heard(place, self._office.clock())

    def unanswered(self, place: Place) -> None:
        """Take note that no answer to the request will come."""
        self._pace.unanswered(place)
        self.look_again()

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

    def _check_wait(self, place: Place, now: float, patience: float, offer: Offer | None) -> None:
        """Refuse a request for which there will be no slot in time."""
        ahead = self._waiting.ahead_of(*place)
        if self._pace.earliest(ahead, now) - now > patience:
            together = slots_needed([*(waiter.offer for waiter in self._waiting), offer]) - 1
            if self._pace.earliest(min(ahead, together), now) - now > patience:
                raise self._paced_out(place, now)

    def _wanted(self) -> int:
        """Return how many slots those in line are worth to other replicas; alone, nobody asks how many."""
        waiting = self._waiting
        return len(waiting) if self._sharing is None else slots_needed(waiter.offer for waiter in waiting)

    def _due(self, now: float) -> float:
        """Return when the next slot may be taken, as `Pace.due` does."""
        at = self._pace.due(now)
        if now < self._evenly_until:
            at = max(at, self._taken_at + self._pace.limit.per / self._pace.limit.requests)
        return max(at, held_until(self._next(now).offer)) if self._waiting else at

    def _next(self, now: float) -> _Waiter:
        """Return who takes the next slot: whose turn it is; or, if that one waits for an errand's end, who does not."""
        first = self._waiting.first()
        if held_until(first.offer) <= now:
            return first
        return next((other for other in self._waiting.in_turn() if held_until(other.offer) <= now), first)

    def _take(self, place: Place, now: float) -> None:
        self._pace.take(place, now)
        self._taken_at = now

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
            else f"The platform takes {limit.requests} requests in {limit.per:g} s for this shop, and too many are"
            " waiting already (pacing.max_wait, pacing.max_queue).",
            retry_after=max(wait - self._office.policy.max_wait / 2, wait_for_room),
        )

    def _serve(self) -> None:
        """Grant the slots that there are, and refuse those whose time is up."""
        now = self._office.clock()
        while self._waiting and self._due(now) <= now:
            waiter = self._next(now)
            if waiter.granted.done():  # cancelled, and about to leave
                self._waiting.leave(*waiter.place)
                continue
            self._waiting.served([waiter.place])
            self._take(waiter.place, now)
            self._grant(waiter)
        if now >= self._next_deadline:
            self._refuse(waiter for waiter in self._waiting if waiter.deadline <= now)
        self._set_timer(now)

    def _grant(self, first: _Waiter) -> None:
        """Give the slot to `first` and who goes along."""
        offer, along = first.offer, []
        if offer is not None and offer.kind is not None:
            self._evenly_until = self._taken_at + self._pace.limit.per
        if offer is not None and self._waiting:
            along = company(offer, ((each, each.offer) for each in self._waiting.in_turn() if not each.granted.done()))
        if offer is None or not along:
            first.granted.set_result(True)
            return
        self._waiting.served([waiter.place for waiter in along])
        seats = offer.begin(first.handing_over(), [waiter.offer for waiter in along if waiter.offer is not None])
        for waiter, seat in zip((first, *along), seats, strict=True):
            waiter.granted.set_result(seat)

    def _refuse(self, waiters: Iterable[_Waiter]) -> None:
        for waiter in list(waiters):
            self._waiting.leave(*waiter.place)
            if not waiter.granted.done():
                waiter.granted.set_result(False)
        self._next_deadline = min((waiter.deadline for waiter in self._waiting), default=_NEVER)

    def _set_timer(self, now: float) -> None:
        """See that a timer rings in time if somebody waits; it may ring too early."""
        waiting = self._waiting
        self._pace.want(self._wanted(), waiting.first().deadline - now if waiting else 0.0, now)
        at = min(self._due(now), self._next_deadline) if waiting else _NEVER
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


def _result(granted: asyncio.Future[bool | Seat]) -> bool | Seat:
    return granted.result() if granted.done() and not granted.cancelled() else False
