"""Counters are plain numbers, and cost no more than an addition."""

from proxy.telemetry.metrics import ProcessMetrics, TokenMetrics


def test_at_first_nothing_is_counted() -> None:
    metrics = TokenMetrics()

    assert metrics.requests["demo", "granted"] == metrics.unauthorized["demo", "late"] == 0
    assert (metrics.waits, metrics.waited_seconds) == (0, 0.0)


def test_token_requests_are_counted_by_shop_and_outcome() -> None:
    metrics = TokenMetrics()
    metrics.failed("demo", "demo", refused=True)
    metrics.failed("demo", "demo", refused=False)
    metrics.granted("demo", "demo")

    assert metrics.requests == {("demo", "refused"): 1, ("demo", "unreachable"): 1, ("demo", "granted"): 1}


def test_a_made_up_shop_whose_token_is_refused_is_counted_with_all_others() -> None:
    metrics = TokenMetrics()
    metrics.failed("made-up", "*", refused=True)
    metrics.granted("real", "*")
    metrics.failed("real", "*", refused=False)

    assert metrics.requests == {("*", "refused"): 1, ("real", "granted"): 1, ("real", "unreachable"): 1}


def test_two_sets_of_counters_are_apart() -> None:
    first, second = TokenMetrics(), TokenMetrics()
    first.granted("shop", "*")

    assert not second.requests
    assert list(second.labels) == []


def test_a_reload_is_counted_and_the_last_one_remembered() -> None:
    process = ProcessMetrics()
    seen = [process.last_reload_successful]
    taken_at = []
    for problems, now in ((("no shop",), 7.0), ((), 8.0), (("no shop",), 9.0)):
        process.reloaded(problems, now)
        seen.append(process.last_reload_successful)
        taken_at.append(process.configured_at)

    assert seen == [True, False, True, False]
    assert taken_at[1:] == [8.0, 8.0]
    assert process.problems == ("no shop",)
    assert process.reloads == {"failed": 2, "successful": 1}
