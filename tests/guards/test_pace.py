"""When the next request may go: never more than the limit in any window, as the upstream sees it, and hardly less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.pace import LONGEST_PAUSE, LONGEST_SENDING, LONGEST_TRY, Pace, pause_after_429, safety_margin
from proxy.platforms.platform import RateLimit
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING
from tests.guards.oracle import most_in_any_window

THREE = RateLimit(3, per=1.0)
WINDOW = 1.0 + safety_margin(1.0)
NANOSECOND = 1e-9


def used(pace: Pace, *times: float) -> None:
    """Take a slot at each of these times, send at once, and be answered at once."""
    for time in times:
        assert pace.due(time) <= time
        pace.take(("sent at", time), time)
        pace.sent(("sent at", time), time)
        pace.answered(time)


@pytest.mark.parametrize(
    ("sent", "due"),
    [
        ([], 5.0),
        ([5.0], 5.0),
        ([5.0, 5.0], 5.0),
        ([5.0, 5.0, 5.0], 5.0 + WINDOW),
        ([4.5, 4.7, 5.0], 4.5 + WINDOW),
        ([4.0, 4.7, 4.8, 5.0 + WINDOW - 1], 4.7 + WINDOW),  # the first is over by then
    ],
)
def test_the_next_one_goes_when_the_window_of_the_first_of_the_last_three_ends(sent: list[float], due: float) -> None:
    pace = Pace(THREE)
    used(pace, *sent)
    now = max([5.0, *sent])

    assert pace.due(now) == due


def test_a_slot_is_free_at_the_end_of_its_window_and_not_a_nanosecond_before() -> None:
    pace = Pace(THREE)
    used(pace, 5.0, 5.0, 5.0)
    end = 5.0 + WINDOW

    assert pace.due(end - NANOSECOND) > end - NANOSECOND
    assert pace.due(end) <= end


def test_a_window_begins_when_the_request_is_sent() -> None:
    pace = Pace(RateLimit(1))
    pace.take("a", 5.0)
    pace.sent("a", 7.0)

    assert pace.due(7.0) == 7.0 + WINDOW


def test_a_request_that_is_sent_again_counts_again() -> None:
    pace = Pace(RateLimit(2))
    pace.take("a", 5.0)
    pace.sent("a", 5.0)
    pace.sent("a", 5.5)

    assert pace.due(5.5) == 5.0 + WINDOW


def test_a_slot_given_back_is_free_at_once() -> None:
    pace = Pace(RateLimit(1))
    pace.take("a", 5.0)
    assert pace.due(5.0) > 5.0
    pace.give_back("a")

    assert pace.due(5.0) == 5.0


def test_a_slot_that_is_not_used_counts_until_it_is_lent_to_others() -> None:
    pace = Pace(RateLimit(1))
    pace.take("a", 5.0)

    assert pace.due(6.0 + WINDOW) == 5.0 + LONGEST_SENDING
    assert pace.due(5.0 + LONGEST_SENDING) == 5.0 + LONGEST_SENDING

    pace.sent("a", 20.0)  # it comes late, and counts all the same
    assert pace.due(20.0) == 20.0 + WINDOW
    pace.sent("b", 20.1)  # the one to which it was lent
    assert pace.due(20.5) == 20.1 + WINDOW


def test_a_limit_that_changes_holds_from_then_on() -> None:
    pace = Pace(THREE)
    used(pace, 5.0, 5.1, 5.2)
    pace.change(RateLimit(2, per=2.0))

    assert pace.due(5.2) == 5.1 + 2.0 + safety_margin(2.0)
    pace.change(RateLimit(4))
    assert pace.due(5.2) == 5.2


@pytest.mark.parametrize("limit", [SHOPRENTER.rate_limit, TOSS_SHOPPING.rate_limit, RateLimit(100, per=60.0)])
def test_97_percent_of_a_limit_can_be_used_and_ten_milliseconds_of_jitter_do_not_break_it(limit: RateLimit) -> None:
    lateness = 0.005  # of timers, and until the request is written

    assert limit.requests / (limit.per + safety_margin(limit.per) + lateness) > 0.97 * limit.requests / limit.per
    assert safety_margin(limit.per) >= 2 * 0.010


@given(
    limit=st.builds(RateLimit, st.integers(1, 5), st.sampled_from([0.5, 1.0, 10.0])),
    steps=st.lists(
        st.tuples(
            st.floats(0.0, 1.2),  # until it comes, in windows
            st.floats(0.0, 0.9),  # until it is sent
            st.floats(0.0, 0.010),  # until the upstream sees it
            st.sampled_from(["sent"] * 6 + ["given back", "throttled", "answered", "unanswered"]),
        ),
        max_size=60,
    ),
)
def test_the_upstream_never_sees_more_than_the_limit_in_any_window(
    limit: RateLimit, steps: list[tuple[float, float, float, str]]
) -> None:
    pace, now = Pace(limit), 1000.0
    seen: list[tuple[float, float]] = []
    held: list[tuple[float, int, float, str]] = []  # when it is to be sent, and what comes of it
    for number, (pause, sending, jitter, outcome) in enumerate(steps):
        comes = now + pause * limit.per
        while True:
            # What is under way goes on until there is a slot.
            at = max(comes, pace.due(max(now, comes)))
            sooner = min(held, default=None)
            if sooner is None or sooner[0] > at:
                break
            held.remove(sooner)
            now = sooner[0]
            if sooner[3] == "given back":
                pace.give_back(sooner[1])
                continue
            pace.sent(sooner[1], now)
            seen.append((now + sooner[2], now + sooner[2]))
            if sooner[3] == "throttled":
                pace.throttled(now, now, 1.0)
            elif sooner[3] == "answered":
                pace.answered(now)
            elif sooner[3] == "unanswered":
                pace.unanswered(sooner[1])
        now = at
        assert pace.due(now) <= now
        pace.take(number, now)
        held.append((now + sending, number, jitter, outcome))

    assert most_in_any_window(seen, limit.per) <= limit.requests


@given(st.integers(1, 40), st.floats(0.7, 100.0), st.integers(0, 100))
def test_who_sends_whenever_it_may_uses_97_percent(requests: int, per: float, rounds: int) -> None:
    pace, now, times = Pace(RateLimit(requests, per)), 0.0, []
    for _ in range(rounds):
        now = pace.due(now)
        used(pace, now)
        times.append(now)

    for first, last in zip(times, times[requests:], strict=False):
        assert per < last - first <= per / 0.97


# After a 429


@pytest.mark.parametrize(
    ("in_a_row", "retry_after", "pause"),
    [
        (1, None, 1.0),
        (2, None, 2.0),
        (3, None, 4.0),
        (1, 0.0, 1.0),
        (3, 0.0, 4.0),
        (1, -1.0, 1.0),
        (1, float("nan"), 1.0),
        (1, 0.5, 0.5),
        pytest.param(3, 0.5, 4.0, id="a Retry-After that was too short twice is not believed"),
        (2, 17.0, 17.0),
        (1, 86400.0, 86400.0),
        (9, None, 256.0),
        (10, None, LONGEST_PAUSE),
        (10**6, 1.0, LONGEST_PAUSE),
        (10**6, 86400.0, 86400.0),
    ],
)
def test_a_429_is_followed_by_the_pause_that_it_asks_for_or_a_doubling_one(
    in_a_row: int, retry_after: float | None, pause: float
) -> None:
    assert pause_after_429(in_a_row, retry_after) == pause


def test_nothing_goes_during_the_pause_after_a_429() -> None:
    pace = Pace(THREE)
    used(pace, 100.0)
    pace.throttled(100.0, 100.2, 5.0)

    assert pace.due(100.2) == 105.2
    assert pace.due(105.2 - NANOSECOND) > 105.2 - NANOSECOND
    assert pace.due(105.2) <= 105.2


def test_a_second_429_does_not_shorten_the_pause() -> None:
    pace = Pace(THREE)
    pace.throttled(100.0, 100.0, 5.0)
    pace.throttled(100.0, 100.1, 1.0)

    assert pace.due(100.1) == 105.0


def rate(pace: Pace, start: float, end: float) -> float:
    """How many requests a second go from `start` to `end`, if each goes as soon as it may; evenly spaced."""
    now, count = pace.due(start), 0
    while now < end:
        used(pace, now)
        count += 1
        now = pace.due(now)
    return count / (end - start)


def test_after_the_pause_it_goes_at_half_the_rate_and_then_faster_step_by_step() -> None:
    pace = Pace(RateLimit(30))
    pace.throttled(100.0, 100.0, 1.0)
    full = 30 / WINDOW

    rates = [rate(pace, 101.0 + 10 * step, 111.0 + 10 * step) for step in range(4)]

    assert rates == pytest.approx([full / 2, full / 2 ** (2 / 3), full / 2 ** (1 / 3), full], rel=0.03)


def test_at_the_lowered_pace_requests_are_evenly_spaced() -> None:
    pace = Pace(THREE)
    pace.throttled(100.0, 100.0, 1.0)
    used(pace, 101.0)

    assert pace.due(101.0) == pytest.approx(101.0 + 2 * WINDOW / 3)


def test_at_the_lowered_pace_a_slot_given_back_is_free_at_once() -> None:
    pace = Pace(THREE)
    pace.throttled(100.0, 100.0, 1.0)
    pace.take("a", 101.0)
    assert pace.due(101.0) > 101.0
    pace.give_back("a")

    assert pace.due(101.0) <= 101.0


def test_the_429s_of_one_burst_lower_the_pace_once() -> None:
    once, often = Pace(THREE), Pace(THREE)
    once.throttled(100.0, 100.3, 1.0)
    for _ in range(3):
        often.throttled(100.0, 100.3, 1.0)
    used(once, 101.3)
    used(often, 101.3)

    assert often.due(101.3) == once.due(101.3)


def test_a_429_at_the_lowered_pace_lowers_it_further_but_not_for_ever() -> None:
    pace, spacings = Pace(THREE), []
    now = 100.0
    for _ in range(5):
        pace.throttled(now, now, 1.0)
        now = pace.due(now)
        used(pace, now)
        spacings.append(pace.due(now) - now)
        now = pace.due(now)

    normal = WINDOW / 3
    assert spacings == pytest.approx([2 * normal, 4 * normal, 8 * normal, 8 * normal, 8 * normal])


# 429s in a row


def test_the_pause_grows_over_429s_in_a_row_up_to_minutes() -> None:
    pace, now, pauses = Pace(THREE), 100.0, []
    for _ in range(12):
        pauses.append(pace.throttled(now, now, None))
        assert pace.due(now) == now + pauses[-1]
        now = pace.due(now)
        pace.take(now, now)
        pace.sent(now, now)

    assert pauses == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0, 300.0])


@pytest.mark.parametrize(
    ("retry_after", "max_wait", "pauses"),
    [
        (86400.0, 0.0, [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]),
        (86400.0, 45.0, [45.0, 60.0, 120.0, 240.0, 300.0, 300.0]),
        (86400.0, 1000.0, [1000.0] * 6),
        (90.0, 0.0, [30.0, 60.0, 90.0, 90.0, 90.0, 90.0]),
        (0.5, 0.0, [0.5, 2.0, 4.0, 8.0, 16.0, 32.0]),
    ],
)
def test_a_retry_after_is_believed_the_further_the_more_429s_come_in_a_row(
    retry_after: float, max_wait: float, pauses: list[float]
) -> None:
    pace, now, held = Pace(THREE), 100.0, []
    for _ in pauses:
        assert pace.throttled(now, now, retry_after, max_wait) >= retry_after
        held.append(pace.due(now) - now)
        now = pace.due(now)
        pace.take(now, now)

    assert held == pytest.approx(pauses)


def test_an_answer_ends_the_row() -> None:
    pace = Pace(THREE)
    pace.throttled(100.0, 100.0, None)
    pace.throttled(101.0, 101.0, None)
    told = [(pace.answered(now), pace.blocked) for now in (100.9, 103.0, 103.1)]

    assert told == [(False, True), (True, False), (False, False)]
    assert pace.throttled(103.2, 103.2, None) == 1.0


def test_what_was_under_way_when_a_429_came_neither_prolongs_the_row_nor_ends_it() -> None:
    pace = Pace(THREE)
    assert pace.throttled(100.0, 100.5, None) == 1.0
    assert pace.throttled(100.1, 100.6, None) == 1.0
    assert not pace.answered(100.2)

    assert pace.blocked
    assert pace.throttled(102.0, 102.0, None) == 2.0


def blocked_until_101() -> Pace:
    pace = Pace(THREE)
    pace.throttled(100.0, 100.0, None)
    pace.take("tries", 101.0)
    return pace


def test_after_the_pause_one_tries_and_the_others_wait_until_its_answer_is_known() -> None:
    pace = blocked_until_101()
    assert pace.due(101.0) == 101.0 + LONGEST_TRY
    pace.sent("tries", 101.2)
    assert pace.due(109.9) == 101.0 + LONGEST_TRY

    assert pace.answered(101.0)
    assert pace.due(109.9) == 109.9


@pytest.mark.parametrize("sent", [False, True])
def test_if_there_will_be_no_answer_the_next_one_tries(sent: bool) -> None:
    pace = blocked_until_101()
    if sent:
        pace.sent("tries", 101.0)
        pace.unanswered("somebody else")
        assert pace.due(103.0) > 103.0
        pace.unanswered("tries")
    else:
        pace.give_back("tries")
    assert pace.due(103.0) == 103.0
    pace.take("next", 103.0)

    assert pace.due(103.0) == 103.0 + LONGEST_TRY


def test_a_try_that_takes_too_long_makes_way_for_the_next_one_and_counts_all_the_same_when_it_ends() -> None:
    pace = blocked_until_101()
    pace.sent("tries", 101.0)
    assert pace.due(111.0) == 111.0
    pace.take("next", 111.0)
    assert pace.due(111.0) == 121.0

    assert pace.answered(101.0)
    assert not pace.blocked


def test_a_429_for_the_one_that_tried_makes_the_next_pause_longer() -> None:
    pace = blocked_until_101()
    pace.sent("tries", 101.0)

    assert pace.throttled(101.0, 101.5, None) == 2.0
    assert pace.due(101.5) == 103.5
    assert pace.due(103.5) == 103.5


# What is told to those who wait


@pytest.mark.parametrize(
    ("position", "at"),
    [(0, 5.0), (1, 4.5 + WINDOW), (2, 4.7 + WINDOW), (3, 5.0 + WINDOW), (5, 4.7 + 2 * WINDOW), (31, 4.5 + 11 * WINDOW)],
)
def test_when_a_place_in_line_has_its_slot_is_known_beforehand(position: int, at: float) -> None:
    pace = Pace(THREE)
    used(pace, 4.5, 4.7)

    assert pace.earliest(position, 5.0) == pytest.approx(at)
    assert pace.expected(position, 5.0) == pytest.approx(at)


def test_a_slot_that_is_held_is_expected_to_be_sent_now() -> None:
    pace = Pace(RateLimit(2))
    used(pace, 4.5)
    pace.take("a", 4.6)

    assert [pace.earliest(position, 5.0) for position in range(3)] == pytest.approx(
        [4.5 + WINDOW, 5.0 + WINDOW, 4.5 + 2 * WINDOW]
    )


@given(
    sent=st.lists(st.floats(0.0, 2.0), max_size=10),
    position=st.integers(0, 30),
    throttled=st.lists(st.tuples(st.floats(0.0, 1.5), st.floats(0.0, 10.0)), max_size=3),
    tries=st.booleans(),
)
def test_what_is_expected_is_not_too_early_and_the_earliest_not_too_late(
    sent: list[float], position: int, throttled: list[tuple[float, float]], tries: bool
) -> None:
    pace, now = Pace(THREE), 100.0
    for pause in sent:
        now = max(now + pause, pace.due(now + pause))
        used(pace, now)
    for later, pause in throttled:
        now += later
        pace.throttled(now, now, pause)
    if throttled and tries:
        now = max(now, pace.due(now))
        pace.take("tries", now)
        pace.sent("tries", now)
    earliest, expected = pace.earliest(position, now), pace.expected(position, now)

    for _ in range(position):
        now = pace.due(now)
        used(pace, now)
    real = pace.due(now)

    assert earliest <= real + NANOSECOND
    assert expected >= real - NANOSECOND
    assert expected >= earliest
    if not throttled:
        assert max(earliest, now) == pytest.approx(max(real, now))


def test_a_pace_is_idle_when_nothing_of_its_past_matters() -> None:
    pace = Pace(THREE)
    assert pace.idle(0.0)
    pace.take("a", 5.0)
    assert not pace.idle(5.0)
    pace.sent("a", 5.0)
    assert not pace.idle(5.0 + WINDOW - NANOSECOND)
    assert pace.idle(5.0 + WINDOW)
    pace.throttled(5.0, 10.0, 1.0)
    pace.answered(10.0)
    assert not pace.idle(40.9)
    assert pace.idle(41.0)


def test_what_is_known_of_a_row_of_429s_is_kept_for_as_long_as_its_longest_pause() -> None:
    pace = Pace(THREE)
    pace.throttled(5.0, 10.0, 1.0)

    assert not pace.idle(11.0 + LONGEST_PAUSE - 0.1)
    assert pace.idle(11.0 + LONGEST_PAUSE)
