"""First token requests come one after the other, callers in rotation; who would wait too long is told to come again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Overloaded
from proxy.tasks import BackgroundTasks
from proxy.tokens.first_requests import FirstRequests, Turn

NOW = 1000.0


class Line:
    """A line whose time passes while it waits, and not otherwise; `came` are the turns in their order, with times."""

    def __init__(self, per_second: float, longest_wait: float, tasks: BackgroundTasks) -> None:
        self.now = NOW
        self.came: list[tuple[str, float]] = []
        self.paced = FirstRequests(
            per_second, longest_wait=longest_wait, tasks=tasks, clock=lambda: self.now, sleep=self._sleep
        )

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds

    def line_up(self, key: str, caller: str = "") -> Turn | None:
        turn = self.paced.line_up(key.encode(), caller)
        if turn is None:
            self.came.append((key, self.now))
        else:
            turn.came.add_done_callback(
                lambda _: None if turn.came_at is None else self.came.append((key, turn.came_at))
            )
        return turn

    async def all_have_come(self) -> list[str]:
        """Wait until the line is empty; return who had a turn."""
        while self.paced._turns:
            await asyncio.wait([turn.came for turn in self.paced._turns.values()])
        await asyncio.sleep(0)
        return [key for key, _ in self.came]

    @property
    def times(self) -> list[float]:
        return [at - NOW for _, at in self.came]


@asynccontextmanager
async def line(per_second: float = 50.0, longest_wait: float = 10.0) -> AsyncIterator[Line]:
    tasks = BackgroundTasks()
    try:
        async with asyncio.timeout(20):
            yield Line(per_second, longest_wait, tasks)
    finally:
        await tasks.close()


# The pace


async def test_the_first_one_goes_at_once() -> None:
    async with line() as here:
        assert here.line_up("a") is None


async def test_those_at_once_take_turns() -> None:
    async with line() as here:
        for key in "abcd":
            here.line_up(key)

        assert await here.all_have_come() == ["a", "b", "c", "d"]
        assert here.times == pytest.approx([0.0, 0.02, 0.04, 0.06])


@pytest.mark.parametrize(("after", "at"), [(0.0, 0.02), (0.005, 0.02), (0.02, 0.02), (100.0, 100.0)])
async def test_who_comes_later_waits_less(after: float, at: float) -> None:
    async with line() as here:
        here.line_up("a")
        here.now += after
        here.line_up("b")
        await here.all_have_come()

        assert here.times == pytest.approx([0.0, at])


async def test_time_without_requests_is_not_saved_up() -> None:
    async with line() as here:
        here.line_up("a")
        here.now += 100.0
        here.line_up("b")
        here.line_up("c")
        await here.all_have_come()

        assert here.times == pytest.approx([0.0, 100.0, 100.02])


async def test_less_than_one_in_a_second_is_possible() -> None:
    async with line(per_second=0.1) as here:
        here.line_up("a")
        here.line_up("b")
        await here.all_have_come()

        assert here.times == [0.0, 10.0]


async def test_another_pace_holds_for_those_who_wait_already() -> None:
    async with line() as here:
        for key in "abcd":
            here.line_up(key)
        here.paced.keep_to(100.0, longest_wait=10.0)
        await here.all_have_come()

        assert here.times == pytest.approx([0.0, 0.02, 0.03, 0.04])


# Who waits for too long


async def test_who_would_wait_too_long_is_told_when_to_come_again_and_takes_no_turn() -> None:
    async with line(per_second=2.0, longest_wait=1.0) as here:
        for key in "abc":
            here.line_up(key)
        for _ in range(100):
            with pytest.raises(Overloaded, match="first_requests_per_second") as caught:
                here.line_up("d")
            assert caught.value.retry_after == 0.5
        await here.all_have_come()

        assert here.times == [0.0, 0.5, 1.0]
        here.line_up("d")
        await here.all_have_come()
        assert here.times[3:] == [1.5]


async def test_who_was_put_off_for_too_long_gets_no_turn() -> None:
    async with line(per_second=1.0, longest_wait=3.0) as here:
        here.line_up("first")
        turns = [here.line_up(f"a{number}", "a") for number in range(3)]
        for caller in "bc":
            here.line_up(caller, caller)  # before the second one of a

        assert await here.all_have_come() == ["first", "a0", "b", "c"]
        assert [turn and turn.came.result() for turn in turns] == [True, False, False]
        assert here.times == [0.0, 1.0, 2.0, 3.0]


# Whose turn it is


async def test_a_caller_with_many_shops_holds_up_another_by_one_turn() -> None:
    async with line() as here:
        for number in range(400):
            here.line_up(f"made-up-{number}", "scanner")
        here.line_up("real", "erp")
        here.line_up("real-too", "erp")
        here.line_up("another", "shop-app")

        came = await here.all_have_come()
        assert came[:6] == ["made-up-0", "made-up-1", "real", "another", "made-up-2", "real-too"]
        assert len(came) == 403


async def test_a_caller_that_is_refused_keeps_no_other_out() -> None:
    async with line() as here:
        with suppress(Overloaded):
            for number in range(1000):
                here.line_up(f"made-up-{number}", "scanner")
        assert len(here.paced._turns) == 500
        here.line_up("real", "erp")

        assert (await here.all_have_come()).index("real") == 2


async def test_a_shop_that_a_scanner_waits_for_comes_as_soon_as_another_caller_may_have_it() -> None:
    async with line() as here:
        for number in range(400):
            here.line_up(f"shop-{number}", "scanner")
        waiting = here.paced.wait_too(b"shop-300", "erp")
        assert waiting is here.paced.wait_too(b"shop-300", "erp")

        came = await here.all_have_come()
        assert came.index("shop-300") == 2
        assert len(came) == len(set(came)) == 400
        assert len(here.paced._line) == 0


async def test_who_waits_for_a_shop_of_another_takes_no_place_where_its_own_would_be_too_far_off() -> None:
    async with line(per_second=2.0, longest_wait=1.0) as here:
        for key, caller in (("first", ""), ("a", "x"), ("b", "y")):
            here.line_up(key, caller)
        turn = here.paced.wait_too(b"a", "z")

        assert turn is not None
        assert turn.callers.keys() == {"x"}
        assert here.paced.wait_too(b"nobody-waits-for-this", "z") is None


async def test_the_end_of_the_fetch_that_waits_breaks_nothing() -> None:
    async with line() as here:
        here.line_up("a")
        turn = here.line_up("b")
        assert turn is not None
        turn.came.cancel()  # as at the end of the process
        here.line_up("c")
        await here.all_have_come()

        assert here.came[-1][0] == "c"


@given(
    steps=st.lists(st.tuples(st.floats(min_value=0, max_value=5), st.sampled_from("abc")), max_size=100),
    per_second=st.floats(min_value=0.1, max_value=100),
    longest_wait=st.floats(min_value=0, max_value=20),
)
def test_turns_are_never_closer_than_the_rate_and_never_further_off_than_the_wait(
    steps: list[tuple[float, str]], per_second: float, longest_wait: float
) -> None:
    async def play() -> None:
        async with line(per_second, longest_wait) as here:
            asked: dict[str, float] = {}
            waits: list[float] = []
            for number, (step, caller) in enumerate(steps):
                here.now += step
                await asyncio.sleep(0)
                try:
                    here.line_up(str(number), caller)
                except Overloaded as error:
                    waits.append(error.retry_after or 0.0)
                else:
                    asked[str(number)] = here.now
            await here.all_have_come()

            assert all(later - earlier >= 1 / per_second - 1e-6 for (_, earlier), (_, later) in pairwise(here.came))
            assert all(at - asked[key] <= longest_wait + 1e-6 for key, at in here.came)
            assert all(wait > 0 for wait in waits)
            assert not here.paced._turns
            assert len(here.paced._line) == 0

    asyncio.run(play())
