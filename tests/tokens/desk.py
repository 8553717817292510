"""A token cache at work: a clock that is set by hand, chance that is chosen, and an endpoint that answers to order."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from proxy.errors import TokenRefused, TokenUnavailable
from proxy.platforms.platform import Credentials
from proxy.platforms.shop import Shop
from proxy.secret import Secret
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import TokenMetrics
from proxy.tokens.cache import TokenCache, TokenPolicy
from proxy.tokens.endpoint import TokenEndpoint, TokenGrant, TokenRequest, token_request
from proxy.tokens.state import CallKind
from proxy.tokens.token import AccessToken
from tests.proxies import platform

ORDERS = CallKind("GET", b"orders")
PRODUCTS = CallKind("GET", b"products")

START = 1000.0


def outage(retry_after: float | None = None) -> TokenUnavailable:
    return TokenUnavailable("The endpoint is down.", reason="status 503", retry_after=retry_after)


def refusal() -> TokenRefused:
    return TokenRefused("The endpoint refuses.", reason="status 401, error: 'invalid_client'")


def grant(token: str, lifetime: float | None = 3600.0) -> TokenGrant:
    return TokenGrant(token, lifetime, None)


Outcome = TokenGrant | Exception


class Desk(TokenEndpoint):
    """Stands for the token endpoint: answers with `outcomes` in turn, or else a token for an hour, if `gate` is open.

    Tokens that were not ordered are called `token-1`, `token-2` … by the number of the request.
    """

    def __init__(self) -> None:
        self.outcomes: deque[Outcome] = deque()
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[str] = []
        self.in_flight: Counter[bytes] = Counter()
        self.most_in_flight = 0
        self._more = asyncio.Event()

    async def fetch(self, request: TokenRequest) -> TokenGrant:
        self.asked.append(request.shop.key)
        number = len(self.asked)
        self._more.set()
        self.in_flight[request.key] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight[request.key])
        try:
            await self.gate.wait()
        finally:
            self.in_flight[request.key] -= 1
        outcome = self.outcomes.popleft() if self.outcomes else grant(f"token-{number}")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def until_asked(self, count: int) -> None:
        """Wait until so many requests have come in."""
        while len(self.asked) < count:
            self._more.clear()
            await self._more.wait()


@dataclass(slots=True)
class Office:
    """A cache, what it works with, and what it said."""

    cache: TokenCache
    desk: Desk
    tasks: BackgroundTasks
    metrics: TokenMetrics
    events: list[dict[str, Any]]
    log: FilteringBoundLogger
    now: float = START
    chance: float = 1.0  # no pause is shortened, every margin by a tenth
    slept: list[float] = field(default_factory=list)
    turn: asyncio.Event = field(default_factory=asyncio.Event)  # set when those who wait for their turn may go on

    def request(
        self, key: str = "demo", *, secret: str = "secret-1", by_wildcard: bool = False, **changes: Any
    ) -> TokenRequest:
        credentials = Credentials(f"{key}-id", Secret(secret))
        return token_request(Shop(key, key, platform(1, 1, **changes), credentials, by_wildcard=by_wildcard))

    async def get(self, key: str = "demo") -> str:
        """The name of the token that a request for the shop gets."""
        return name(await self.cache.get(self.request(key)))

    async def unauthorized(self, rejected: AccessToken, kind: CallKind = ORDERS, key: str = "demo") -> str | None:
        """The name of the token that a call is repeated with."""
        another = await self.cache.after_unauthorized(self.request(key), rejected, kind)
        return None if another is None else name(another.token)

    async def idle(self) -> None:
        """Wait until no token request is under way."""
        while self.tasks._tasks:
            await asyncio.wait(self.tasks._tasks)

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self.events if entry["event"] == event]


def name(token: AccessToken) -> str:
    return token.authorization.decode().removeprefix("Bearer ")


@asynccontextmanager
async def office(*outcomes: Outcome, desk: Desk | None = None, **policy: Any) -> AsyncIterator[Office]:
    """Run a cache with the default settings but for `policy`. What hangs fails the test after a while."""
    desk = desk or Desk()
    settings: dict[str, Any] = {
        "refresh_margin": 60.0,
        "max_age": 86400.0,
        "fetch_timeout": 10.0,
        "unauthorized_pause": 30.0,
        "max_entries": 20_000,
        "first_requests_per_second": 50.0,
    }
    events: list[dict[str, Any]] = []

    def keep(_: Any, __: str, event: Any) -> str:
        events.append(dict(event))
        raise structlog.DropEvent

    async def sleep(seconds: float) -> None:
        here.slept.append(seconds)
        await here.turn.wait()

    log = structlog.wrap_logger(
        None,
        processors=[structlog.processors.add_log_level, keep],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
    )
    tasks, metrics = BackgroundTasks(), TokenMetrics()
    desk.outcomes.extend(outcomes)
    cache = TokenCache(
        desk,
        TokenPolicy(**(settings | policy)),
        tasks,
        log,
        metrics,
        clock=lambda: here.now,
        chance=lambda: here.chance,
        sleep=sleep,
    )
    here = Office(cache, desk, tasks, metrics, events, log)
    async with asyncio.timeout(60):
        try:
            yield here
        finally:
            await tasks.close()
