"""What is known of a shop's token, for those who only look: health, metrics, the status page. Pure: the clock comes in.

Rules: looking changes nothing, and no token is in what is seen.
"""

from enum import StrEnum
from typing import NamedTuple

from proxy.errors import TokenRefused
from proxy.tokens.state import TokenState


class Condition(StrEnum):
    """How it is with a shop's token. What the endpoint said last counts, even while the old token still serves."""

    GOOD = "good"
    REFRESHING = "refreshing"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NONE = "none"  # the next request fetches one


class TokenStatus(NamedTuple):
    """A shop's token, seen from outside. Times in seconds; `age` and `left` are `None` if no token is good now.

    `detail` and `reason` say why the endpoint gave none, and are empty if it did; `reason` is in its own words.
    `asked_again_in` is how long the endpoint is left alone; `asking_for` is how long it has been asked by now,
    `None` if it is not.
    """

    condition: Condition
    age: float | None
    left: float | None
    detail: str
    reason: str
    asked_again_in: float
    asking_for: float | None = None

    @property
    def servable(self) -> bool:
        """Whether a request would be served now, or would at least have a token fetched for it."""
        return self.left is not None or not self.asked_again_in


NOTHING_KNOWN = TokenStatus(Condition.NONE, None, None, "", "", 0.0)


def token_status(state: TokenState | None, now: float) -> TokenStatus:
    """Return what is to be seen of `state` at `now`, seconds on the monotonic clock."""
    if state is None:
        return NOTHING_KNOWN
    token, error = state.usable(now), state.error
    if error is not None:
        condition = Condition.REFUSED if isinstance(error, TokenRefused) else Condition.UNREACHABLE
    elif state.fetch is not None:
        condition = Condition.REFRESHING
    else:
        condition = Condition.NONE if token is None else Condition.GOOD
    return TokenStatus(
        condition,
        None if token is None else now - token.requested_at,
        None if token is None else token.expires_at - now,
        "" if error is None else error.detail,
        "" if error is None else error.reason,
        0.0 if state.fetch is not None else max(state.ask_not_before - now, 0.0),
        None if state.fetch is None else now - state.fetching_since,
    )
