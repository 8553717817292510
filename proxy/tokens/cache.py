"""The access tokens of this process: one cache for all shops, keyed by everything that makes up the token request.

Rules:
- One token request at a time for one set of credentials; whoever needs a token meanwhile waits for that one, and if
  the endpoint is to be left alone for a while, fails at once.
- Nobody waits for a refresh: while the token is good it is used, and the next one is fetched beside the traffic.
- A fetch belongs to the cache, not to a waiter: whoever leaves does not disturb the others.
- A shop without traffic costs nothing: no timer runs, no token is requested.

What follows from what is decided in `state.py`, and who asks among several replicas in `leases.py`; this file does the
waiting, the fetching and the telling.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from proxy.errors import Overloaded, TokenError, TokenRefused, TokenUnavailable
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import TokenMetrics
from proxy.tokens.endpoint import TokenEndpoint, TokenRequest
from proxy.tokens.first_requests import TOO_MANY, FirstRequests, Turn
from proxy.tokens.leases import Alone, Lease, Leases, Suspicion
from proxy.tokens.state import FIRST_BACKOFF, CallKind, Reaction, TokenState
from proxy.tokens.status import TokenStatus, token_status
from proxy.tokens.store import StateStore
from proxy.tokens.token import AccessToken, Another, access_token

_TOO_SLOW: Final = "The platform's token endpoint did not answer in time (tokens.fetch_timeout)."
_ENDED: Final = "The access token had expired before it arrived."
_MOST_LEASES: Final = 3  # for one fetch; each of the others was lost to another replica
_SUSPECTED_TOO_OFTEN: Final = (
    "the platform answered 401 to many kinds of calls; if they are permitted, the token is dead and will be replaced"
)


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """The settings of `[tokens]`; times in seconds."""

    refresh_margin: float
    max_age: float
    fetch_timeout: float
    unauthorized_pause: float
    max_entries: int
    first_requests_per_second: float


class TokenCache:
    """Hands out tokens. `clock` is monotonic, in seconds; `sleep` waits on it; `chance` returns numbers from 0 to 1."""

    def __init__(
        self,
        endpoint: TokenEndpoint,
        policy: TokenPolicy,
        tasks: BackgroundTasks,
        log: FilteringBoundLogger,
        metrics: TokenMetrics,
        *,
        clock: Callable[[], float],
        chance: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._endpoint = endpoint
        self._policy = policy
        self._tasks = tasks
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._chance = chance
        self._states = StateStore(policy.max_entries)
        self.leases: Leases = Alone()
        self.fetching: Counter[str] = Counter()  # shops whose tokens are being fetched, by their keys
        self._first_requests = FirstRequests(
            policy.first_requests_per_second, longest_wait=policy.fetch_timeout, tasks=tasks, clock=clock, sleep=sleep
        )

    def keep_to(self, policy: TokenPolicy, endpoint: TokenEndpoint) -> None:
        """Follow another policy, and ask for tokens in another way, from now on; what is known stays."""
        self._policy = policy
        self._first_requests.keep_to(policy.first_requests_per_second, longest_wait=policy.fetch_timeout)
        self._endpoint = endpoint
        self._states.max_entries = policy.max_entries

    def current(self, request: TokenRequest) -> AccessToken | None:
        """Return a token that is good now, without waiting; if it is time, its successor is fetched meanwhile."""
        state = self._states.get(request.key)
        if state is None:
            return None
        now = self._clock()
        token = state.usable(now)
        if token is not None and now >= token.refresh_at and state.fetch is None and state.may_ask(now):
            self._start_fetch(request, state)
        return token

    def status(self, request: TokenRequest) -> TokenStatus:
        """Return what is known of a token, without using it and without asking for one."""
        return token_status(self._states.peek(request.key), self._clock())

    def failing(self) -> frozenset[bytes]:
        """Return the keys of the requests that the endpoint gave no token for when it was asked last."""
        return self._states.failing()

    def permitted(self, request: TokenRequest, kind: CallKind) -> bool:
        """Tell whether nothing is known that would forbid calls of this kind."""
        state = self._states.peek(request.key)
        return state is None or state.permitted(kind, self._clock())

    async def get(self, request: TokenRequest, caller: str = "") -> AccessToken:
        """Return a token that is good now; wait for it if there is none. Raises `TokenError` or `Overloaded`.

        `caller` is who shares the first requests of shops fairly: a client's name, or the address of one without.
        """
        return self.current(request) or await self._wait(request, caller)

    async def after_unauthorized(self, request: TokenRequest, rejected: AccessToken, kind: CallKind) -> Another | None:
        """Return the token to repeat a call with that was answered 401, or `None` if that would be of no use.

        `rejected` stays in use for other calls until another token has come. Whoever repeats the call says with
        `repeated` when that is over, and with `refused_again` if it was a 401 once more.
        """
        state = self._state(request)
        reaction = state.react(rejected, kind, self._clock())
        self._metrics.unauthorized[request.shop.entry, reaction.value] += 1
        match reaction:
            case Reaction.USE_CACHED:
                cached = self.current(request)
                return None if cached is None else Another(cached, proves=self._proves(state, cached, rejected))
            case Reaction.REPLACE:
                if state.fetch is None:
                    self._log.info("token.suspected", shop=request.shop.key, method=kind.method)
                try:
                    token = await self._wait(request, suspicion=Suspicion(rejected, kind))
                except (TokenError, Overloaded):
                    return None
                if token is rejected:
                    return None
                state.repeats(kind, self._clock(), self._policy.unauthorized_pause)
                return Another(token, proves=self._proves(state, token, rejected))
            case Reaction.LEAVE if state.tells_of_leaving(self._clock()):
                self._log.warning("token.not_replaced", shop=request.shop.key, why=_SUSPECTED_TOO_OFTEN)
        return None

    def refused_again(self, request: TokenRequest, another: Another, kind: CallKind) -> bool:
        """Take note of a 401 for the other token too; tell whether that is news: the call is not permitted."""
        if not another.proves:
            return False
        state, pause = self._state(request), self._policy.unauthorized_pause
        self.leases.tell(request, state, lambda shared, now: shared.refused_again(kind, now, pause))
        return state.refused_again(kind, self._clock(), pause)

    def repeated(self, request: TokenRequest, kind: CallKind) -> None:
        """Take note that the call which `after_unauthorized` gave a token for has been answered, or given up."""
        state = self._state(request)
        state.repeated(kind)
        if state.replaced is not None:
            self.leases.tell(request, state, lambda shared, _: shared.repeated(kind))

    def _proves(self, state: TokenState, token: AccessToken, rejected: AccessToken) -> bool:
        """Tell whether a 401 for `token` too says that the call is not permitted."""
        fresh = self._clock() - token.requested_at < self._policy.unauthorized_pause
        return fresh and state.replaced_for(rejected)

    def _state(self, request: TokenRequest) -> TokenState:
        return self._states.get(request.key) or self._states.add(request.key)

    async def _wait(self, request: TokenRequest, caller: str = "", suspicion: Suspicion | None = None) -> AccessToken:
        """Wait for the fetch that is under way, or start one if the endpoint may be asked."""
        state = self._states.get(request.key)
        if state is None and request.shop.by_wildcard and self.leases.shared:
            # What another replica has fetched is no first request.
            state = await self._looked_up(request)
            if state is not None and (known := state.usable(self._clock())) is not None:
                return known
        turn = None
        if state is None or state.fetch is None:
            now = self._clock()
            if state is not None and not state.may_ask(now):
                raise state.failure(now)
            if request.shop.by_wildcard and (state is None or state.token is None):
                turn = self._first_requests.line_up(request.key, caller)
            state = state or self._states.add(request.key)
            fetch = self._start_fetch(request, state, turn, suspicion)
        else:
            fetch = state.fetch
            turn = self._first_requests.wait_too(request.key, caller)
        started = self._clock()
        try:
            async with asyncio.timeout(self._policy.fetch_timeout):
                await asyncio.shield(fetch)
        except TimeoutError:
            half = self._policy.fetch_timeout / 2
            if turn and (turn.came_at is None or turn.came_at - started > half):  # the endpoint had hardly a chance
                raise Overloaded(TOO_MANY, retry_after=0.0) from None
            raise TokenUnavailable(_TOO_SLOW, timed_out=True, retry_after=FIRST_BACKOFF) from None
        finally:
            self._metrics.waits += 1
            self._metrics.waited_seconds += self._clock() - started
        now = self._clock()
        token = state.usable(now)
        if token is None:
            if turn and turn.came_at is None:
                raise Overloaded(TOO_MANY, retry_after=0.0)
            raise state.failure(now)
        return token

    async def _looked_up(self, request: TokenRequest) -> TokenState | None:
        """Return what other replicas know of a token that this one never had, if they know anything."""
        found = TokenState()
        await self.leases.look(request, found)
        state = self._states.get(request.key)  # others may have come here meanwhile
        if state is None and (found.token is not None or found.error is not None):
            state = self._states.add(request.key, found)
        return state

    def _start_fetch(
        self, request: TokenRequest, state: TokenState, turn: Turn | None = None, suspicion: Suspicion | None = None
    ) -> asyncio.Task[None]:
        self.fetching[request.shop.key] += 1
        fetch = self._tasks.start(self._fetch(request, state, turn, suspicion), name="token fetch")
        return state.fetched_by(fetch, self._clock())

    async def _fetch(
        self, request: TokenRequest, state: TokenState, turn: Turn | None, suspicion: Suspicion | None
    ) -> None:
        try:
            if turn is not None and not await turn.came:
                return  # nobody waits for it any more
            for _ in range(_MOST_LEASES):
                lease = await self.leases.lease(request, state, suspicion)
                if lease is None or await self._ask(request, state, lease, suspicion):
                    break
        except Exception:
            self._log.exception("token.fetch_failed", shop=request.shop.key)
            state.failed(TokenUnavailable("The proxy failed to fetch a token."), self._clock(), self._chance())
        finally:
            if state.token is not None:
                self._states.granted(request.key, state)
            state.fetch = None
            self.fetching[request.shop.key] -= 1
            if not self.fetching[request.shop.key]:
                del self.fetching[request.shop.key]

    async def _ask(self, request: TokenRequest, state: TokenState, lease: Lease, suspicion: Suspicion | None) -> bool:
        """Ask the endpoint, and keep what comes of it; not if the lease was lost meanwhile."""
        log = self._log.bind(shop=request.shop.key)
        try:
            requested_at = self._clock()
            grant = await self.leases.hold(request, state, lease, self._endpoint.fetch(request))
            token = access_token(
                grant.access_token,
                requested_at=requested_at,
                lifetime=grant.lifetime,
                max_age=self._policy.max_age,
                refresh_margin=self._policy.refresh_margin,
                chance=self._chance(),
                header=request.shop.platform.token_header,
                scheme=request.shop.platform.token_scheme,
                generation=lease.generation,
            )
            if self._clock() >= token.expires_at:
                raise TokenUnavailable(_ENDED, reason=f"lifetime: {grant.lifetime} s")
        except Exception as error:
            if not isinstance(error, TokenError):
                log.exception("token.fetch_failed")
                error = TokenUnavailable("The proxy failed to fetch a token.", reason=repr(error))
            return await self._failed(request, state, lease, error)

        def grant_it(known: TokenState, now: float) -> None:
            known.granted(token)
            if suspicion is not None and lease.kept:  # which the others can't see from here
                known.repeats(suspicion.kind, now, self._policy.unauthorized_pause)

        kept = await self.leases.settle(request, state, lease, grant_it, self._clock())
        self._metrics.granted(request.shop.key, request.shop.entry)
        log.info("token.fetched", lifetime=grant.lifetime, scope=grant.scope)
        return kept

    async def _failed(self, request: TokenRequest, state: TokenState, lease: Lease, error: TokenError) -> bool:
        chance, now = self._chance(), self._clock()
        kept = await self.leases.settle(request, state, lease, lambda known, at: known.failed(error, at, chance), now)
        token = state.usable(now)
        self._metrics.failed(request.shop.key, request.shop.entry, refused=isinstance(error, TokenRefused))
        self._log.warning(
            f"token.{error.code.removeprefix('token_')}",
            shop=request.shop.key,
            detail=error.detail,
            reason=error.reason,
            fix=request.shop.fix if isinstance(error, TokenRefused) else None,
            old_token_serves_for=round(token.expires_at - now) if token else 0,
            asked_again_after=round(state.ask_not_before - now, 1),
        )
        return kept
