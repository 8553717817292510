"""The breaker opens at once, and tells news once."""

from proxy.shared.breaker import Breaker


def test_one_failure_opens_it_and_is_news_once() -> None:
    breaker = Breaker()

    assert breaker.closed
    assert breaker.failed(10.0)
    assert not breaker.failed(11.0)
    assert (breaker.closed, breaker.opened_at) == (False, 10.0)


def test_one_answer_closes_it_and_is_news_once() -> None:
    breaker = Breaker()
    breaker.failed(10.0)

    assert breaker.answered()
    assert not breaker.answered()
    assert breaker.closed
