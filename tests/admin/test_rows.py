"""A shop on the status page: what is slow, what went wrong last, how to call it."""

import pytest

from proxy.admin.report import row
from proxy.admin.rows import problem_list, row_of
from proxy.telemetry.problems import Problem
from proxy.telemetry.recent import MINUTES
from proxy.tokens.status import NOTHING_KNOWN
from tests.admin.shops import GOOD, NOW, REFRESHING, minutes, shop

URL = "http://localhost:8080/"
FIRST = Problem("upstream_timeout", "Slow.", NOW - 75, "GET", "/demo/<b>", 504, "erp", "id-1")


def test_a_long_line_is_trouble_and_says_how_long_a_call_waits() -> None:
    said = row_of(row(shop(token=GOOD, queue=35, wait=12.2)), URL, NOW)

    assert 'class="warn"' in said
    assert "35 waiting for the rate limit; the next call would wait about 12 s." in said
    assert 'class="fine"' in row_of(row(shop(token=GOOD, queue=3, wait=1.0)), URL, NOW)


def test_a_token_that_does_not_come_is_trouble_unless_there_is_another() -> None:
    asked = NOTHING_KNOWN._replace(asking_for=8.0)

    assert "A token was requested 8 s ago, and there is no answer yet." in row_of(row(shop(token=asked)), URL, NOW)
    assert 'class="fine"' in row_of(row(shop(token=REFRESHING._replace(asking_for=8.0))), URL, NOW)


def test_it_says_how_to_call_the_shop() -> None:
    assert "curl -i http://localhost:8080/demo/</code>" in row_of(row(shop()), URL, NOW)
    assert "curl -i http://localhost:8080/SHOP/</code>" in row_of(row(shop("*", token=None)), URL, NOW)


def test_why_the_last_call_failed_is_said() -> None:
    said = row_of(row(shop(problem=FIRST._replace(reason="demo:443: <no route>"))), URL, NOW)

    assert 'Slow. <span class="quiet">(demo:443: &lt;no route&gt;)</span>' in said
    assert "()" not in row_of(row(shop(problem=FIRST)), URL, NOW)


def test_the_last_problems_are_listed_with_all_that_is_known() -> None:
    said = problem_list([FIRST, FIRST._replace(status=None, client="")], NOW)

    assert said.count("<li>") == 2
    for words in ("75 s ago", "GET /demo/&lt;b&gt;", ">504<", "upstream_timeout", " erp ", "id-1", "no answer"):
        assert words in said
    assert "and the last problem</summary>" in row_of(row(shop(problems=(FIRST,))), URL, NOW)


@pytest.mark.parametrize(
    ("newest", "words"),
    [
        ([(5, 5, 0)], "All calls failed this minute. <"),
        ([(5, 0, 1), (0, 0, 0)], "Some calls have been failing for 1 min. <"),
        ([(9, 0, 0), (2, 2, 0), (0, 0, 0), (3, 3, 0)], "All calls have been failing for 2 min. <"),
        ([(9, 9, 0), (2, 1, 0), (3, 0, 3)], "Some calls have been failing for 2 min. <"),
        ([(1, 1, 0)] * MINUTES, f"All calls have been failing for {MINUTES - 1} min or more. <"),
        ([(5, 5, 0), (1, 0, 0)], '<p class="last"><'),  # the latest ones succeeded
        ([], '<p class="last"><'),
    ],
)
def test_it_says_since_when_calls_fail(newest: list[tuple[int, int, int]], words: str) -> None:
    assert words in row_of(row(shop(minutes=minutes(*newest), problem=FIRST)), URL, NOW)
