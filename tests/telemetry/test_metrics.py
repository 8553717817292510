"""Counters are plain numbers, and cost no more than an addition."""

from proxy.telemetry.metrics import TokenMetrics, TokenTimes


def test_at_first_nothing_is_counted() -> None:
    metrics = TokenMetrics()

    assert metrics.requests["demo", "granted"] == metrics.unauthorized["demo", "late"] == 0
    assert (metrics.waits, metrics.waited_seconds, metrics.times) == (0, 0.0, {})


def test_a_token_that_was_granted_is_counted_and_its_times_kept() -> None:
    metrics = TokenMetrics()
    metrics.granted("demo", 100.0, 3700.0)
    metrics.granted("*", 150.0, 3750.0)
    metrics.granted("demo", 200.0, 3800.0)

    assert metrics.requests == {("demo", "granted"): 2, ("*", "granted"): 1}
    assert metrics.times == {"demo": TokenTimes(200.0, 3800.0), "*": TokenTimes(150.0, 3750.0)}


def test_two_sets_of_counters_are_apart() -> None:
    first, second = TokenMetrics(), TokenMetrics()
    first.granted("demo", 0.0, 1.0)

    assert not second.requests
    assert not second.times
