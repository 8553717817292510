"""Problems are gathered in order, one per place, and named as the user names the place."""

import pytest

from proxy.config.problems import ConfigError, Problems, unknown


def test_lines_come_in_the_order_in_which_the_problems_were_found() -> None:
    problems = Problems()
    problems.add(("shops", "b"), "second in the alphabet")
    problems.add((), "of the whole")
    problems.add(("shops", "a"), "first in the alphabet")

    assert problems.lines() == ("shops.b: second in the alphabet", "of the whole", "shops.a: first in the alphabet")


def test_the_first_problem_of_a_place_is_the_one_that_is_told() -> None:
    problems = Problems()
    problems.add(("server", "port"), "first")
    problems.add(("server", "port"), "second")

    assert problems.lines() == ("server.port: first",)


def test_problems_are_true_and_contain_places_once_there_is_one() -> None:
    problems = Problems()
    assert not problems
    assert ("server",) not in problems

    problems.add(("server",), "bad")

    assert problems
    assert ("server",) in problems


def test_a_table_has_problems_of_its_own_and_of_its_settings() -> None:
    problems = Problems()
    problems.add(("platforms", "mine", "hosts"), "bad")
    problems.add(("platforms", "other"), "bad")

    assert problems.in_table(("platforms", "mine"))
    assert problems.in_table(("platforms", "other"))
    assert not problems.in_table(("platforms", "min"))
    assert not problems.in_table(("shops", "mine"))


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (("server", "port"), "server.port"),
        (("platforms", "toss-shopping_2"), "platforms.toss-shopping_2"),
        (("shops", "*", "client_id"), 'shops."*".client_id'),
        (("shops", "a.b"), 'shops."a.b"'),
        (("shops", ""), 'shops.""'),
        (("shops", 'line\nfeed"'), r'shops."line\nfeed\""'),
        (("shops", "caf\u00e9"), r'shops."caf\u00e9"'),
    ],
)
def test_a_place_is_named_as_toml_writes_it_and_on_one_line(place: tuple[str, ...], name: str) -> None:
    assert Problems().name(place) == name


def test_a_renamed_place_goes_by_its_new_name() -> None:
    problems = Problems()
    problems.rename(("server", "port"), "SHOP_AUTH_PROXY_PORT")
    problems.add(("server", "port"), "bad")

    assert problems.lines() == ("SHOP_AUTH_PROXY_PORT: bad",)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("prot", "unknown setting: did you mean port?"),
        ("shopz", 'unknown setting: did you mean "sh.ops"?'),
        ("quite_else", 'unknown setting (known: host, port, "sh.ops")'),
        ("", 'unknown setting (known: host, port, "sh.ops")'),
    ],
)
def test_an_unknown_name_is_answered_with_what_was_meant_or_what_is_known(name: str, sentence: str) -> None:
    assert unknown("setting", name, {"port", "host", "sh.ops"}) == sentence


def test_the_error_has_the_problems_a_line_each() -> None:
    error = ConfigError(("a: bad", "b: worse"), {})

    assert error.problems == ("a: bad", "b: worse")
    assert str(error) == "a: bad\nb: worse"


def test_of_very_many_problems_the_first_are_told_and_how_many_more_there_are() -> None:
    problems = tuple(f"shops.shop{number}: bad" for number in range(2_000))

    assert ConfigError(problems, {}).told == (*problems[:100], "and 1,900 more")
    assert ConfigError(problems[:100], {}).told == problems[:100]
    assert ConfigError(problems, {}, told=problems[:3]).told == problems[:3]
    assert ConfigError(problems, {}).problems == problems
