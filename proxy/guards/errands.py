"""Who goes together: several requests that wait in line, and are answered by one errand, on one slot. Pure.

Rules:
- Who waits may offer a question: all that wait with the same one go together, however many, and wherever in line.
- It may offer a kind too: different questions of one kind go together, up to as many as the first in line allows; by
  turns, so that no client's fill the errand while another's wait.
- An errand begins when the first of its members has a slot, so after all of them came.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from proxy.guards.pacing import Turn

_W = TypeVar("_W")


class Outcome(Enum):
    """What became of an errand, for one of its members."""

    ANSWERED = "answered"
    AGAIN = "again"  # back to the line, and maybe into another errand
    ALONE = "alone"  # back to the line, to go by itself


class Seat(Protocol):
    """A place in an errand, which does not need a slot of its own."""

    def leave(self) -> None:
        """Go before the errand is over. Without effect if told again, or later."""

    async def outcome(self) -> Outcome:
        """Wait for the end of the errand. Raises what it failed with."""


class Offer(Protocol):
    """What a request that waits can do together with others. Where `kind` is `None`, it can share its question only."""

    @property
    def question(self) -> Hashable: ...

    @property
    def kind(self) -> Hashable: ...

    def most(self) -> int:
        """Return how many different questions of its kind may go together now; 1: none besides its own."""

    def at_best(self) -> int:
        """Return how many of them may go together when none is under way."""

    def not_before(self) -> float:
        """Return until when it is better to wait, since an errand of its kind is under way; on the pacer's clock."""

    def begin(self, turn: "Turn", others: Sequence["Offer"]) -> Sequence[Seat]:
        """Begin the errand of this request and `others`, on `turn`, which has its slot; return the seats of all."""


Offers = Callable[[], Offer | None]  # asked only if the request has to wait


def held_until(offer: Offer | None) -> float:
    """Return until when who offers this, or nothing, better waits although there is a slot."""
    return float("-inf") if offer is None or offer.kind is None else offer.not_before()


def company(first: Offer, line: Iterable[tuple[_W, Offer | None]]) -> list[_W]:
    """Return who of those in line goes together with `first`; they come in the order of their turns."""
    questions = {first.question}
    most = 1 if first.kind is None else first.most()
    along = []
    for waiter, offer in line:
        if offer is None:
            continue
        if offer.question not in questions:
            if len(questions) >= most or offer.kind != first.kind:
                continue
            questions.add(offer.question)
        along.append(waiter)
    return along


def slots_needed(line: Iterable[Offer | None]) -> int:
    """Return how many slots those in line need, if they go together as they can."""
    singles = 0
    questions: set[Hashable] = set()
    kinds: dict[Hashable, tuple[int, set[Hashable]]] = {}
    for offer in line:
        if offer is None:
            singles += 1
        elif offer.kind is None:
            questions.add(offer.question)
        else:
            if offer.kind not in kinds:
                kinds[offer.kind] = (max(offer.at_best(), 1), set())
            kinds[offer.kind][1].add(offer.question)
    return singles + len(questions) + sum(math.ceil(len(of_kind) / most) for most, of_kind in kinds.values())
