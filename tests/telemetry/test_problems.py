"""The last problems of each shop: the newest are kept, so many for each and in all, and nothing secret of a target."""

import pytest

from proxy.telemetry.problems import Problem, Problems, kept_reason, shown_target


def problem(number: int) -> Problem:
    return Problem("code", f"Problem {number}.", float(number))


def test_the_latest_of_a_shop_come_first_and_the_oldest_go() -> None:
    problems = Problems(each=3)
    for number in range(5):
        problems.add("demo", problem(number))

    assert [each.at for each in problems.of("demo")] == [4.0, 3.0, 2.0]
    assert problems.of("other") == ()


def test_the_shop_whose_last_problem_is_the_oldest_makes_room() -> None:
    problems = Problems(each=3, in_all=4)
    for number, shop in enumerate(("a", "b", "b", "a", "c")):
        problems.add(shop, problem(number))

    assert [len(problems.of(shop)) for shop in "abc"] == [2, 0, 1]


def test_a_shop_that_is_full_takes_no_more_room() -> None:
    problems = Problems(each=2, in_all=3)
    problems.add("quiet", problem(0))
    for number in range(10):
        problems.add("loud", problem(number))

    assert [len(problems.of(shop)) for shop in ("quiet", "loud")] == [1, 2]


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/demo/orders?secret=1", "/demo/orders"),
        (b"http://user:pa?ss@api.example.com/x?y", "http://api.example.com/x"),
        (b"/" + b"x" * 300, "/" + "x" * 199),
        (b"/caf\xe9", "/caf\ufffd"),
    ],
)
def test_of_a_target_only_what_is_not_secret_is_shown(target: bytes, shown: str) -> None:
    assert shown_target(target) == shown


def test_a_reason_is_kept_whole_or_not_at_all_since_half_a_secret_could_not_be_found() -> None:
    assert kept_reason("x" * 400) == "x" * 400
    assert kept_reason("x" * 401) == ""
