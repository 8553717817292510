"""Who asks the token endpoint: this process, if it is alone, or the replica that holds the lease.

Rules: a token that another replica has fetched is taken before a new one is asked for. A lease is short, and renewed
while its holder waits for the endpoint, which may take longer; so whoever dies holds the others up for no longer than
that. What became of a fetch is kept only if the lease was held to its end. What follows from what is known is decided
in `state.py`, here as there.
"""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final, NamedTuple, Protocol, TypeVar

from proxy.tokens.endpoint import TokenRequest
from proxy.tokens.state import CallKind, Reaction, TokenState
from proxy.tokens.token import AccessToken

LEASE: Final = 2.0  # seconds

_T = TypeVar("_T")
# Changes what is known, at a local time in seconds; may be called again, with what another replica has made of it.
Outcome = Callable[[TokenState, float], object]


class Suspicion(NamedTuple):
    """Why a token is asked for although there is one: a call of this kind was answered 401."""

    rejected: AccessToken
    kind: CallKind


class Lease(NamedTuple):
    """The right to ask the endpoint. `generation` is that of the token to come, 0 if nobody else counts them."""

    generation: int = 0
    kept: bool = False  # in what replicas share


ALONE: Final = Lease()


class Leases(Protocol):
    """Who asks the endpoint. `state` is what this process knows; it is brought up to date with what others know."""

    @property
    def shared(self) -> bool:
        """Whether others may have fetched a token."""
        ...

    async def look(self, request: TokenRequest, state: TokenState) -> None:
        """Bring `state` up to date, if the others can be asked."""
        ...

    async def lease(self, request: TokenRequest, state: TokenState, suspicion: Suspicion | None) -> Lease | None:
        """Return the right to ask the endpoint, as soon as nobody else has it; `None` if `state` now says all."""
        ...

    async def hold(self, request: TokenRequest, state: TokenState, lease: Lease, fetching: Awaitable[_T]) -> _T:
        """Return what `fetching` does, and hold the lease meanwhile."""
        ...

    async def settle(
        self, request: TokenRequest, state: TokenState, lease: Lease, outcome: Outcome, now: float
    ) -> bool:
        """Keep what `outcome` makes of what is known; not if the lease was lost."""
        ...

    def tell(self, request: TokenRequest, state: TokenState, change: Outcome) -> None:
        """Let others know of a change that was made to `state`."""
        ...


class Alone:
    """One process, whose own state says all."""

    shared: Final = False

    async def look(self, request: TokenRequest, state: TokenState) -> None:
        """Do nothing: there are no others."""

    async def lease(self, request: TokenRequest, state: TokenState, suspicion: Suspicion | None) -> Lease | None:
        """Return the right to ask: the state has one fetch at a time, and says when."""
        return ALONE

    async def hold(self, request: TokenRequest, state: TokenState, lease: Lease, fetching: Awaitable[_T]) -> _T:
        """Return what `fetching` does."""
        return await fetching

    async def settle(
        self, request: TokenRequest, state: TokenState, lease: Lease, outcome: Outcome, now: float
    ) -> bool:
        """Keep the outcome."""
        outcome(state, now)
        return True

    def tell(self, request: TokenRequest, state: TokenState, change: Outcome) -> None:
        """Do nothing: there are no others."""


class Claim(Enum):
    """What a replica that needs a token is to do."""

    ASK = auto()  # it asks the endpoint
    WAIT = auto()  # another one does
    LOOK = auto()  # what is known says all: there is a token, or none to be had


def claim(state: TokenState, mine: AccessToken | None, suspicion: Suspicion | None, now: float) -> Claim:
    """Tell what follows for a replica that knew the token `mine`; `state` is what all know. A suspicion counts."""
    if suspicion is not None:
        if state.react(*suspicion, now) is not Reaction.REPLACE:
            return Claim.LOOK
    else:
        token = state.usable(now)
        without = mine is None or now >= mine.expires_at  # then nobody waits for a refresh
        if token is not None and token is not mine and (without or now < token.refresh_at):
            return Claim.LOOK
    if now < state.leased_until:
        return Claim.WAIT
    return Claim.ASK if state.may_ask(now) else Claim.LOOK
