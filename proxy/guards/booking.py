"""Slots that replicas book in Redis, so that together they keep the platform's rate limit.

Rules: booking is reserving, not polling: one command says when the slot is to be had, and it is booked by then, or that
it can't be had in time, and nothing is booked. The account of a key is a log of the last slots, which is what "N in any
window" needs; what is given back is free for others. A store that is back books nothing until all replicas have
noticed, and for one window more. Accounts are named by digests.
"""

import asyncio
import hashlib
import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from weakref import WeakValueDictionary

from proxy.guards.pace import (
    FIRST_BELIEF,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_TRY,
    MOST_STEPS,
    STEP_TIME,
    STEPS_DOWN,
    safety_margin,
)
from proxy.platforms.platform import RateLimit
from proxy.shared.scripts import script
from proxy.shared.store import SETTLING, SharedStore

_ACCOUNT: Final = Path(__file__).with_name("account.lua")
_BOOK: Final = script(_ACCOUNT, Path(__file__).with_name("book.lua"))
_NOTE: Final = script(_ACCOUNT, Path(__file__).with_name("note.lua"))
# A request that is sent by so much later than its slot, and one that is not, are as much closer together: the window is
# kept for as much longer. With the margin that one process keeps too, 96 % of a limit per second are left.
GRACE: Final = 0.020  # seconds
# What a replica allows itself, however many there are: less would be no service.
LEAST_SHARE: Final = 0.2  # requests a second

KIND: Final = "slots"  # of entries


class Stoppable(Protocol):
    """Whoever has slots in hand."""

    def stopped(self) -> None:
        """Take note that another replica was too fast."""
        ...


class Kind(IntEnum):
    """What came of asking for slots; the numbers are those of book.lua."""

    BOOKED = 0
    LATE = 1
    BLOCKED = 2
    CLOSED = 3
    TOO_LATE = 4


class Booking(NamedTuple):
    """A slot: from when it may be used and when it lapses, in local seconds; its time in Redis, by which it is known.

    With `trial` it is the one that finds out whether a pause was long enough.
    """

    at: float
    lapses: float
    time: int
    trial: bool


class Booked(NamedTuple):
    """What came of asking for slots. `until` is a local time in seconds: when to expect one, or to ask again."""

    kind: Kind
    slots: tuple[Booking, ...]
    until: float
    in_a_row: int


def fair_share(limit: RateLimit, replicas: int) -> RateLimit:
    """Return what each of so many replicas may send so that they keep the limit, but at least what is a service."""
    whole = limit.requests // replicas
    if whole:
        return RateLimit(whole, limit.per)
    return RateLimit(1, min(limit.per * replicas / limit.requests, max(1 / LEAST_SHARE, limit.per)))


class SlotBook:
    """The accounts of all keys. `share` is what a replica allows itself alone, in requests a second, if it is set."""

    def __init__(
        self, store: SharedStore, share: float | None, call_later: Callable[[float, Callable[[], None]], object]
    ):
        self.store = store
        self.call_later = call_later
        self._share = share
        self._paces: WeakValueDictionary[str, Stoppable] = WeakValueDictionary()

    def follow(self, key: bytes, pace: "Stoppable") -> None:
        """Tell `pace` when another replica was too fast with this key."""
        self._paces[self._name(key)] = pace

    def heard(self, name: str) -> None:
        """Take note that a replica was too fast with the account of this name."""
        pace = self._paces.get(name)
        if pace is not None:
            pace.stopped()

    @property
    def away_since(self) -> float | None:
        """Since when slots can't be booked, in local seconds; what lasts but for a moment in between does not count."""
        breaker = self.store.breaker
        return None if breaker.closed else breaker.unwell_since

    def share_of(self, limit: RateLimit) -> RateLimit:
        """Return what this replica allows itself while the store is away."""
        if self._share is not None:
            whole = math.floor(self._share * limit.per)
            return RateLimit(whole, limit.per) if whole else RateLimit(1, 1 / self._share)
        # As long as it was never seen how many there are, each takes the least whole share: up to the limit's number of
        # replicas keep it so.
        return fair_share(limit, self.store.replicas or limit.requests)

    def at_once(self, limit: RateLimit) -> int:
        """Return how many slots this replica may have in hand: no more than it would allow itself."""
        return max(limit.requests // (self.store.replicas or limit.requests), 1)

    def window(self, limit: RateLimit) -> float:
        """Return for how many seconds a slot counts."""
        return limit.per + safety_margin(limit.per) + self._late()

    def quiet(self, limit: RateLimit) -> float:
        """Return for how many seconds nothing is sent before slots are booked again, so that no window sees both kinds.

        A longer window than that sees both.
        """
        return min(self.window(limit), self.store.silence)

    async def book(
        self, key: bytes, limit: RateLimit, *, wanted: int, patience: float, returned: Sequence[int]
    ) -> Booked:
        """Book slots that are to be had within `patience` seconds; those `returned` are given back. Raises `Away`."""
        late = self._late()
        window = limit.per + safety_margin(limit.per)
        before = (limit.requests, _micro(window), _micro(late), wanted, _micro(patience), _micro(SETTLING))
        after = (_micro(self.quiet(limit)), _micro(STEP_TIME), STEPS_DOWN, _micro(LONGEST_TRY))
        arguments = (*before, *after, self.store.waits_until(), *returned)
        said = await self.store.run(_BOOK, (self._name(key), self.store.key(KIND, "from")), arguments)
        self.store.metrics.slots_given_back += len(returned)
        kind, found, *times = said.values

        def local(time: int, reference: float) -> float:
            return reference + (time - said.time) / 1e6

        if kind == Kind.BOOKED:
            self.store.metrics.slots_booked += len(times)
            slots = (
                Booking(local(time, said.received), local(time, said.sent) + late, time, trial=found > 0)
                for time in times
            )
            return Booked(Kind.BOOKED, tuple(slots), said.received, found)
        until = local(found, said.received) if kind == Kind.CLOSED else said.received + found / 1e6
        return Booked(Kind(kind), (), until, int(kind == Kind.BLOCKED))

    def give_back(self, key: bytes, limit: RateLimit, returned: Sequence[int]) -> None:
        """Give slots back, beside the traffic."""
        if self.store.breaker.closed:
            self.store.beside(lambda: self.book(key, limit, wanted=0, patience=0.0, returned=returned))

    def throttled(
        self, key: bytes, taken_at: float, retry_after: float | None, max_wait: float
    ) -> asyncio.Task[None] | None:
        """Tell that a request whose slot was taken at `taken_at` was too fast."""
        spans = (retry_after or 0.0, max_wait, FIRST_PAUSE, LONGEST_PAUSE, FIRST_BELIEF, STEP_TIME)
        channel, numbers = self.store.key(KIND, "news"), map(_micro, spans)
        return self._note(key, "throttled", self._time(taken_at), channel, *numbers, STEPS_DOWN, MOST_STEPS)

    def answered(self, key: bytes, taken_at: float) -> asyncio.Task[None] | None:
        """Tell that a request whose slot was taken at `taken_at` was let through."""
        return self._note(key, "answered", self._time(taken_at))

    def unanswered(self, key: bytes, slot: Booking) -> asyncio.Task[None] | None:
        """Tell that there will be no answer to the request that tried."""
        return self._note(key, "unanswered", slot.time)

    def sent_late(self, key: bytes, slot: Booking, limit: RateLimit) -> None:
        """Tell that a request was sent after its slot had lapsed, and counts from now."""
        self._note(key, "sent", slot.time, _micro(self.window(limit)))

    def _late(self) -> float:
        """Return by how many seconds after its time, as the store knows it, a slot may be used."""
        return GRACE + self.store.trip

    def _note(self, key: bytes, what: str, *arguments: int | str) -> asyncio.Task[None] | None:
        return self.store.tell(_NOTE, (self._name(key),), (what, *arguments))

    def _name(self, key: bytes) -> str:
        return self.store.key(KIND, hashlib.sha256(b"slots" + key).hexdigest()[:32])

    def _time(self, moment: float) -> int:
        return self.store.time_at(moment) or 0


def _micro(seconds: float) -> int:
    return round(min(seconds, 1e9) * 1e6)
