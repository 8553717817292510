"""A request counts later where its answer shows that it may have come late, as long as the allowance lasts."""

import random
from collections.abc import Callable, Iterator
from heapq import heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.lateness import SAVED, STANDSTILL, Lateness
from proxy.guards.pace import NETWORK_JITTER, Pace
from proxy.platforms.platform import RateLimit
from tests.guards.oracle import most_in_any_window

ONE, THREE = RateLimit(1, per=1.0), RateLimit(3, per=1.0)
START = 1000.0

Way = Callable[[float], tuple[float, float]]  # from when a request is sent to when it is seen, and answered


def play(way: Way, requests: int, limit: RateLimit = THREE) -> list[tuple[float, float]]:
    """Send so many requests, each as soon as it may; return when each was sent, and when it was seen."""
    pace, now = Pace(limit), START
    answers: list[tuple[float, int]] = []
    seen = []
    for number in range(requests):
        while (due := pace.due(now)) > now:
            if answers and answers[0][0] <= due:
                now, answered = heappop(answers)
                pace.heard(answered, now)
            else:
                now = due
        pace.take(number, now)
        pace.sent(number, now)
        seen_at, answered_at = way(now)
        seen.append((now, seen_at))
        heappush(answers, (answered_at, number))
    return seen


def most_seen(seen: list[tuple[float, float]], per: float = 1.0) -> int:
    return most_in_any_window([(at, at) for _, at in seen], per)


def standing_still(begin: float, seconds: float, quick: float, work: float) -> Way:
    """A platform that takes `quick` until it sees a request, and `work` to answer it, and once stands still."""

    def way(sent: float) -> tuple[float, float]:
        comes = sent + quick
        seen = begin + seconds if begin <= comes < begin + seconds else comes
        return seen, seen + work

    return way


USUAL = 0.01
FIRST = 16  # answers that tell what is usual


def known(usual: float = USUAL, limit: RateLimit = ONE) -> Lateness:
    """What is known after so many answers that the allowance is whole."""
    lateness = Lateness(limit)
    for _ in range(100):
        lateness.answered(usual, 0.0)
    return lateness


@pytest.mark.parametrize(
    ("took", "late"),
    [(0.001, 0.0), (0.01, 0.0), (0.03, 0.0), (0.031, 0.001), (0.2, 0.17), (0.23, 0.2), (0.5, 0.47), (9.0, STANDSTILL)],
)
def test_a_request_counts_later_by_what_its_answer_took_longer_than_usual(took: float, late: float) -> None:
    assert known().answered(took, NETWORK_JITTER) == pytest.approx(late)


@pytest.mark.parametrize("took", [0.33, 0.35, 0.41])
def test_where_answers_take_long_by_a_fifth_of_a_second_at_most(took: float) -> None:
    assert known(0.1).answered(took, NETWORK_JITTER) == pytest.approx(min(took - 0.12, SAVED))


@pytest.mark.parametrize(
    ("per", "most", "of_varying"), [(0.1, 0.1, 0.05), (1.0, STANDSTILL, SAVED), (60.0, 1.0, SAVED)]
)
def test_it_counts_later_by_the_window_at_most(per: float, most: float, of_varying: float) -> None:
    assert known(limit=RateLimit(1, per)).answered(9.0, NETWORK_JITTER) == most
    assert known(1.0, RateLimit(1, per)).answered(3.0, NETWORK_JITTER) == of_varying


def test_before_much_is_known_any_answer_takes_long() -> None:
    lateness = Lateness(ONE)

    late = [lateness.answered(0.03, NETWORK_JITTER) for _ in range(FIRST + 1)]

    assert late == pytest.approx([0.01] * (FIRST - 1) + [0.0] * 2)


def test_what_is_usual_grows_when_all_answers_have_taken_longer_for_a_while() -> None:
    lateness = known()
    for _ in range(10 * FIRST):
        lateness.answered(0.1, NETWORK_JITTER)

    assert lateness.answered(0.12, 0.0) == pytest.approx(0.02)
    assert known().answered(0.12, 0.0) == pytest.approx(0.11)


def test_requests_that_are_late_together_all_count_later_and_what_that_took_is_saved_up_first() -> None:
    lateness = known(limit=THREE)

    together = [lateness.answered(0.2, NETWORK_JITTER) for _ in range(3)]
    for took in (0.2, USUAL) * 30:  # until that is no more unusual
        lateness.answered(took, NETWORK_JITTER)
    later = [lateness.answered(took, NETWORK_JITTER) for took in (0.2, USUAL) * 500]

    assert together == pytest.approx([0.17] * 3)
    assert sum(later) == pytest.approx(1000 * 0.01, rel=0.1)


# As the platform sees it


@given(
    limit=st.sampled_from([ONE, THREE, RateLimit(5)]),
    begin=st.floats(70.0, 75.0),
    seconds=st.floats(0.0, SAVED),
    quick=st.floats(0.0005, 0.1),
    work=st.floats(0.0005, 0.5),
)
def test_a_platform_that_stands_still_for_a_moment_never_sees_more_than_the_limit(
    limit: RateLimit, begin: float, seconds: float, quick: float, work: float
) -> None:
    way = standing_still(START + begin, seconds, quick, work)

    assert most_seen(play(way, 80 * limit.requests, limit)) <= limit.requests


@given(st.floats(0.0, 1.0), st.floats(0.0, SAVED))
def test_so_with_the_first_requests(begin: float, seconds: float) -> None:
    assert most_seen(play(standing_still(START + begin, seconds, 0.001, 0.001), 20)) <= 3


@given(begin=st.floats(70.0, 75.0), seconds=st.floats(0.0, 0.95), quick=st.floats(0.0005, 0.02), burst=st.booleans())
def test_nor_does_one_that_answers_quickly_and_stands_still_for_longer(
    begin: float, seconds: float, quick: float, *, burst: bool
) -> None:
    chance = random.Random(1)
    ways = standing_still(START + begin, seconds, quick, 0.001)
    sent = play(ways if burst else lambda now: ways(now + chance.uniform(0.0, 0.01)), 240)

    assert most_seen(sent) <= 3


@pytest.mark.parametrize("seed", range(8))
def test_twelve_standstills_in_a_minute_cost_a_hundredth_of_the_limit(seed: int) -> None:
    chance = random.Random(seed)
    stops = [(START + 6 + 5 * each + chance.uniform(0.0, 4.0), chance.uniform(0.03, 0.5)) for each in range(12)]

    def way(sent: float) -> tuple[float, float]:
        begin, seconds = max((stop for stop in stops if stop[0] <= sent + 0.001), default=(sent, 0.0))
        seen = max(sent + 0.001, begin + seconds)
        return seen, seen + 0.003

    sent = play(way, 200)

    assert most_seen(sent) <= 3
    assert 200 / (sent[-1][0] - sent[0][0]) >= 0.96 * 3


def varying(least: float, most: float) -> Iterator[float]:
    chance = random.Random(1)
    while True:
        yield chance.uniform(least, most)


@pytest.mark.parametrize(("least", "most"), [(0.001, 0.001), (0.3, 0.3), (0.05, 0.4), (0.1, 2.0), (1e6, 1e6)])
def test_95_percent_of_the_limit_are_left_however_long_answers_take(least: float, most: float) -> None:
    takes = varying(least, most)
    sent = [at for at, _ in play(lambda now: (now, now + next(takes)), 300)]

    assert min(60 / (last - first) for first, last in zip(sent, sent[60:], strict=False)) >= 0.95 * 3  # in any 20 s
