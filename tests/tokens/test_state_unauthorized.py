"""What a 401 calls for, by what is known for one set of credentials: the boundaries, to the nanosecond."""

import pytest

from proxy.errors import TokenRefused, TokenUnavailable
from proxy.tokens.state import MAX_KINDS, CallKind, Reaction, TokenState
from proxy.tokens.token import AccessToken
from tests.tokens.states import NOW, NS, ORDERS, PAUSE, PRODUCTS, token, with_token

REFUSAL = TokenRefused("refused")


# What a 401 calls for


def test_a_401_for_a_token_that_was_replaced_is_late() -> None:
    assert with_token(token()).react(token(), ORDERS, NOW) is Reaction.USE_CACHED


def test_a_late_401_tries_the_cached_token_even_for_a_call_that_is_not_permitted_and_in_a_pause() -> None:
    state = with_token(token())
    state.refused_again(ORDERS, NOW, PAUSE)
    state.failed(REFUSAL, NOW, 1.0)

    assert state.react(token(), ORDERS, NOW) is Reaction.USE_CACHED


@pytest.mark.parametrize(("now", "reaction"), [(NOW + 3600.0 - NS, "late"), (NOW + 3600.0, "replace")])
def test_a_late_401_is_no_reason_to_try_a_cached_token_that_has_ended(now: float, reaction: str) -> None:
    assert with_token(token()).react(token(), ORDERS, now).value == reaction


def test_a_401_for_the_cached_token_makes_it_suspect() -> None:
    current = token()
    state = with_token(current)

    assert state.react(current, ORDERS, NOW) is Reaction.REPLACE
    assert state.usable(NOW) is current


def test_a_suspect_token_is_left_where_the_endpoint_is_to_be_left_alone() -> None:
    current = token()
    state = with_token(current)
    for pause in (5.0, 60.0):
        state.failed(REFUSAL, NOW, 1.0)

        assert state.react(current, ORDERS, NOW + pause - NS) is Reaction.LATER
        assert state.react(current, ORDERS, NOW + pause) is Reaction.REPLACE


def reactions_of_new_kinds(state: TokenState, current: AccessToken, times: list[float]) -> list[str]:
    kinds = (CallKind("GET", b"%d" % number) for number in range(1000))
    return [state.react(current, next(kinds), now).value for now in times]


def test_a_token_is_suspected_five_times_at_once_and_then_once_in_ten_seconds() -> None:
    current = token()

    found = reactions_of_new_kinds(with_token(current), current, [NOW] * 6 + [NOW + 9.99, NOW + 10.0, NOW + 10.0])

    assert found == ["replace"] * 5 + ["leave", "leave", "replace", "leave"]


def test_the_budget_of_suspicions_is_full_again_after_a_while_and_never_fuller() -> None:
    current = token()

    found = reactions_of_new_kinds(with_token(current), current, [NOW] * 5 + [NOW + 1000.0] * 6)

    assert found == ["replace"] * 10 + ["leave"]


def test_suspicions_are_bounded_over_any_time() -> None:
    current = token(lifetime=1e9)
    times = [NOW + second / 10 for second in range(6000)]

    kinds = [CallKind("GET", b"%d" % number) for number in range(100)]
    state = with_token(current)
    found = [state.react(current, kinds[number % 100], now) for number, now in enumerate(times)]

    assert found.count(Reaction.REPLACE) == 5 + 59
    assert found.count(Reaction.LEAVE) == 6000 - 64


def test_what_is_left_is_told_once_in_ten_seconds() -> None:
    state = with_token(token())

    assert [state.tells_of_leaving(NOW + after) for after in (0.0, 0.0, 10.0 - NS, 10.0, 15.0)] == [
        *(True, False, False),
        *(True, False),
    ]


# Calls that are not permitted


def test_only_a_token_that_was_asked_for_on_a_suspicion_has_replaced_the_suspect() -> None:
    first, second, third = token(), token(requested_at=NOW + 1.0), token(requested_at=NOW + 2.0)
    state = with_token(first)
    state.react(first, ORDERS, NOW)
    state.granted(second)
    assert (state.replaced_for(first), state.replaced_for(second)) == (True, False)

    state.granted(third)  # refreshed in time
    assert not any(state.replaced_for(each) for each in (first, second))


def test_a_suspicion_that_ended_in_a_failure_says_nothing_of_the_next_token() -> None:
    first = token()
    state = with_token(first)
    state.react(first, ORDERS, NOW)
    state.failed(TokenUnavailable("down"), NOW, 0.0)
    state.granted(token(requested_at=NOW + 1.0))

    assert not state.replaced_for(first)


@pytest.mark.parametrize(
    ("after", "reaction"),
    [(0.0, "not_permitted"), (PAUSE - NS, "not_permitted"), (PAUSE, "replace"), (PAUSE + NS, "replace")],
)
def test_a_call_counts_as_not_permitted_until_the_pause_ends(after: float, reaction: str) -> None:
    current = token()
    state = with_token(current)
    state.refused_again(ORDERS, NOW, PAUSE)

    assert state.react(current, ORDERS, NOW + after).value == reaction


@pytest.mark.parametrize("other", [PRODUCTS, CallKind("POST", b"orders"), CallKind("GET", b"order")])
def test_other_kinds_of_calls_are_not_judged_with_it(other: CallKind) -> None:
    current = token()
    state = with_token(current)
    state.refused_again(ORDERS, NOW, PAUSE)

    assert state.react(current, other, NOW) is Reaction.REPLACE


def test_that_a_call_is_not_permitted_is_news_once_in_a_pause() -> None:
    current = token()
    state = with_token(current)

    assert [state.refused_again(ORDERS, NOW + after, PAUSE) for after in (0.0, 1.0, 29.9)] == [
        *(True, False, False),
    ]
    assert state.refused_again(ORDERS, NOW + PAUSE, PAUSE)


def test_what_is_known_of_a_call_is_not_prolonged_by_each_401() -> None:
    current = token()
    state = with_token(current)
    state.refused_again(ORDERS, NOW, PAUSE)
    state.refused_again(ORDERS, NOW + 20.0, PAUSE)

    assert state.react(current, ORDERS, NOW + PAUSE) is Reaction.REPLACE


def test_two_kinds_that_take_turns_do_not_clear_each_other() -> None:
    current = token()
    state = with_token(current)
    for kind in (ORDERS, PRODUCTS) * 3:
        state.refused_again(kind, NOW, PAUSE)

    assert [state.react(current, kind, NOW + 1.0).value for kind in (ORDERS, PRODUCTS) * 3] == ["not_permitted"] * 6


def test_neither_a_new_token_nor_a_failure_clears_what_is_known() -> None:
    state = with_token(token())
    state.refused_again(ORDERS, NOW, PAUSE)
    state.failed(TokenUnavailable("down"), NOW, 0.0)
    renewed = token()
    state.granted(renewed)

    assert state.react(renewed, ORDERS, NOW + 1.0) is Reaction.NOT_PERMITTED


def test_a_call_that_is_not_permitted_costs_no_suspicion() -> None:
    current = token()
    state = with_token(current)
    state.refused_again(ORDERS, NOW, PAUSE)
    for _ in range(1000):
        state.react(current, ORDERS, NOW)

    assert reactions_of_new_kinds(state, current, [NOW] * 6) == ["replace"] * 5 + ["leave"]


# Calls that are being repeated


def test_a_call_that_overtakes_the_repeated_one_is_not_permitted_either() -> None:
    current = token()
    state = with_token(current)
    state.repeats(ORDERS, NOW, PAUSE)

    assert state.react(current, ORDERS, NOW + PAUSE - NS) is Reaction.NOT_PERMITTED
    assert state.react(current, PRODUCTS, NOW) is Reaction.REPLACE
    assert state.react(current, ORDERS, NOW + PAUSE) is Reaction.REPLACE


def test_nothing_is_left_of_a_repeated_call_that_is_over() -> None:
    current = token()
    state = with_token(current)
    state.repeats(ORDERS, NOW, PAUSE)
    state.repeated(ORDERS)
    state.repeated(ORDERS)

    assert state.react(current, ORDERS, NOW) is Reaction.REPLACE


def test_a_repeated_call_says_nothing_of_the_next_token() -> None:
    state = with_token(token())
    state.repeats(ORDERS, NOW, PAUSE)
    following = token()
    state.granted(following)

    assert state.react(following, ORDERS, NOW) is Reaction.REPLACE


# What is remembered is bounded


def test_so_many_kinds_are_remembered_and_no_more() -> None:
    current = token()
    state = with_token(current)
    kinds = [CallKind("GET", b"%d" % number) for number in range(MAX_KINDS + 2)]
    for kind in kinds:
        state.refused_again(kind, NOW, PAUSE)

    known = [kind for kind in kinds if state.react(current, kind, NOW) is Reaction.NOT_PERMITTED]

    assert known == kinds[:MAX_KINDS]  # a kind that is remembered makes no room for a new one
    assert len(state.not_permitted_until or {}) == MAX_KINDS == 32


def test_what_is_over_is_forgotten_with_the_next_token_and_the_next_kind() -> None:
    state = with_token(token())
    for number in range(MAX_KINDS):
        state.refused_again(CallKind("GET", b"%d" % number), NOW, PAUSE)
    assert state.refused_again(ORDERS, NOW + PAUSE, PAUSE)
    assert list(state.not_permitted_until or {}) == [ORDERS]

    state.granted(token(requested_at=NOW + 2 * PAUSE))
    assert state.not_permitted_until is None


def test_without_a_pause_nothing_is_remembered() -> None:
    current = token()
    state = with_token(current)

    assert not state.refused_again(ORDERS, NOW, 0.0)
    assert state.react(current, ORDERS, NOW) is Reaction.REPLACE


def test_a_kind_of_call_is_permitted_but_while_it_is_known_not_to_be() -> None:
    state = with_token(token())
    assert state.permitted(ORDERS, NOW)
    state.refused_again(ORDERS, NOW, PAUSE)

    assert not state.permitted(ORDERS, NOW + PAUSE - NS)
    assert state.permitted(PRODUCTS, NOW)
    assert state.permitted(ORDERS, NOW + PAUSE)
