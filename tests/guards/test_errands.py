"""Who goes together on one slot, and what becomes of the line."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.errands import Offer, Outcome, Seat, company, slots_needed
from proxy.guards.pacing import Turn
from proxy.platforms.platform import RateLimit
from tests.guards.world import Request, World, world

ONE = RateLimit(1, per=1.0)


@dataclass
class Asking:
    """An offer that keeps what becomes of it."""

    question: Hashable
    kind: Hashable = None
    at_once: int = 10
    waits_until: float = 0.0
    turn: Turn | None = None
    others: Sequence[Offer] = ()
    seats: list["Sitting"] = field(default_factory=list)

    def most(self) -> int:
        return self.at_once

    def at_best(self) -> int:
        return self.at_once

    def not_before(self) -> float:
        return self.waits_until

    def begin(self, turn: Turn, others: Sequence[Offer]) -> Sequence[Seat]:
        self.turn, self.others = turn, others
        self.seats = [Sitting() for _ in (self, *others)]
        return self.seats


class Sitting:
    def __init__(self) -> None:
        self.left = False

    def leave(self) -> None:
        self.left = True

    async def outcome(self) -> Outcome:
        return Outcome.ALONE


def ask(here: World, offer: Asking | None, client: str = "erp", limit: RateLimit = ONE) -> Request:
    request = Request(here, client, b"demo", limit)
    request.turn.offers = lambda: offer
    return request.start(hold=True)


# Who goes with whom


@pytest.mark.parametrize(
    ("first", "line", "expected"),
    [
        pytest.param(Asking("q"), ["q", "r", "q", None], [0, 2], id="the same question, wherever it stands"),
        pytest.param(Asking("q", "k"), ["q", "r", "s"], [0, 1, 2], id="different ones of one kind"),
        pytest.param(
            Asking("q", "k", at_once=2), ["r", "s", "q", "r"], [0, 2, 3], id="as many as may go, and their likes"
        ),
        pytest.param(Asking("q", "k", at_once=1), ["r", "q"], [1], id="none of its kind may go now"),
        pytest.param(Asking("q", "other"), ["r", "q"], [1], id="another kind"),
        pytest.param(Asking("q"), ["r"], [], id="nobody"),
    ],
)
def test_those_go_together_that_can(first: Asking, line: list[str | None], expected: list[int]) -> None:
    offers = [None if name is None else Asking(name, "k") for name in line]

    assert company(first, list(enumerate(offers))) == expected


_offer = st.builds(Asking, st.integers(0, 5), st.sampled_from(["a", "b", None]), at_once=st.integers(1, 4))


@given(_offer, st.lists(st.one_of(st.none(), _offer)))
def test_no_errand_holds_more_questions_than_may_go_and_none_that_has_no_business_there(
    first: Asking, line: list[Asking | None]
) -> None:
    along = company(first, [(offer, offer) for offer in line])

    offers = [offer for offer in along if offer is not None]
    questions = {first.question, *(offer.question for offer in offers)}
    assert len(offers) == len(along)
    assert len(questions) <= (first.most() if first.kind is not None else 1)
    assert questions <= {first.question, *(offer.question for offer in offers if offer.kind == first.kind)}
    assert all(offer in offers for offer in line if offer is not None and offer.question == first.question)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([], 0),
        ([None, None], 2),
        ([Asking("q"), Asking("q"), Asking("r")], 2),
        ([Asking(number, "k", at_once=4) for number in range(9)], 3),
        ([Asking("q", "k", at_once=4), Asking("q", "k", at_once=4), Asking("r", "other"), None], 3),
        ([Asking("q", "k", at_once=1), Asking("r", "k", at_once=1)], 2),
    ],
)
def test_a_line_needs_a_slot_for_each_errand(line: list[Asking | None], expected: int) -> None:
    assert slots_needed(line) == expected


# In line


def test_those_who_ask_the_same_have_seats_and_the_errand_has_the_slot() -> None:
    with world() as here:
        here.ask(limit=ONE)
        offers = [Asking("q"), Asking("q"), Asking("other"), Asking("q")]
        requests = [ask(here, offer, client) for offer, client in zip(offers, "abca", strict=True)]
        here.pass_time(1.1)

        assert [request.inside for request in requests] == [True, True, False, True]
        assert offers[0].others == [offers[3], offers[1]] or offers[0].others == [offers[1], offers[3]]
        turn = offers[0].turn
        assert turn is not None
        here.start(_use(turn))
        here.pass_time(1.1)
        assert requests[2].inside  # the others needed no slot


def test_who_finds_a_slot_or_nobody_to_go_with_goes_as_ever() -> None:
    with world() as here:
        at_once = Asking("q")
        assert ask(here, at_once).inside
        waiting = Asking("q")
        request = ask(here, waiting)
        here.requests[0].send()
        here.pass_time(1.1)

        assert request.inside
        assert at_once.turn is waiting.turn is None


def test_a_slot_that_an_errand_does_not_use_is_the_next_ones_at_once() -> None:
    with world() as here:
        here.ask(limit=ONE)
        first = Asking("q")
        requests = [ask(here, offer) for offer in (first, Asking("q"), Asking("r"))]
        here.pass_time(1.1)
        assert first.turn is not None
        assert not requests[2].inside
        first.turn.let_go()
        here.settle()

        assert requests[2].inside


def test_who_leaves_its_seat_or_is_gone_before_it_could_take_it_tells_the_errand() -> None:
    with world() as here:
        here.ask(limit=ONE)
        first = Asking("q")
        requests = [ask(here, offer) for offer in (first, Asking("q"), Asking("q"))]
        here.now += 1.1
        [alarm] = here._alarms
        alarm.ring()  # the seats are given out, and nobody has heard of it yet
        requests[1].cancel()
        here.settle()
        assert [seat.left for seat in first.seats] == [False, True, False]
        requests[2].cancel()
        here.settle()

        assert [seat.left for seat in first.seats] == [False, True, True]
        here._alarms.remove(alarm)


def test_who_has_left_the_line_is_not_taken_along() -> None:
    with world() as here:
        here.ask(limit=ONE)
        first = Asking("q")
        requests = [ask(here, offer) for offer in (first, Asking("q"), Asking("q"))]
        requests[1].task.cancel()
        here.pass_time(1.1)

        assert len(first.others) == 1


def test_the_errands_turn_has_the_patience_that_is_left_and_the_place_of_the_first() -> None:
    with world(max_wait=3.0) as here:
        here.ask(limit=ONE)
        first = Asking("q")
        for offer in (first, Asking("q")):
            ask(here, offer, "a")
        here.pass_time(1.1)
        turn = first.turn
        assert turn is not None
        assert turn.waited == pytest.approx(1.1, abs=0.1)
        later = ask(here, None, "a")
        again = Again(here, turn)
        here.pass_time(1.1)

        assert again.times == 2
        assert not later.inside  # it came later than the one on whose behalf the errand goes


def test_a_line_that_goes_together_is_not_refused_for_its_length() -> None:
    with world(max_wait=3.0) as here:
        here.ask(limit=ONE)
        same = [ask(here, Asking("q")) for _ in range(20)]
        single = [ask(here, Asking(number)) for number in range(10)]
        here.settle()

        assert not any(request.is_refused() for request in same)
        assert [request.is_refused() for request in single] == [False] + [True] * 9


# Different questions of one kind


def test_slots_are_spaced_evenly_while_some_wait_who_could_go_together() -> None:
    three = RateLimit(3, per=1.0)
    with world() as here:
        for _ in range(3):
            here.ask(limit=three)
        offers = [Asking(number, "k", at_once=2) for number in range(8)]
        for offer in offers:
            ask(here, offer, limit=three)
        begun: list[float] = []
        for _ in range(300):
            here.pass_time(0.01)
            for offer in offers:
                if offer.turn is not None:
                    begun.append(here.now)
                    here.start(_use(offer.turn))
                    offer.turn = None

    assert len(begun) == 4  # of two each
    assert all(0.32 < later - earlier < 0.37 for earlier, later in pairwise(begun))


def test_who_could_go_with_others_waits_for_the_end_of_an_errand_of_its_kind_for_a_while() -> None:
    with world() as here:
        here.ask(limit=ONE)
        waiting = Asking("q", "k", waits_until=here.now + 2.0)
        request = ask(here, waiting)
        here.pass_time(1.5)
        assert not request.inside
        waiting.waits_until = 0.0
        here.pacer.look_again(b"demo")
        here.settle()

        assert request.inside


@pytest.mark.parametrize("other", [None, Asking("another question")])
def test_nobody_else_waits_for_the_end_of_an_errand(other: Asking | None) -> None:
    with world() as here:
        here.ask(limit=ONE)
        held = Asking("q", "k", waits_until=here.now + 5.0)
        waiting = ask(here, held)
        passing = [ask(here, offer, client) for offer, client in ((other, "erp"), (None, "feed"))]
        here.pass_time(1.1)
        assert [request.inside for request in (waiting, *passing)] == [False, False, True]
        passing[1].send()
        here.pass_time(1.1)
        assert [request.inside for request in (waiting, *passing)][:2] == [False, True]
        passing[0].send()
        here.pass_time(3.0)

        assert waiting.inside


def test_the_seats_of_an_errand_are_shared_fairly_between_clients() -> None:
    with world() as here:
        here.ask("x", limit=ONE)
        first = Asking(0, "k", at_once=4)
        many = [
            ask(here, offer, "many") for offer in (first, *(Asking(number, "k", at_once=4) for number in range(1, 9)))
        ]
        few = [ask(here, Asking(f"few {number}", "k", at_once=4), "few") for number in range(2)]
        here.pass_time(1.1)

        assert [request.inside for request in few] == [True, True]
        assert [request.inside for request in many] == [True, True] + [False] * 7


async def _use(turn: Turn) -> None:
    async with turn:
        turn.sent()


class Again:
    """An errand that has to be sent twice."""

    def __init__(self, here: World, turn: Turn) -> None:
        self.times = 0
        self._turn = turn
        here.start(self._run())

    async def _run(self) -> None:
        for _ in range(2):
            async with self._turn:
                self._turn.sent()
                self.times += 1
