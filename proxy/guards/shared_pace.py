"""When the next request may go, among replicas: at slots that were booked, or, without the store, by one's own share.

Rules:
- A booked slot is used within `GRACE` of its time, or it is gone, and another one is booked: nobody knows when a
  connection will be there. What is not used is given back.
- A replica books for the head of its line, several slots where that many wait and its share of the limit has as many.
- All that is sent is counted here too, so that the share is kept from the first moment on. Between slots that were
  booked and slots of its own a replica is silent for a while, since it does not know what the others have sent, and the
  store may be back by then. Before slots are booked again after that, all are silent for one window.
- After "too fast" all replicas pause, as soon as they hear of it, and one request over all of them tries first.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from proxy.guards.booking import GRACE, Booked, Booking, Kind, SlotBook
from proxy.guards.pace import Pace
from proxy.platforms.platform import RateLimit
from proxy.shared.store import Away

_NEVER: Final = float("inf")
_ASKED_AGAIN: Final = 0.5  # seconds, while another replica tries, or a slot would come too late for whoever is next


class SharedPace:
    """What is known of the requests for one key. `wake` is called when slots have come, or may be taken otherwise.

    `counted`: the account knows what this replica has sent until now.
    """

    def __init__(
        self, book: SlotBook, key: bytes, own: Pace, wake: Callable[[], None], *, counted: bool = False
    ) -> None:
        self._book = book
        self._key = key
        self._own = own
        self._wake = wake
        self._limit = own.limit
        self._in_hand: deque[Booking] = deque()  # the earliest first
        self._taken: dict[object, Booking] = {}
        self._returned: list[int] = []
        self._used: deque[float] = deque()  # when slots were taken, of late
        self._trial: object = None  # whose slot finds out whether a pause was long enough
        self._asking = self._tidying = False
        self._told: asyncio.Task[None] | None = None  # what has to arrive before more is asked for
        self._ask_at = self._had_from = self._opens = self._booked_at = float("-inf")
        self._own_from: float | None = None  # since when, or from when on, requests go by this replica's own share
        self._in_a_row = False
        self._of_before = set(own.holders)  # who has a slot of which nobody here knows for how long it is good
        now = book.store.clock()
        if not (counted or own.idle(now)):  # nor do the others know of a pause
            self._ask_at = self._had_from = max(now + book.quiet(self._limit), own.due(now))
        book.follow(key, self)

    @property
    def limit(self) -> RateLimit:
        """The limit that all keep together."""
        return self._limit

    def change(self, limit: RateLimit) -> None:
        """Keep another limit from now on."""
        self._limit = limit

    def due(self, now: float) -> float:
        """Return when the next slot may be taken: now or earlier if there is one, else when to look again."""
        own_from = self._alone_from(now)
        if own_from is not None:
            return max(self._own.due(now), own_from)
        self._drop_lapsed(now)
        if self._in_hand:
            return self._in_hand[0].at
        return self._ask_at if now < self._ask_at and not self._asking else _NEVER

    def want(self, waiting: int, patience: float, now: float) -> None:
        """Book slots if so many wait and there are none for them; the first of them waits for `patience` seconds."""
        if self._alone_from(now) is not None or self._asking or now < self._ask_at:
            return
        if not waiting:
            while self._in_hand and self._in_hand[-1].at > now:
                self._give_back(self._in_hand.pop())
        elif len(self._in_hand) < min(waiting, self._book.at_once(self._limit)):
            while self._used and self._used[0] <= now - GRACE:
                self._used.popleft()
            # As many more are likely to come within the time for which a slot is good as came of late.
            wanted = min(waiting + len(self._used), self._book.at_once(self._limit)) - len(self._in_hand)
            self._asking = True
            self._book.store.beside(lambda: self._ask(wanted, patience))

    def take(self, holder: object, now: float) -> None:
        """Take the slot that is due."""
        self._own.take(holder, now)
        if self._alone_from(now) is None:
            slot = self._taken[holder] = self._in_hand.popleft()
            self._used.append(now)
            if slot.trial:
                self._trial = holder

    def lapsed(self, holder: object, now: float) -> bool:
        """Tell whether the slot is not good any more."""
        slot = self._taken.get(holder)
        if slot is not None:
            return now > slot.lapses
        return holder in self._of_before or self._own.lapsed(holder, now)

    def give_back(self, holder: object) -> None:
        """Take note that the slot was not used."""
        self._own.give_back(holder)
        self._of_before.discard(holder)
        slot = self._taken.pop(holder, None)
        if holder == self._trial:
            self._trial = None
        if slot is not None:
            self._in_hand.appendleft(slot)
            self._tidy_later()

    def sent(self, holder: object, now: float) -> None:
        """Take note that the request is sent; if that is told again, it was sent again, and counts again."""
        self._own.sent(holder, now)
        self._of_before.discard(holder)
        slot = self._taken.pop(holder, None)
        if slot is not None and now > slot.lapses:
            self._book.sent_late(self._key, slot, self._limit)
        if slot is not None and holder == self._trial:
            self._taken[holder] = slot  # until it is known what became of it

    def heard(self, holder: object, now: float) -> None:
        """Take note that the answer comes: it matters for the own share; what is booked keeps a wider margin."""
        self._own.heard(holder, now)

    def throttled(self, taken_at: float, now: float, retry_after: float | None, max_wait: float = 0.0) -> float:
        """Take note of "too fast", as `Pace.throttled` does; all replicas pause."""
        self._in_a_row = True
        self._forget_trial()
        self._told = self._book.throttled(self._key, taken_at, retry_after, max_wait)
        self._in_hand.clear()
        pause = self._own.throttled(taken_at, now, retry_after, max_wait)
        self._had_from = max(self._had_from, now + min(pause, max_wait))
        return pause

    def stopped(self) -> None:
        """Take note that another replica was too fast: what is in hand is worth nothing any more."""
        self._in_hand.clear()
        self._wake()

    def answered(self, taken_at: float) -> bool:
        """Take note of another answer; tell whether a row of "too fast" has ended."""
        ended = self._own.answered(taken_at)
        if not self._in_a_row:
            return ended
        self._in_a_row = False
        self._forget_trial()
        self._told = self._book.answered(self._key, taken_at)
        self._ask_at = float("-inf")
        return True

    def unanswered(self, holder: object) -> None:
        """Take note that there will be no answer for the slot: if the others waited for it, the next one tries."""
        self._own.unanswered(holder)
        if self._trial is not None and holder == self._trial:
            slot = self._forget_trial()
            if slot is not None:
                self._told = self._book.unanswered(self._key, slot)

    def earliest(self, position: int, now: float) -> float:
        """Return when the slot after the next `position` ones can be had at the earliest, as far as is known."""
        own_from = self._alone_from(now)
        at = self._own.earliest(position, now)
        if own_from is not None:
            return max(at, own_from)
        if self._had_from <= now:
            return at
        return max(at, self._had_from + position * self._book.window(self._limit) / self._limit.requests)

    def expected(self, position: int, now: float) -> float:
        """Return when the slot after the next `position` ones is to be had, if all stays what it is."""
        return max(self._own.expected(position, now), self.earliest(position, now))

    def idle(self, now: float) -> bool:
        """Tell whether all of this can be forgotten."""
        return not (self._in_hand or self._taken or self._asking or self._in_a_row) and self._own.idle(now)

    @property
    def blocked(self) -> bool:
        """Whether the last answer was "too fast"."""
        return self._in_a_row or self._own.blocked

    def _alone_from(self, now: float) -> float | None:
        """Return from when on requests go by this replica's own share; `None` while slots are booked."""
        away_since = self._book.away_since
        if away_since is None and now >= self._opens:
            return None
        own_from = (now if away_since is None else max(away_since, self._booked_at)) + self._book.store.silence
        if self._own_from is None or (away_since is not None and self._own_from < own_from):
            self._own_from = own_from
        share = self._book.share_of(self._limit)
        if share != self._own.limit:
            self._own.change(share)
        if away_since is None and now >= self._opens - self._book.quiet(self._limit):
            return self._opens
        return self._own_from

    async def _ask(self, wanted: int, patience: float) -> None:
        """Book slots, and wake who waits for them."""
        returned, self._returned = self._returned, []
        try:
            if self._told is not None:
                await asyncio.wait([self._told])
            booked = await self._book.book(self._key, self._limit, wanted=wanted, patience=patience, returned=returned)
            self._take_over(booked)
        except Away:
            pass  # the share is kept to from now on
        except Exception:
            self._ask_at = self._book.store.clock() + _ASKED_AGAIN  # a mistake of ours is not to be made all the time
            raise
        finally:
            self._asking = False
            self._wake()
            if self._in_hand:
                self._tidy_later()

    def _take_over(self, booked: Booked) -> None:
        self._in_a_row = booked.in_a_row > 0
        now = self._book.store.clock()
        if booked.kind is not Kind.CLOSED:  # until then, a replica that comes back goes on by its share
            self._own_from = None
            self._own.change(self._limit)
        match booked.kind:
            case Kind.BOOKED:
                self._in_hand.extend(booked.slots)
                self._had_from = booked.slots[-1].at
                self._booked_at = now
            case Kind.LATE:
                self._had_from = booked.until
                self._ask_at = min(booked.until, now + _ASKED_AGAIN)
            case Kind.BLOCKED:
                self._ask_at = min(booked.until, now + _ASKED_AGAIN)
            case Kind.CLOSED:
                self._opens = booked.until

    def _forget_trial(self) -> Booking | None:
        holder, self._trial = self._trial, None
        return self._taken.pop(holder, None)

    def _drop_lapsed(self, now: float) -> None:
        while self._in_hand and self._in_hand[0].lapses < now:
            self._give_back(self._in_hand.popleft())

    def _give_back(self, slot: Booking) -> None:
        """Let others have a slot: with the next question, or, if there is none soon, without one."""
        self._returned.append(slot.time)
        self._tidy_later()

    def _tidy_later(self) -> None:
        if not self._tidying:
            self._tidying = True
            self._book.call_later(GRACE, self._tidy)

    def _tidy(self) -> None:
        self._tidying = False
        self._drop_lapsed(self._book.store.clock())
        if self._returned and not self._asking:
            returned, self._returned = self._returned, []
            self._book.give_back(self._key, self._limit, returned)
        if self._in_hand:
            self._tidy_later()
