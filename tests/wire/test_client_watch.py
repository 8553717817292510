"""How long a client may take: at the limit nothing is overdue before its time, and nothing is missed after it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.client_watch import ClientLimits, ClientWatch, Overdue

LIMITS = ClientLimits(
    max_request_line=100,
    max_header_size=200,
    max_header_count=10,
    header_timeout=10.0,
    min_body_rate=100.0,
    rate_window=60.0,
    keep_alive_timeout=75.0,
    max_requests_per_connection=10,
)
RARELY = st.floats(0.1, 30.0)


def overdue(
    watch: ClientWatch, now: float, *, head_wanted: float | None = None, body_wanted: bool = False, unsent: int = 0
) -> Overdue:
    return watch.overdue(now, head_wanted=head_wanted, body_wanted=body_wanted, unsent=unsent)


def after_a_request(now: float) -> ClientWatch:
    watch = ClientWatch(LIMITS, 0.0)
    watch.head_came(50, now)
    watch.head_complete()
    return watch


@pytest.mark.parametrize(("now", "expected"), [(9.9, Overdue.NOTHING), (10.0, Overdue.REQUEST)])
def test_a_new_connection_has_its_time_from_its_beginning(now: float, expected: Overdue) -> None:
    assert overdue(ClientWatch(LIMITS, 0.0), now, head_wanted=0.0) is expected


def test_bytes_do_not_prolong_the_time_for_a_head() -> None:
    watch = ClientWatch(LIMITS, 0.0)
    for second in range(10):
        watch.head_came(1, float(second))
        assert overdue(watch, float(second), head_wanted=0.0) is Overdue.NOTHING

    assert overdue(watch, 10.0, head_wanted=0.0) is Overdue.HEAD


@pytest.mark.parametrize(("now", "expected"), [(89.9, Overdue.NOTHING), (90.0, Overdue.HEAD)])
def test_a_kept_connection_has_its_time_from_the_first_byte(now: float, expected: Overdue) -> None:
    watch = after_a_request(5.0)
    assert overdue(watch, 79.0, head_wanted=6.0) is Overdue.NOTHING
    watch.head_came(1, 80.0)

    assert overdue(watch, now, head_wanted=6.0) is expected


@pytest.mark.parametrize(("now", "expected"), [(80.9, Overdue.NOTHING), (81.0, Overdue.REQUEST)])
def test_a_kept_connection_on_which_nothing_comes_is_kept_for_so_long(now: float, expected: Overdue) -> None:
    watch = after_a_request(5.0)
    assert overdue(watch, 70.0, head_wanted=6.0) is Overdue.NOTHING

    assert overdue(watch, now, head_wanted=6.0) is expected
    assert watch.look_again(70.0, head_wanted=6.0, body_wanted=False) == 80.0  # a look, as every ten seconds
    assert watch.look_again(80.0, head_wanted=6.0, body_wanted=False) == 81.0


@pytest.mark.parametrize(("now", "expected"), [(59.9, Overdue.NOTHING), (60.0, Overdue.HEAD)])
def test_a_head_that_began_behind_a_request_has_its_time_from_when_it_is_waited_for(
    now: float, expected: Overdue
) -> None:
    watch = after_a_request(5.0)
    watch.head_came(1, 6.0)
    assert overdue(watch, 40.0) is Overdue.NOTHING

    assert overdue(watch, now, head_wanted=50.0) is expected


@pytest.mark.parametrize(("size", "fits"), [(100 + 200 + 1024, True), (100 + 200 + 1025, False)])
def test_a_head_that_does_not_end_is_bounded(size: int, fits: bool) -> None:
    watch = ClientWatch(LIMITS, 0.0)
    assert watch.head_came(1000, 0.0)

    assert watch.head_came(size - 1000, 1.0) is fits


@pytest.mark.parametrize(("count", "expected"), [(6000, Overdue.NOTHING), (5999, Overdue.BODY)])
def test_a_body_must_come_at_the_rate_in_each_period(count: int, expected: Overdue) -> None:
    watch = after_a_request(0.0)
    watch.body_wanted(0.0)
    watch.body_came(1_000_000)
    assert overdue(watch, 60.0, body_wanted=True) is Overdue.NOTHING
    watch.body_came(count)  # what came before does not help

    assert overdue(watch, 119.9, body_wanted=True) is Overdue.NOTHING
    assert overdue(watch, 120.0, body_wanted=True) is expected


def test_a_body_that_nobody_reads_is_not_measured() -> None:
    watch = after_a_request(0.0)
    watch.body_wanted(0.0)
    assert overdue(watch, 1000.0) is Overdue.NOTHING
    watch.body_wanted(1000.0)

    assert overdue(watch, 1059.9, body_wanted=True) is Overdue.NOTHING
    assert overdue(watch, 1060.0, body_wanted=True) is Overdue.BODY


@pytest.mark.parametrize(
    ("at_first", "later", "expected"),
    [
        (50_000, 44_000, Overdue.NOTHING),  # 6000 bytes in a minute
        (50_000, 44_001, Overdue.READING),
        (50_000, 60_000, Overdue.READING),
        (3_000, 0, Overdue.NOTHING),
        (3_000, 1, Overdue.READING),
    ],
)
def test_an_answer_must_be_taken_at_the_rate(at_first: int, later: int, expected: Overdue) -> None:
    watch = after_a_request(0.0)
    assert overdue(watch, 1.0, unsent=at_first) is Overdue.NOTHING
    assert overdue(watch, 60.9, unsent=at_first) is Overdue.NOTHING

    assert overdue(watch, 61.0, unsent=later) is expected


def test_a_client_that_takes_most_of_what_it_was_sent_is_well() -> None:
    watch = after_a_request(0.0)
    for now in range(0, 1000, 50):
        assert overdue(watch, float(now), unsent=50_000) is Overdue.NOTHING
        watch.answer_taken()


@given(st.floats(0.0, 100.0), st.lists(RARELY, max_size=20), st.booleans())
def test_what_is_overdue_is_found_on_time_however_rarely_bytes_come(
    begins: float, gaps: list[float], body: bool
) -> None:
    """Follows the looks as a connection does; the wait begins between two of them."""
    watch = after_a_request(0.0)
    arrivals = [begins + sum(gaps[: number + 1]) for number in range(len(gaps))]
    limit = LIMITS.rate_window if body else LIMITS.header_timeout
    now, begun = 0.0, False
    while True:
        if begun or now < begins:
            again = watch.look_again(now, head_wanted=0.0 if begun and not body else None, body_wanted=begun and body)
            assert again > now
        else:
            again = now
        if not begun and again >= begins:
            begun = True
            if body:
                watch.body_wanted(begins)
            else:
                watch.head_came(1, begins)
        for arrival in arrivals:
            if now < arrival <= again:
                watch.body_came(1) if body else watch.head_came(1, arrival)
        now = again
        found = overdue(watch, now, head_wanted=0.0 if begun and not body else None, body_wanted=begun and body)
        if found is not Overdue.NOTHING:
            break

    assert now == pytest.approx(begins + limit)


def test_framing_is_too_much_only_where_no_sender_of_content_would_need_it() -> None:
    watch = after_a_request(0.0)
    watch.body_came(6_000_000)  # chunks of one byte: a million of them
    assert not watch.mostly_framing(1_000_000)
    assert not watch.mostly_framing((6_000_000 - (1 << 20)) // 16)
    assert watch.mostly_framing((6_000_000 - (1 << 20)) // 16 - 1)
    watch.head_complete()
    assert not watch.mostly_framing(0)
