"""Failing attempts: ten a minute for each source, and no more memory than for a fixed number of sources."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.failures import Failures

HERE = "192.0.2.7"


class Counted:
    """Failures under a clock that a test sets."""

    def __init__(self, max_sources: int = 100) -> None:
        self.now = 1000.0
        self.failures = Failures(clock=lambda: self.now, max_sources=max_sources)

    def at(self, seconds: float, address: str | None = HERE) -> float | None:
        """Fail so many seconds after the beginning."""
        self.now = 1000.0 + seconds
        return self.failures.count(address)


def test_ten_in_a_minute_are_let_fail_and_the_eleventh_waits_for_the_first_to_be_a_minute_old() -> None:
    counted = Counted()

    assert [counted.at(second) for second in range(10)] == [None] * 10
    assert counted.at(9) == 51.0
    assert counted.at(59.5) == 0.5
    assert counted.at(60) is None
    assert counted.at(60) == 1.0
    assert counted.at(61) is None


def test_those_above_make_the_wait_no_longer() -> None:
    counted = Counted()
    for _ in range(10):
        counted.at(0)

    assert [counted.at(30) for _ in range(100)] == [30.0] * 100
    assert counted.at(60) is None


def test_each_source_has_its_own_ten() -> None:
    counted = Counted()
    for _ in range(10):
        counted.at(0)

    assert counted.at(0, "192.0.2.8") is None
    assert counted.at(0, "2001:db8::1") is None
    assert counted.at(0, None) is None
    assert counted.at(0) is not None


@given(gaps=st.lists(st.floats(0, 90), max_size=60))
def test_in_no_minute_are_more_than_ten_let_fail_and_whoever_waits_as_told_is_one_of_them(gaps: list[float]) -> None:
    counted = Counted()
    let_fail: list[float] = []
    second = 0.0
    for gap in gaps:
        second += gap
        wait = counted.at(second)
        recent = [time for time in let_fail if time > counted.now - 60.0]
        assert (wait is None) == (len(recent) < 10)
        if wait is None:
            let_fail.append(counted.now)
        else:
            assert 0 <= wait <= 60.0


def test_a_whole_ipv6_network_is_one_source() -> None:
    counted = Counted()

    answers = [counted.at(0, f"2001:db8::{number:x}") for number in range(11)]

    assert answers == [None] * 10 + [60.0]
    assert len(counted.failures) == 1


def test_memory_is_bounded_and_the_source_that_failed_longest_ago_is_forgotten_first() -> None:
    counted = Counted(max_sources=3)
    for _ in range(10):
        counted.at(0, "192.0.2.1")
    counted.at(1, "192.0.2.2")
    counted.at(2, "192.0.2.3")
    assert counted.at(3, "192.0.2.1") is not None  # refused, which is not counted: still the first to go
    counted.at(4, "192.0.2.2")
    counted.at(5, "192.0.2.4")

    assert len(counted.failures) == 3
    assert counted.at(6, "192.0.2.1") is None
    for number in range(1000):
        counted.at(7, f"198.51.100.{number % 250}")
    assert len(counted.failures) == 3


def test_what_is_a_minute_old_is_forgotten_with_its_source() -> None:
    counted = Counted()
    for number in range(50):
        counted.at(0, f"198.51.100.{number}")
    counted.at(30, "198.51.100.0")

    counted.at(60, HERE)

    assert len(counted.failures) == 2
