"""Where the numbers come from, and what they are at one moment.

Rules: taken in one go, without awaiting, so that they fit together; what is taken does not change any more, so that a
thread can make a page of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from proxy.guards.pacing import Pacer
from proxy.platforms.shop import WILDCARD, Shop, Shops
from proxy.telemetry.metrics import ConnectionMetrics, LogMetrics, PacingMetrics, ProcessMetrics, TokenMetrics
from proxy.telemetry.recent import Minute
from proxy.telemetry.traffic import Problem, ShopTraffic, Traffic
from proxy.tokens.cache import TokenCache
from proxy.tokens.endpoint import TokenRequest
from proxy.tokens.status import TokenStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the admin port reads. Functions are asked each time, since a reload may change what they return.

    `find` returns the token request for a valid shop name. `redact` takes secrets out of a text. `clock` is monotonic,
    in seconds, and that of `traffic`.
    """

    version: str
    process: ProcessMetrics
    shops: Callable[[], Shops]
    find: Callable[[str], TokenRequest | None]
    tokens: TokenCache
    token_metrics: TokenMetrics
    pacer: Pacer
    pacing: PacingMetrics
    traffic: Traffic
    in_flight: Callable[[], int]
    connections: ConnectionMetrics
    log: LogMetrics
    redact: Callable[[str], str]
    clock: Callable[[], float]


class ShopNow(NamedTuple):
    """A shop at one moment. `token` is `None` for the wildcard entry, each of whose shops has a token of its own."""

    name: str
    platform: str
    token: TokenStatus | None
    mend: str
    queue: int
    minutes: tuple[Minute, ...]
    problem: Problem | None


class ProcessNow(NamedTuple):
    """The process at one moment."""

    version: str
    phase: str
    in_flight: int
    connections: int
    last_reload_successful: bool


class CountersNow(NamedTuple):
    """What was counted up to one moment: by shop, of tokens, of connections, by code, by outcome, of the log."""

    traffic: dict[str, ShopTraffic]
    tokens: TokenMetrics
    connections: ConnectionMetrics
    errors: dict[str, int]
    reloads: dict[str, int]
    log: LogMetrics


def process_now(sources: Sources) -> ProcessNow:
    """Return how the process is."""
    process = sources.process
    return ProcessNow(
        sources.version, process.phase, sources.in_flight(), sources.connections.open, process.last_reload_successful
    )


def shops_now(sources: Sources) -> list[ShopNow]:
    """Return how each shop is that is counted under its own name, and the rest of those of the wildcard entry."""
    shops = sources.shops()
    names = dict.fromkeys(shops.named)
    if shops.wildcard is not None:
        names |= dict.fromkeys(sources.traffic.labels)
    now = [_shop_now(sources, request) for name in names if (request := sources.find(name)) is not None]
    if shops.wildcard is not None:
        platform, credentials = shops.wildcard
        rest = Shop(WILDCARD, WILDCARD, platform, credentials, by_wildcard=True)
        queue = max(sources.pacing.waiting - sum(shop.queue for shop in now), 0)
        now.append(_with_traffic(sources, ShopNow(WILDCARD, platform.name, None, rest.mend, queue, (), None)))
    return now


def counters_now(sources: Sources) -> CountersNow:
    """Return what was counted."""
    tokens = sources.token_metrics
    return CountersNow(
        {label: traffic.copy() for label, traffic in sources.traffic.shops.items()},
        replace(tokens, requests=tokens.requests.copy(), unauthorized=tokens.unauthorized.copy()),
        replace(sources.connections),
        dict(sources.traffic.errors),
        dict(sources.process.reloads),
        replace(sources.log),
    )


def _shop_now(sources: Sources, request: TokenRequest) -> ShopNow:
    shop, token = request.shop, sources.tokens.status(request)
    if token.reason:
        token = token._replace(reason=sources.redact(token.reason))
    queue = sources.pacer.waiting(request.key)
    return _with_traffic(sources, ShopNow(shop.key, shop.platform.name, token, shop.mend, queue, (), None))


def _with_traffic(sources: Sources, shop: ShopNow) -> ShopNow:
    traffic = sources.traffic.shops.get(shop.name)
    if traffic is None:
        return shop
    return shop._replace(minutes=traffic.recent.minutes(sources.clock()), problem=traffic.problem)
