"""Leases that replicas agree on, and what they know in common of their tokens, in Redis.

Rules:
- What is known of a set of credentials is one encrypted entry. It is read, changed by the rules of `state.py`, and
  written only if nobody else has written meanwhile; else all begins anew. Its generation grows with each change and is
  never below Redis's own time, so that one that was emptied does not begin with 1 again.
- Names are digests of the digest that is the key of a token request: nothing can be read from them.
- While the store is away, this process goes on with what it knows and asks the endpoint itself. Of two tokens the one
  of the later generation is taken, so that afterwards all come to use the same.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from proxy.shared.scripts import script
from proxy.shared.sealing import ForeignKey, Sealer, Unreadable
from proxy.shared.store import Away, Said, SharedStore
from proxy.tokens.endpoint import TokenRequest
from proxy.tokens.leases import LEASE, Claim, Lease, Outcome, Suspicion, claim
from proxy.tokens.record import SHARED_FIELDS, decode, encode
from proxy.tokens.state import TokenState
from proxy.tokens.token import AccessToken

_T = TypeVar("_T")
_CHANGE: Final = script(Path(__file__).with_name("change.lua"))
_MOST_TRIES: Final = 10  # to write before anybody else does
_RENEWED_AFTER: Final = LEASE / 4
# How soon to look again whether another replica has the token: at first after what a quick endpoint takes.
_FIRST_LOOK: Final = 0.02  # seconds
_LAST_LOOK: Final = 0.25
_KEPT: Final = 120.0  # seconds that what is known is kept at least

TokenMaker = Callable[[TokenRequest, bytes, float, float, float], AccessToken]


class SharedLeases:
    """Agrees with other replicas by `store`. `make` makes a token that another one has fetched, in local times.

    `told` is called with a sentence for the operator when an entry can't be read; `sleep` waits on the store's clock.
    """

    shared: Final = True

    def __init__(
        self,
        store: SharedStore,
        sealer: Sealer,
        make: TokenMaker,
        told: Callable[[str], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._sleep = sleep
        self._sealer = sealer
        self._make = make
        self._told = told

    async def look(self, request: TokenRequest, state: TokenState) -> None:
        """Bring `state` up to date, if the others can be asked."""
        with suppress(Away):
            await self._change(request, state, lambda *_: None)

    async def lease(self, request: TokenRequest, state: TokenState, suspicion: Suspicion | None) -> Lease | None:
        """Return the right to ask the endpoint, as soon as nobody else has it; `None` if `state` now says all."""
        mine, waited = state.token, 0.0

        def decide(shared: TokenState, now: float, generation: int) -> tuple[Claim, int]:
            what = claim(shared, mine, suspicion, now)
            if what is Claim.ASK:
                shared.lease, shared.leased_until = generation, now + LEASE
            return what, generation

        while True:
            try:
                what, generation = await self._change(request, state, decide, suspicion and suspicion.rejected)
            except Away:
                return Lease(self._store.time_at(self._store.clock()) or 0)
            if what is Claim.ASK:
                return Lease(generation, kept=True)
            if what is Claim.LOOK:
                if state.token is not mine:
                    self._store.metrics.tokens_taken += 1
                return None
            pause = min(max(_FIRST_LOOK, waited / 2), _LAST_LOOK)
            await self._sleep(pause)
            waited += pause

    async def hold(self, request: TokenRequest, state: TokenState, lease: Lease, fetching: Awaitable[_T]) -> _T:
        """Return what `fetching` does, and hold the lease meanwhile."""
        if not lease.kept:
            return await fetching
        renewing = self._store.beside(lambda: self._renew(request, state, lease))
        try:
            return await fetching
        finally:
            renewing.cancel()

    async def settle(
        self, request: TokenRequest, state: TokenState, lease: Lease, outcome: Outcome, now: float
    ) -> bool:
        """Keep what `outcome` makes of what is known; not if the lease was lost."""

        def decide(shared: TokenState, now: float, _: int) -> bool:
            if shared.lease != lease.generation:
                return False
            shared.lease, shared.leased_until = 0, float("-inf")
            outcome(shared, now)
            return True

        if lease.kept:
            with suppress(Away):
                return await self._change(request, state, decide)
        state.lease, state.leased_until = 0, float("-inf")
        outcome(state, now)
        if not lease.kept and self._store.breaker.closed:  # it has come back meanwhile
            self.tell(request, state, lambda *_: None)
        return True

    def tell(self, request: TokenRequest, state: TokenState, change: Outcome) -> None:
        """Let others know of a change that was made to `state`, beside the traffic."""
        if self._store.breaker.closed:
            self._store.beside(lambda: self._change(request, state, lambda shared, now, _: change(shared, now)))

    async def _renew(self, request: TokenRequest, state: TokenState, lease: Lease) -> None:
        def decide(shared: TokenState, now: float, _: int) -> bool:
            if shared.lease == lease.generation:
                shared.leased_until = now + LEASE
            return shared.lease == lease.generation

        held = True
        while held:
            await self._sleep(_RENEWED_AFTER)
            held = await self._change(request, state, decide)

    async def _change(
        self,
        request: TokenRequest,
        state: TokenState,
        decide: Callable[[TokenState, float, int], _T],
        rejected: AccessToken | None = None,
    ) -> _T:
        """Return what `decide` does with what all know, a local time and the generation that a change will have.

        What it changes is kept, and is in `state` too. It may be called again. Raises `Away`.
        """
        name = self._store.key("token", hashlib.sha256(b"token" + request.key).hexdigest()[:32])
        said = await self._store.run(_CHANGE, (name,), ("", "", "", ""))
        for _ in range(_MOST_TRIES):
            generation = said.values[1]
            offset = said.time / 1e6 - said.sent
            before = self._read(request, state, name, said, rejected)
            shared = _later(before, state, said.sent)
            known = int(shared.token.generation) if shared.token is not None else 0
            following = max(int(generation) + 1, said.time, known + 1)
            result = decide(shared, said.sent, following)
            if shared == (before or TokenState()):
                break
            content = self._sealer.seal(encode(shared, offset), _place(name, following))
            keep = max([_KEPT, *(until - said.sent + 60.0 for until in _ends(shared))])
            said = await self._store.run(_CHANGE, (name,), (generation, str(following), content, round(keep * 1000)))
            if said.values[0]:
                break
        else:
            raise Away("other replicas keep changing the same entry")
        for field in SHARED_FIELDS:
            setattr(state, field, getattr(shared, field))
        return result

    def _read(
        self, request: TokenRequest, state: TokenState, name: str, said: Said, rejected: AccessToken | None
    ) -> TokenState | None:
        """Return what is stored; `None` if nothing is, or nothing that could be read. Raises `Away` if others can."""
        _, generation, sealed = said.values
        if not sealed:
            return None

        make = partial(self._make, request)
        try:
            content = self._sealer.open(sealed, _place(name, int(generation)))
            return decode(content, said.time / 1e6 - said.sent, said.sent, (state.token, rejected), make)
        except ForeignKey as error:
            self._told(str(error))
            raise Away(f"an entry can't be read: {error}") from None
        except (Unreadable, ValueError) as error:  # what nobody can read is written anew
            self._told(str(error) if isinstance(error, Unreadable) else "it is of another version of this proxy")
            return None


def _later(stored: TokenState | None, state: TokenState, now: float) -> TokenState:
    """Return a copy of what is stored, with this process's own token if that is the later one; else all it knows."""
    if stored is None:
        return _copied(state)
    copy, theirs = _copied(stored), stored.usable(now)
    if state.token is not None and (theirs is None or theirs.generation < state.token.generation):
        copy.token, copy.replaced, copy.repeated_until = state.token, state.replaced, state.repeated_until
    return copy


def _copied(state: TokenState) -> TokenState:
    copy = TokenState()
    for field in SHARED_FIELDS:
        value = getattr(state, field)
        setattr(copy, field, dict(value) if isinstance(value, dict) else value)
    return copy


def _ends(state: TokenState) -> list[float]:
    """Return until when something of it counts."""
    return [
        state.ask_not_before,
        state.leased_until,
        state.suspected_until,
        *([] if state.token is None else [state.token.expires_at]),
        *(state.not_permitted_until or {}).values(),
    ]


def _place(name: str, generation: int) -> bytes:
    return f"{name}|{generation}".encode()
