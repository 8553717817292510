"""What is seen of a token from outside: the endpoint's last word, and whether a call could be served."""

import asyncio
from collections.abc import Iterator

import pytest

from proxy.errors import TokenError, TokenRefused, TokenUnavailable
from proxy.tokens.state import TokenState
from proxy.tokens.status import NOTHING_KNOWN, Condition, token_status
from proxy.tokens.token import AccessToken

NOW = 1000.0
TOKEN = AccessToken(b"Bearer s3cret", NOW - 100.0, NOW + 440.0, NOW + 500.0)
ENDED = AccessToken(b"Bearer s3cret", NOW - 100.0, NOW - 10.0, NOW)
REFUSED = TokenRefused("Refused.", reason="status 401: invalid_client")
UNAVAILABLE = TokenUnavailable("Unreachable.", reason="no route to host")


@pytest.fixture
def fetch() -> Iterator[asyncio.Future[None]]:
    loop = asyncio.new_event_loop()
    yield loop.create_future()
    loop.close()


def state(token: AccessToken | None, error: TokenError | None = None, pause: float = 0.0) -> TokenState:
    return TokenState(token=token, error=error, ask_not_before=NOW + pause)


@pytest.mark.parametrize(
    ("seen", "condition", "left", "servable"),
    [
        (None, Condition.NONE, None, True),
        (state(None), Condition.NONE, None, True),
        (state(ENDED), Condition.NONE, None, True),
        (state(TOKEN), Condition.GOOD, 500.0, True),
        (state(TOKEN, REFUSED, 30.0), Condition.REFUSED, 500.0, True),
        (state(ENDED, REFUSED, 30.0), Condition.REFUSED, None, False),
        (state(None, REFUSED, 30.0), Condition.REFUSED, None, False),
        (state(None, REFUSED, 0.0), Condition.REFUSED, None, True),
        (state(None, REFUSED, -5.0), Condition.REFUSED, None, True),
        (state(TOKEN, UNAVAILABLE, 30.0), Condition.UNREACHABLE, 500.0, True),
        (state(None, UNAVAILABLE, 0.1), Condition.UNREACHABLE, None, False),
    ],
)
def test_what_the_endpoint_said_last_counts_while_the_old_token_still_serves(
    seen: TokenState | None, condition: Condition, left: float | None, servable: bool
) -> None:
    status = token_status(seen, NOW)

    assert (status.condition, status.left, status.servable) == (condition, left, servable)
    assert status.age == (None if left is None else 100.0)
    assert "s3cret" not in repr(status)


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_token_that_is_being_fetched_is_seen(token: AccessToken | None, fetch: "asyncio.Task[None]") -> None:
    seen = state(token)
    seen.fetch, seen.fetching_since = fetch, NOW - 8.0

    status = token_status(seen, NOW)
    assert (status.condition, status.asking_for) == (Condition.REFRESHING, 8.0)
    assert token_status(state(token), NOW).asking_for is None


def test_a_refusal_is_seen_until_a_token_is_granted(fetch: "asyncio.Task[None]") -> None:
    seen = state(None, REFUSED, 30.0)
    seen.fetch = fetch

    status = token_status(seen, NOW)

    assert (status.condition, status.detail, status.reason) == (Condition.REFUSED, REFUSED.detail, REFUSED.reason)
    assert status.servable  # a call would wait for what is under way


def test_how_long_the_endpoint_is_left_alone_is_seen() -> None:
    assert token_status(state(None, REFUSED, 30.0), NOW).asked_again_in == 30.0
    assert NOTHING_KNOWN.asked_again_in == 0.0
