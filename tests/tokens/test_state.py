"""What is known for one set of credentials: the token's end, and the pauses, to the nanosecond."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TokenError, TokenRefused, TokenUnavailable
from proxy.tokens.state import TokenState
from tests.tokens.states import NOW, NS, token, with_token


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
    state.failed(REFUSAL, NOW, 1.0)
    for _ in range(6):
        state.failed(outage(), NOW, 1.0)

    state.failed(error, NOW + 97.0, 1.0)

    assert state.ask_not_before == NOW + 97.0 + pause


def test_a_token_that_has_ended_shortens_no_pause() -> None:
    state = with_token(token(lifetime=100.0))

    state.failed(outage(), NOW + 100.0, 1.0)

    assert state.ask_not_before == NOW + 100.5


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_refusal_is_asked_about_once_more_after_5_s_and_then_remembered_for_a_minute_each(chance: float) -> None:
    assert pauses(*[(REFUSAL, chance)] * 4) == [5.0, 60.0, 60.0, 60.0]


def test_a_refusal_between_outages_does_not_lengthen_their_pauses() -> None:
    assert pauses((outage(), 1.0), (REFUSAL, 1.0), (outage(), 1.0)) == [0.5, 5.0, 1.0]


def test_an_outage_between_two_refusals_makes_the_second_no_first_one() -> None:
    assert pauses((REFUSAL, 1.0), (outage(), 1.0), (REFUSAL, 1.0)) == [5.0, 0.5, 60.0]


def test_after_a_token_the_next_refusal_is_a_first_one_again() -> None:
    state = TokenState()
    for _ in range(3):
        state.failed(REFUSAL, NOW, 1.0)

    state.granted(token())
    state.failed(REFUSAL, NOW, 1.0)

    assert state.ask_not_before == NOW + 5.0


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
    state.failed(outage(60.0), NOW, 1.0)

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
    for _ in range(2):
        state.failed(TokenRefused("refused", reason="invalid_client"), NOW, 1.0)

    told = state.failure(NOW + 12.5)

    assert isinstance(told, TokenRefused)
    assert (told.detail, told.reason, told.retry_after) == ("refused", "", 47.5)  # the reason is told once
    assert state.failure(NOW + 61.0).retry_after == 0.0


def test_each_request_is_told_with_an_error_of_its_own_that_is_like_the_first() -> None:
    state = TokenState()
    state.failed(TokenUnavailable("silent", reason="r", timed_out=True), NOW, 1.0)

    first, second = state.failure(NOW), state.failure(NOW + 0.25)

    assert first is not second
    assert (first.retry_after, second.retry_after) == (0.5, 0.25)
    assert (first.status, first.proxy_status, first.reason) == (504, "http_response_timeout", "")


def test_a_token_that_ended_before_it_was_of_use_is_told_as_such() -> None:
    told = with_token(token(lifetime=1.0)).failure(NOW + 1.0)

    assert isinstance(told, TokenUnavailable)
    assert (told.detail, told.retry_after) == ("The access token has expired.", 0.0)


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
