"""States for tests: with a token for an hour, at a moment to the nanosecond."""

from proxy.tokens.state import CallKind, TokenState
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
