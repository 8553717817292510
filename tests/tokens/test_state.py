"""What is known for one set of credentials, and what follows: the boundaries, to the nanosecond."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TokenError, TokenRefused, TokenUnavailable
from proxy.tokens.state import MAX_KINDS, CallKind, Reaction, TokenState
from proxy.tokens.token import AccessToken

NOW = 1000.0
NS = 1e-9
PAUSE = 30.0
ORDERS, PRODUCTS = CallKind("GET", b"orders"), CallKind("GET", b"products")


def token(*, requested_at: float = NOW, lifetime: float = 3600.0) -> AccessToken:
    return AccessToken(b"Bearer x", requested_at, requested_at + lifetime - 60.0, requested_at + lifetime)


def with_token(current: AccessToken) -> TokenState:
    state = TokenState()
    state.granted(current)
    return state


def outage(retry_after: float | None = None) -> TokenUnavailable:
    return TokenUnavailable("down", retry_after=retry_after)


REFUSAL = TokenRefused("refused")


# The token's end


@pytest.mark.parametrize(
    ("now", "usable"),
    [
        (NOW, True),
        (NOW + 3600.0 - NS, True),
        (NOW + 3600.0, False),
        (NOW + 3600.0 + NS, False),
        pytest.param(NOW - 500.0, True, id="the clock jumped back"),
        pytest.param(math.inf, False, id="the end of time"),
    ],
)
def test_a_token_is_usable_until_it_ends_and_not_at_that_moment(now: float, usable: bool) -> None:
    current = token()

    assert with_token(current).usable(now) is (current if usable else None)


def test_without_a_token_there_is_nothing_to_use() -> None:
    assert TokenState().usable(NOW) is None


@pytest.mark.parametrize("error", [REFUSAL, outage(), outage(60.0)])
def test_no_failure_shortens_or_lengthens_the_tokens_life(error: TokenError) -> None:
    current = token(lifetime=100.0)
    state = with_token(current)

    for _ in range(20):
        state.failed(error, NOW + 50.0, 1.0)

    assert state.usable(NOW + 100.0 - NS) is current
    assert state.usable(NOW + 100.0) is None


# Leaving the endpoint alone


def pauses(*failures: tuple[TokenError, float]) -> list[float]:
    """How long the endpoint is left alone after each of these failures, which came with these chances."""
    state, found = TokenState(), []
    for error, chance in failures:
        state.failed(error, 0.0, chance)
        found.append(state.ask_not_before)
    return found


def test_the_pause_after_an_outage_doubles_up_to_half_a_minute() -> None:
    assert pauses(*[(outage(), 1.0)] * 9) == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_chance_takes_anything_off_the_pause() -> None:
    assert pauses(*[(outage(), 0.5)] * 3) == [0.25, 0.5, 1.0]
    assert pauses(*[(outage(), 0.0)] * 3) == [0.0, 0.0, 0.0]


def test_the_pause_is_bounded_however_long_the_outage_lasts() -> None:
    assert pauses(*[(outage(), 1.0)] * 2000)[-1] == 30.0


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [(0.0, 0.5), (0.25, 0.5), (7.0, 7.0), (60.0, 60.0), (60.5, 60.0), (1e9, 60.0)],
)
def test_what_the_endpoint_says_is_honoured_up_to_a_minute(retry_after: float, pause: float) -> None:
    assert pauses((outage(retry_after), 1.0)) == [pause]


def test_what_the_endpoint_says_is_not_left_to_chance() -> None:
    assert pauses((outage(7.0), 0.0)) == [7.0]


def test_a_pause_that_has_grown_is_not_shortened_by_the_endpoint() -> None:
    assert pauses(*[(outage(), 1.0)] * 6, (outage(1.0), 1.0))[-1] == 30.0


@pytest.mark.parametrize(
    ("error", "pause"),
    [(outage(), 3.0), (outage(2.0), 3.0), (outage(20.0), 20.0), (REFUSAL, 60.0)],
    ids=["outage", "shorter retry-after", "longer retry-after", "refusal"],
)
def test_a_pause_that_we_chose_ends_with_the_old_token(error: TokenError, pause: float) -> None:
    state = with_token(token(lifetime=100.0))
    for _ in range(6):
        state.failed(outage(), NOW, 1.0)

    state.failed(error, NOW + 97.0, 1.0)

    assert state.ask_not_before == NOW + 97.0 + pause


def test_a_token_that_has_ended_shortens_no_pause() -> None:
    state = with_token(token(lifetime=100.0))

    state.failed(outage(), NOW + 100.0, 1.0)

    assert state.ask_not_before == NOW + 100.5


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_refusal_is_remembered_for_a_minute(chance: float) -> None:
    assert pauses((REFUSAL, chance)) == [60.0]


def test_a_refusal_between_outages_does_not_lengthen_their_pauses() -> None:
    assert pauses((outage(), 1.0), (REFUSAL, 1.0), (outage(), 1.0)) == [0.5, 60.0, 1.0]


@given(
    failures=st.lists(
        st.tuples(
            st.just(REFUSAL) | st.builds(outage, st.none() | st.floats(min_value=0, max_value=1e9)),
            st.floats(min_value=0, max_value=1),
        ),
        max_size=30,
    )
)
def test_no_pause_is_longer_than_a_minute(failures: list[tuple[TokenError, float]]) -> None:
    assert all(0 <= pause <= 60.0 for pause in pauses(*failures))


@pytest.mark.parametrize(("now", "may"), [(NOW + 60.0 - NS, False), (NOW + 60.0, True), (NOW - 500.0, False)])
def test_the_endpoint_may_be_asked_when_the_pause_is_over(now: float, may: bool) -> None:
    state = TokenState()
    state.failed(REFUSAL, NOW, 1.0)

    assert state.may_ask(now) is may


def test_a_token_ends_the_pause_and_the_next_outage_begins_anew() -> None:
    state = TokenState()
    for _ in range(5):
        state.failed(outage(), NOW, 1.0)

    state.granted(token())

    assert state.may_ask(NOW)
    assert state.error is None
    state.failed(outage(), NOW, 1.0)
    assert state.ask_not_before == NOW + 0.5


# What a request is told


def test_who_gets_no_token_is_told_why_and_when_to_try_again() -> None:
    state = TokenState()
    state.failed(TokenRefused("refused", reason="invalid_client"), NOW, 1.0)

    told = state.failure(NOW + 12.5)

    assert isinstance(told, TokenRefused)
    assert (told.detail, told.reason, told.retry_after) == ("refused", "invalid_client", 47.5)
    assert state.failure(NOW + 61.0).retry_after == 0.0


def test_each_request_is_told_with_an_error_of_its_own_that_is_like_the_first() -> None:
    state = TokenState()
    state.failed(TokenUnavailable("silent", reason="r", timed_out=True), NOW, 1.0)

    first, second = state.failure(NOW), state.failure(NOW + 0.25)

    assert first is not second
    assert (first.retry_after, second.retry_after) == (0.5, 0.25)
    assert (first.status, first.proxy_status, first.reason) == (504, "http_response_timeout", "r")


def test_a_token_that_ended_before_it_was_of_use_is_told_as_such() -> None:
    told = with_token(token(lifetime=1.0)).failure(NOW + 1.0)

    assert isinstance(told, TokenUnavailable)
    assert (told.detail, told.retry_after) == ("The access token has ended.", 0.0)


def test_what_is_remembered_of_a_failure_holds_on_to_nothing_else() -> None:
    state = TokenState()
    try:
        try:
            raise OSError("with a frame that holds the secret")
        except OSError:
            raise TokenRefused("refused") from None
    except TokenRefused as error:
        state.failed(error, NOW, 1.0)

    assert state.error is not None
    assert state.error.__traceback__ is None
    assert state.error.__context__ is None


# What a 401 calls for


def test_a_401_for_a_token_that_was_replaced_is_late() -> None:
    assert with_token(token()).react(token(), ORDERS, NOW) is Reaction.USE_CACHED


def test_a_late_401_tries_the_cached_token_even_for_a_call_that_is_not_permitted_and_in_a_pause() -> None:
    state = with_token(token())
    state.refused_again(token(), ORDERS, NOW, PAUSE)
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
    state.failed(REFUSAL, NOW, 1.0)

    assert state.react(current, ORDERS, NOW + 60.0 - NS) is Reaction.LATER
    assert state.react(current, ORDERS, NOW + 60.0) is Reaction.REPLACE


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


@pytest.mark.parametrize(
    ("age", "proves"),
    [(0.0, True), (PAUSE - NS, True), (PAUSE, False), pytest.param(-500.0, True, id="the clock jumped back")],
)
def test_only_a_fresh_token_proves_that_a_call_is_not_permitted(age: float, proves: bool) -> None:
    current = token()
    state = with_token(current)

    assert state.refused_again(current, ORDERS, NOW + age, PAUSE) is proves
    expected = Reaction.NOT_PERMITTED if proves else Reaction.REPLACE
    assert state.react(current, ORDERS, NOW + age) is expected


@pytest.mark.parametrize(
    ("after", "reaction"),
    [(0.0, "not_permitted"), (PAUSE - NS, "not_permitted"), (PAUSE, "replace"), (PAUSE + NS, "replace")],
)
def test_a_call_counts_as_not_permitted_until_the_pause_ends(after: float, reaction: str) -> None:
    current = token()
    state = with_token(current)
    state.refused_again(current, ORDERS, NOW, PAUSE)

    assert state.react(current, ORDERS, NOW + after).value == reaction


@pytest.mark.parametrize("other", [PRODUCTS, CallKind("POST", b"orders"), CallKind("GET", b"order")])
def test_other_kinds_of_calls_are_not_judged_with_it(other: CallKind) -> None:
    current = token()
    state = with_token(current)
    state.refused_again(current, ORDERS, NOW, PAUSE)

    assert state.react(current, other, NOW) is Reaction.REPLACE


def test_that_a_call_is_not_permitted_is_news_once_in_a_pause() -> None:
    current = token()
    state = with_token(current)

    assert [state.refused_again(current, ORDERS, NOW + after, PAUSE) for after in (0.0, 1.0, 29.9)] == [
        *(True, False, False),
    ]
    renewed = token(requested_at=NOW + PAUSE)
    assert state.refused_again(renewed, ORDERS, NOW + PAUSE, PAUSE)


def test_what_is_known_of_a_call_is_not_prolonged_by_each_401() -> None:
    current = token()
    state = with_token(current)
    state.refused_again(current, ORDERS, NOW, PAUSE)
    state.refused_again(current, ORDERS, NOW + 20.0, PAUSE)

    assert state.react(current, ORDERS, NOW + PAUSE) is Reaction.REPLACE


def test_two_kinds_that_take_turns_do_not_clear_each_other() -> None:
    current = token()
    state = with_token(current)
    for kind in (ORDERS, PRODUCTS) * 3:
        state.refused_again(current, kind, NOW, PAUSE)

    assert [state.react(current, kind, NOW + 1.0).value for kind in (ORDERS, PRODUCTS) * 3] == ["not_permitted"] * 6


def test_neither_a_new_token_nor_a_failure_clears_what_is_known() -> None:
    state = with_token(token())
    state.refused_again(token(), ORDERS, NOW, PAUSE)
    state.failed(outage(), NOW, 0.0)
    renewed = token()
    state.granted(renewed)

    assert state.react(renewed, ORDERS, NOW + 1.0) is Reaction.NOT_PERMITTED


def test_a_call_that_is_not_permitted_costs_no_suspicion() -> None:
    current = token()
    state = with_token(current)
    state.refused_again(current, ORDERS, NOW, PAUSE)
    for _ in range(1000):
        state.react(current, ORDERS, NOW)

    assert reactions_of_new_kinds(state, current, [NOW] * 6) == ["replace"] * 5 + ["leave"]


# Calls that are being repeated


def test_a_call_that_overtakes_the_repeated_one_is_not_permitted_either() -> None:
    current = token()
    state = with_token(current)
    state.repeats(current, ORDERS, PAUSE)

    assert state.react(current, ORDERS, NOW + PAUSE - NS) is Reaction.NOT_PERMITTED
    assert state.react(current, PRODUCTS, NOW) is Reaction.REPLACE
    assert state.react(current, ORDERS, NOW + PAUSE) is Reaction.REPLACE


def test_nothing_is_left_of_a_repeated_call_that_is_over() -> None:
    current = token()
    state = with_token(current)
    state.repeats(current, ORDERS, PAUSE)
    state.repeated(ORDERS)
    state.repeated(ORDERS)

    assert state.react(current, ORDERS, NOW) is Reaction.REPLACE


def test_a_repeated_call_says_nothing_of_the_next_token() -> None:
    state = with_token(token())
    state.repeats(token(), ORDERS, PAUSE)
    following = token()
    state.granted(following)

    assert state.react(following, ORDERS, NOW) is Reaction.REPLACE


# What is remembered is bounded


def test_so_many_kinds_are_remembered_and_no_more() -> None:
    current = token()
    state = with_token(current)
    kinds = [CallKind("GET", b"%d" % number) for number in range(MAX_KINDS + 2)]
    for kind in kinds:
        state.refused_again(current, kind, NOW, PAUSE)

    known = [kind for kind in kinds if state.react(current, kind, NOW) is Reaction.NOT_PERMITTED]

    assert known == kinds[2:]
    assert len(state.not_permitted_until or {}) == MAX_KINDS == 64


def test_a_kind_that_is_found_again_makes_room_last() -> None:
    state = with_token(token())
    kinds = [CallKind("GET", b"%d" % number) for number in range(MAX_KINDS + 1)]
    for kind in kinds[:MAX_KINDS]:
        state.refused_again(token(), kind, NOW, PAUSE)
    later = NOW + PAUSE
    current = token(requested_at=later)
    state.granted(current)
    state.refused_again(current, kinds[0], later, PAUSE)
    state.refused_again(current, kinds[MAX_KINDS], later, PAUSE)

    assert state.react(current, kinds[0], later) is Reaction.NOT_PERMITTED


def test_without_a_pause_nothing_is_remembered() -> None:
    current = token()
    state = with_token(current)

    assert not state.refused_again(current, ORDERS, NOW, 0.0)
    assert state.react(current, ORDERS, NOW) is Reaction.REPLACE
