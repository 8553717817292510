"""Keeps the platforms' rate limits: requests above them wait in line for a slot.

    turn = pacer.turn(key, client, limit)
    async with turn:                      # waits for a slot; raises PacedOut
        ...                               # leaving here gives the slot back
        turn.begun()                      # the first byte is about to be written: the slot counts, whatever happens
        turn.sent()                       # it is written, but for a body that streams
        await turn.again()                # it has to be sent once more: waits for another slot
        ...                               # the answer is there, and is not 'too fast':
        turn.answered()
    if turn.throttled(retry_after):       # instead, if it is
        async with turn: ...              # once more, ahead of all that came later from this client

Rules:
- A slot can't be lost or used twice: leaving the block settles it. If it was not used, the next one has it at once; if
  it was begun and nobody said that all is sent, it counts from when the block is left.
- A request waits for `max_wait` seconds in all, however often it enters. Where that is known to be in vain it is
  refused on arrival; so are those above `max_queue`, but a client with few in line takes the place of one with many.
- After a 429 the whole shop pauses, then one request tries; its answer is told with `answered` or `throttled`. If it
  ends without one, as the block being left by an exception or the turn being entered again tell, the next one tries.
- A client that leaves makes no hole: its turn, and a slot that it was just granted, go to the next.
- Who offers something may find that others come along: then each gets a seat in an errand instead of a slot, and the
  errand has a turn that has the slot already. Who offers it again afterwards joins the line even if there is a slot:
  the others come back at the same time, and they can go together.
- What is known of a key is dropped when it no longer matters, and not before: forgetting it would break the limit.
"""

from collections.abc import Callable
from typing import Final

from proxy.guards.errands import Offers, Seat
from proxy.guards.office import Office, PacingPolicy, Sharing, Timer
from proxy.guards.rotation import Place
from proxy.guards.slots import Slots
from proxy.platforms.platform import RateLimit
from proxy.telemetry.metrics import PacingMetrics

MAX_TRIES_AGAIN: Final = 3  # after a 429
_KEPT_KEYS: Final = 1000  # are not worth looking through for idle ones


class Turn:
    """One request's way to its slots: to be entered with `async with` for each attempt. This one is without a limit."""

    __slots__ = ("offers",)

    may_lapse: bool = False  # whether `lapsed` is worth asking
    # What the request can do together with others; taken when the turn is entered. Not to be set without a limit.
    offers: Offers | None

    async def __aenter__(self) -> Seat | None:
        """Wait for a slot; return a seat if the request goes together with others instead. Raises `PacedOut`."""
        return None

    async def __aexit__(self, *_exc: object) -> None:
        """Settle what became of the slot."""

    async def again(self) -> None:
        """Settle the slot and wait for another one, inside the block. Raises `PacedOut`."""

    @property
    def lapsed(self) -> bool:
        """Whether the slot was not used in time, and another one is to be waited for with `again`."""
        return False

    def begun(self) -> None:
        """Take note that the first byte is about to be written: the slot can't be given back any more."""

    def sent(self) -> None:
        """Take note that the request is written, but for a body that streams. Without effect outside."""

    @property
    def waited(self) -> float | None:
        """How many seconds the request has waited for its slots so far; `None` if there is no limit."""
        return None

    @property
    def throttlings(self) -> int:
        """How often `throttled` was told."""
        return 0

    def answered(self) -> None:
        """Take note that an answer has come that is not 'too fast'. Without effect if told again."""

    def throttled(self, retry_after: float | None) -> bool:
        """Take note that the answer is 'too fast', with this Retry-After in seconds; tell whether to enter again.

        To enter it waits as long as is due. If not, the 429 is for the client.
        """
        return False

    def let_go(self) -> None:
        """Give the slot back that the turn was made with, if it has not been entered."""


UNPACED: Final = Turn()


class Pacer:
    """Gives out turns, and holds the slots of every key.

    `clock` is monotonic, in seconds, and must be exact: uvloop's own stands still while callbacks run. `call_later`
    takes seconds and a function.
    """

    def __init__(
        self,
        policy: PacingPolicy,
        metrics: PacingMetrics,
        *,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
    ) -> None:
        self._office = Office(policy, metrics, clock, call_later)
        self._slots: dict[bytes, Slots] = {}
        self._keys_kept = _KEPT_KEYS
        self._turns = 0

    def keep_to(self, policy: PacingPolicy) -> None:
        """Follow another policy from now on."""
        self._office.policy = policy

    def share_by(self, sharing: Sharing | None) -> None:
        """Keep the limits together with other replicas from now on, or alone."""
        self._office.sharing = sharing

    def turn(self, key: bytes, client: str, limit: RateLimit | None) -> Turn:
        """Return the turn of a request that came in just now.

        `key` stands for an application and a shop, which have one limit; `client` for who shares it fairly.
        """
        if limit is None:
            return UNPACED
        self._turns += 1
        return _PacedTurn(self, self._office, key, limit, Place(client, self._turns))

    def slots(self, key: bytes, limit: RateLimit) -> Slots:
        """Return the slots of `key`; for its turns."""
        slots = self._slots.get(key)
        if slots is None:
            if len(self._slots) >= self._keys_kept:
                self._drop_idle()
            slots = self._slots[key] = Slots(self._office, key, limit)
        else:
            slots.keep(limit)
        return slots

    def make_room(self, key: bytes, client: str) -> bool:
        """Have one of who has more in line for `key` than this client would have be refused; tell whether one was."""
        slots = self._slots.get(key)
        return slots is not None and slots.make_room(client)

    def look_again(self, key: bytes) -> None:
        """Take note that an errand for `key` is over, for whose end others wait."""
        slots = self._slots.get(key)
        if slots is not None:
            slots.look_again()

    def waiting(self, key: bytes) -> int:
        """Count the requests that wait in line for `key`."""
        slots = self._slots.get(key)
        return 0 if slots is None else slots.waiting

    def expected_wait(self, key: bytes) -> float:
        """Return how many seconds a request for `key` that comes now would wait, as far as is known."""
        slots = self._slots.get(key)
        return 0.0 if slots is None else slots.expected_wait(self._office.clock())

    def __len__(self) -> int:
        """Count the keys of which something is known."""
        return len(self._slots)

    def _drop_idle(self) -> None:
        now = self._office.clock()
        self._slots = {key: slots for key, slots in self._slots.items() if not slots.idle(now)}
        self._keys_kept = max(2 * len(self._slots), _KEPT_KEYS)  # so that looking through them costs each one little


class _PacedTurn(Turn):
    """A turn under a rate limit."""

    __slots__ = (
        "_begun",
        "_has_slot",
        "_inside",
        "_key",
        "_limit",
        "_office",
        "_pacer",
        "_patience",
        "_place",
        "_returning",
        "_seat",
        "_sent",
        "_taken_at",
        "_tries",
        "may_lapse",
    )

    def __init__(self, pacer: Pacer, office: Office, key: bytes, limit: RateLimit, place: Place) -> None:
        self._pacer = pacer
        self._office = office
        self._key = key
        self._limit = limit
        self._place = place
        self.may_lapse = office.sharing is not None
        self._inside = False  # or on the way in
        self._patience = office.policy.max_wait  # seconds that are left to wait
        self._tries = 0
        self._has_slot = False  # without having been entered
        self._seat: Seat | None = None
        self._returning = False  # from an errand
        self.offers = None

    async def __aenter__(self) -> Seat | None:
        if self._inside:
            raise RuntimeError("a turn is entered by one at a time")
        offers, self.offers = self.offers, None
        together, self._returning = self._returning and offers is not None, False
        self._inside = True
        if self._has_slot:
            self._has_slot = self._begun = self._sent = False
            return None
        slots = self._pacer.slots(self._key, self._limit)
        self._taken_at = now = self._office.clock()
        if together or not slots.take_at_once(self._place, now):
            try:
                offer = None if offers is None else offers()
                self._seat = await slots.wait(self._place, now, self._patience, offer, self._handing_over)
            except BaseException:
                self._inside = False
                raise
            finally:
                self._taken_at = self._office.clock()
                self._patience -= self._taken_at - now
        self._begun = self._sent = False
        return self._seat

    async def __aexit__(self, *exc: object) -> None:
        if self._seat is not None:
            self._seat.leave()
            self._seat, self._inside, self._returning = None, False, True
            return
        slots = self._pacer.slots(self._key, self._limit)
        if not self._begun:
            slots.give_back(self._place)
        elif not self._sent:
            self.sent()
        self._inside = False
        if any(exc):
            slots.unanswered(self._place)

    async def again(self) -> None:
        await self.__aexit__()
        await self.__aenter__()

    @property
    def lapsed(self) -> bool:
        return self._pacer.slots(self._key, self._limit).lapsed(self._place)

    def begun(self) -> None:
        self._begun = True

    def sent(self) -> None:
        if self._inside:
            self._begun = self._sent = True
            self._pacer.slots(self._key, self._limit).sent(self._place)

    def answered(self) -> None:
        self._pacer.slots(self._key, self._limit).answered(self._taken_at)

    @property
    def waited(self) -> float:
        return self._office.policy.max_wait - self._patience

    @property
    def throttlings(self) -> int:
        return self._tries

    def throttled(self, retry_after: float | None) -> bool:
        self._tries += 1
        self._office.metrics.throttled += 1
        pause = self._pacer.slots(self._key, self._limit).throttled(self._taken_at, retry_after)
        return self._tries <= MAX_TRIES_AGAIN and pause <= self._patience

    def let_go(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._pacer.slots(self._key, self._limit).give_back(self._place)

    def _handing_over(self) -> Turn:
        """Return a turn that has the slot which was just granted, and the patience that is left."""
        turn = _PacedTurn(self._pacer, self._office, self._key, self._limit, self._place)
        now = self._office.clock()
        turn._patience = self._patience - (now - self._taken_at)
        turn._taken_at = now
        turn._has_slot = True
        return turn
