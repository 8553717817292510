"""The breaker opens at once, and tells news once."""

from proxy.shared.breaker import Breaker


def test_one_failure_opens_it_and_is_news_once() -> None:
    breaker = Breaker()

    assert breaker.closed
    assert breaker.failed(10.0)
    assert not breaker.failed(11.0)
    assert (breaker.closed, breaker.opened_at, breaker.unwell_since) == (False, 10.0, 10.0)


def test_one_answer_closes_it_and_is_news_once() -> None:
    breaker = Breaker()
    breaker.failed(10.0)

    assert breaker.answered(11.0)
    assert not breaker.answered(11.0)
    assert breaker.closed


def test_a_failure_right_after_an_answer_belongs_to_the_one_before() -> None:
    breaker = Breaker()
    breaker.failed(10.0)
    breaker.answered(12.0)

    assert breaker.failed(12.9)
    assert (breaker.opened_at, breaker.unwell_since) == (12.9, 10.0)

    breaker.answered(13.0)
    assert breaker.failed(14.0)
    assert (breaker.opened_at, breaker.unwell_since) == (14.0, 14.0)
