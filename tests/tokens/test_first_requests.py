"""First token requests come one after the other; who would wait too long is told to come again."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Overloaded
from proxy.tokens.first_requests import FirstRequests

NOW = 1000.0


def test_the_first_one_goes_at_once() -> None:
    assert FirstRequests(50.0, longest_wait=10.0).turn(NOW) == 0.0


def test_those_at_once_take_turns() -> None:
    paced = FirstRequests(50.0, longest_wait=10.0)

    assert [paced.turn(NOW) for _ in range(4)] == pytest.approx([0.0, 0.02, 0.04, 0.06])


@pytest.mark.parametrize(("after", "delay"), [(0.0, 0.02), (0.005, 0.015), (0.02, 0.0), (100.0, 0.0)])
def test_who_comes_later_waits_less(after: float, delay: float) -> None:
    paced = FirstRequests(50.0, longest_wait=10.0)
    paced.turn(NOW)

    assert paced.turn(NOW + after) == pytest.approx(delay, abs=1e-9)


def test_time_without_requests_is_not_saved_up() -> None:
    paced = FirstRequests(50.0, longest_wait=10.0)
    paced.turn(NOW)

    assert [paced.turn(NOW + 100.0) for _ in range(2)] == pytest.approx([0.0, 0.02])


def test_who_would_wait_too_long_is_told_when_to_come_again() -> None:
    paced = FirstRequests(2.0, longest_wait=1.0)
    delays = [paced.turn(NOW) for _ in range(3)]

    with pytest.raises(Overloaded) as caught:
        paced.turn(NOW)

    assert delays == [0.0, 0.5, 1.0]
    assert caught.value.retry_after == 0.5
    assert "tokens.first_requests_per_second" in caught.value.detail


def test_who_is_turned_away_takes_no_turn() -> None:
    paced = FirstRequests(2.0, longest_wait=1.0)
    for _ in range(3):
        paced.turn(NOW)
    for _ in range(100):
        with pytest.raises(Overloaded):
            paced.turn(NOW)

    assert paced.turn(NOW + 0.5) == 1.0


def test_less_than_one_in_a_second_is_possible() -> None:
    paced = FirstRequests(0.1, longest_wait=10.0)

    assert [paced.turn(NOW), paced.turn(NOW)] == [0.0, 10.0]


@given(
    steps=st.lists(st.floats(min_value=0, max_value=5), max_size=200),
    per_second=st.floats(min_value=0.1, max_value=100),
    longest_wait=st.floats(min_value=0, max_value=20),
)
def test_turns_are_never_closer_than_the_rate_and_never_further_off_than_the_wait(
    steps: list[float], per_second: float, longest_wait: float
) -> None:
    paced = FirstRequests(per_second, longest_wait=longest_wait)
    now = NOW
    turns: list[float] = []
    waits: list[float] = []
    for step in steps:
        now += step
        try:
            delay = paced.turn(now)
        except Overloaded as error:
            waits.append(error.retry_after or 0.0)
        else:
            assert 0 <= delay <= longest_wait
            turns.append(now + delay)

    assert all(later - earlier >= 1 / per_second - 1e-6 for earlier, later in pairwise(turns))
    assert all(wait > 0 for wait in waits)
