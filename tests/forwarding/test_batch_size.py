"""How many calls go in a batch: it grows, shrinks, and is given up."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.forwarding.batch_size import FIRST_SIZE, GIVEN_UP, HOLD, LARGE, OFF, REMEMBERED, SLOW, BatchSize


def test_it_starts_small_and_doubles_while_full_batches_are_answered_quickly() -> None:
    size = BatchSize(50)
    sizes = []
    for _ in range(5):
        sizes.append(size.most(0.0))
        size.answered(size.most(0.0), 0.2, 1000)

    assert sizes == [FIRST_SIZE, 16, 32, 50, 50]


def test_it_stays_where_batches_are_not_full_or_not_quick() -> None:
    size = BatchSize(50)
    size.answered(FIRST_SIZE - 1, 0.2, 1000)
    size.answered(FIRST_SIZE, SLOW, 1000)

    assert size.most(0.0) == FIRST_SIZE


def test_it_halves_when_an_answer_is_slow_or_large_but_there_are_still_batches() -> None:
    for seconds, length in ((SLOW + 0.1, 1000), (0.1, LARGE + 1)):
        size = BatchSize(50)
        for expected in (FIRST_SIZE // 2, FIRST_SIZE // 4, 2, 2):
            size.answered(size.most(0.0), seconds, length)
            assert size.most(0.0) == expected


def test_what_was_too_much_is_not_tried_again_for_a_while() -> None:
    size = BatchSize(200)
    for _ in range(2):
        size.answered(size.most(0.0), 0.1, 1000)
    now = 0.0
    tried = []
    while now < REMEMBERED:
        tried.append(size.most(now))
        if tried[-1] > 20:
            size.too_much(tried[-1], now)
        else:
            size.answered(tried[-1], 0.1, 1000)
        now += 0.34

    assert sum(number > 20 for number in tried) <= 3
    assert tried[-1] == 20


def test_two_that_were_too_much_are_tried_again_later() -> None:
    size = BatchSize(50)
    size.too_much(2, 100.0)

    assert size.most(100.0 + REMEMBERED - 1) == 1
    assert size.most(100.0 + REMEMBERED) == 2


def test_two_halves_hold_all_that_was_too_much_for_one() -> None:
    for parts in range(2, 201):
        size = BatchSize(200)
        size.too_much(parts, 0.0)
        assert 2 * size.most(0.0) >= parts


def test_one_at_a_time_and_who_could_go_next_waits_for_it_but_not_for_long() -> None:
    size = BatchSize(50)
    size.begun_at = 10.0

    assert size.not_before(10.1) == 10.0 + HOLD
    size.begun_at = None
    assert size.not_before(10.2) < 10.0


def test_an_answer_that_makes_no_sense_ends_them_for_a_minute() -> None:
    size = BatchSize(50)
    size.given_up(100.0)
    size.begun_at = 100.0  # by then another one may be under way

    assert size.not_before(100.1) < 100.0
    size.begun_at = None
    assert size.most(100.0 + GIVEN_UP - 0.1) == 1
    assert size.most(100.0 + GIVEN_UP) == FIRST_SIZE


def test_too_fast_three_times_in_a_row_ends_them_for_an_hour() -> None:
    size = BatchSize(50)
    assert [size.throttled(0.0, inside=False) for _ in range(2)] == [False, False]
    size.answered(2, 0.1, 1000)
    assert [size.throttled(0.0, inside=False) for _ in range(3)] == [False, False, True]

    assert size.most(OFF - 0.1) == 1
    assert size.most(OFF) == FIRST_SIZE


def test_too_fast_inside_one_ends_them_at_once() -> None:
    size = BatchSize(50)

    assert size.throttled(0.0, inside=True)
    assert size.most(OFF - 0.1) == 1


@given(
    st.integers(2, 300),
    st.lists(
        st.tuples(st.sampled_from(["answered", "too_much"]), st.floats(0, 10), st.integers(0, 10**7)), max_size=60
    ),
)
def test_it_is_never_above_what_the_platform_takes_nor_below_one(
    most: int, events: list[tuple[str, float, int]]
) -> None:
    size, now = BatchSize(most), 0.0
    for event, seconds, length in events:
        now += seconds
        parts = size.most(now)
        assert 1 <= parts <= most
        if event == "answered":
            size.answered(parts, seconds, length)
        elif parts > 1:
            size.too_much(parts, now)
            assert size.most(now) < parts


def test_another_number_that_the_platform_takes_leaves_all_else_as_it_is() -> None:
    size = BatchSize(50)
    size.begun_at = 1.0
    size.throttled(1.0, inside=True)
    size.change(4)

    assert size.begun_at == 1.0
    assert (size.most(2.0), size.most(1.0 + OFF)) == (1, 4)
