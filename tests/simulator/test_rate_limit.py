"""The rate limit at its boundaries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.simulator.rate_limit import RateLimiter

if TYPE_CHECKING:
    from tests.simulator.conftest import SettableClock


@pytest.mark.parametrize(
    ("arrivals", "admitted"),
    [
        ([0, 0, 0, 0], [True, True, True, False]),
        ([0, 0, 0, 0.999], [True, True, True, False]),
        ([0, 0, 0, 1.0], [True, True, True, True]),
        # The window slides: the third and fourth are within a second of the second.
        ([0, 0.9, 0.9, 1.0, 1.1], [True, True, True, True, False]),
        # What was refused does not count.
        ([0, 0, 0, 0.5, 0.5, 1.0, 1.0, 1.0], [True, True, True, False, False, True, True, True]),
    ],
)
def test_three_in_any_second(clock: SettableClock, arrivals: list[float], admitted: list[bool]) -> None:
    limiter = RateLimiter(3, clock)
    start = clock.now
    results = []
    for arrival in arrivals:
        clock.now = start + arrival
        results.append(limiter.admit("key"))
    assert results == admitted


def test_keys_do_not_share_a_limit(clock: SettableClock) -> None:
    limiter = RateLimiter(1, clock)
    assert [limiter.admit(key) for key in ("a", "b", "a", "b")] == [True, True, False, False]


def test_no_limit_admits_everything(clock: SettableClock) -> None:
    limiter = RateLimiter(None, clock)
    assert all(limiter.admit("key") for _ in range(1000))


def test_a_limit_below_one_is_refused(clock: SettableClock) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RateLimiter(0, clock)
