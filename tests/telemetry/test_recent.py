"""The last minutes, minute by minute, whenever something was counted and whenever somebody looks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.recent import MINUTES, Minute, Recent

NOW = 100_000.0  # in the middle of a minute


def test_at_first_nothing_has_happened() -> None:
    assert Recent().minutes(NOW) == (Minute(0, 0, 0),) * MINUTES


def test_a_call_stands_in_the_newest_minute_with_what_became_of_it() -> None:
    recent = Recent()
    recent.count(NOW, error=False, unauthorized=False)
    recent.count(NOW, error=True, unauthorized=False)
    recent.count(NOW, error=False, unauthorized=True)

    *before, newest = recent.minutes(NOW)
    assert newest == Minute(3, 1, 1)
    assert set(before) == {Minute(0, 0, 0)}


@pytest.mark.parametrize(
    ("later", "place"),
    [(19.9, -1), (20.0, -2), (79.9, -2), (80.0, -3), (60.0 * (MINUTES - 1), 0), (60.0 * MINUTES, None), (1e15, None)],
)
def test_a_call_moves_back_as_minutes_pass_and_is_forgotten_after_the_last(later: float, place: int | None) -> None:
    recent = Recent()
    recent.count(NOW, error=False, unauthorized=False)

    calls = [minute.calls for minute in recent.minutes(NOW + later)]

    expected = [0] * MINUTES
    if place is not None:
        expected[place] = 1
    assert calls == expected


@given(st.lists(st.tuples(st.floats(0, 400), st.booleans(), st.booleans()), max_size=60), st.floats(0, 2000))
def test_it_is_what_a_list_of_all_calls_would_say(steps: list[tuple[float, bool, bool]], until: float) -> None:
    recent, now = Recent(), NOW
    calls: list[tuple[int, bool, bool]] = []
    for step, error, unauthorized in steps:
        now += step
        recent.count(now, error=error, unauthorized=unauthorized)
        calls.append((int(now // 60), error, unauthorized))
    newest = int((now + until) // 60)

    assert recent.minutes(now + until) == tuple(
        Minute(
            sum(at == minute for at, _, _ in calls),
            sum(at == minute and error for at, error, _ in calls),
            sum(at == minute and unauthorized for at, _, unauthorized in calls),
        )
        for minute in range(newest - MINUTES + 1, newest + 1)
    )
    assert recent.sums(now + until) == tuple(map(sum, zip(*recent.minutes(now + until), strict=True)))
