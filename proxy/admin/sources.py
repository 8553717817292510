"""Where the numbers come from, and what they are at one moment.

Rules: what stands together on a page about one shop is taken in one go, without awaiting, so that it fits together;
between shops others may have their turn, since there may be tens of thousands. A shop that nobody called costs nothing.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from proxy.guards.budgets import Budgets
from proxy.guards.descriptors import Descriptors
from proxy.guards.pacing import Pacer
from proxy.platforms.shop import WILDCARD, Shop, Shops
from proxy.telemetry.metrics import (
    ConnectionMetrics,
    ErrandMetrics,
    LogMetrics,
    PacingMetrics,
    ProcessMetrics,
    SharedMetrics,
    TokenMetrics,
)
from proxy.telemetry.problems import Problem
from proxy.telemetry.recent import Minute
from proxy.telemetry.traffic import ClientTraffic, ShopTraffic, Traffic
from proxy.tokens.cache import TokenCache
from proxy.tokens.endpoint import TokenRequest
from proxy.tokens.status import NOTHING_KNOWN, TokenStatus

_REFUSALS: Final = ("client_unauthenticated", "client_forbidden", "too_many_failures", "client_overloaded")


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
    errands: ErrandMetrics
    traffic: Traffic
    in_flight: Callable[[], int]
    connections: ConnectionMetrics
    budgets: Budgets
    descriptors: Descriptors
    log: LogMetrics
    redact: Callable[[str], str]
    clock: Callable[[], float]
    # The clients that there are, where applications call the proxy, and until when its certificate is valid.
    clients: Callable[[], Collection[str]] = tuple
    url: Callable[[], str] = str
    certificate_expires_at: Callable[[], float | None] = lambda: None
    wall_clock: Callable[[], float] = time.time  # seconds since 1970
    shared: Callable[[], SharedMetrics | None] = lambda: None


class Glimpse(NamedTuple):
    """What is known of a shop at one moment for next to nothing.

    `token` is `None` for the wildcard entry, each of whose shops has a token of its own; `queue` is `None` where there
    is no rate limit to wait for.
    """

    name: str
    token: TokenStatus | None
    queue: int | None


class ShopNow(NamedTuple):
    """A shop at one moment; `token` as in `Glimpse`. `wait` is how many seconds a call would wait in the `queue`.

    `problem` is the last one, `problems` are the last ones that are kept, the latest first.
    """

    name: str
    platform: str
    token: TokenStatus | None
    fix: str
    queue: int
    minutes: tuple[Minute, ...]
    problem: Problem | None
    wait: float = 0.0
    problems: tuple[Problem, ...] = ()


class ClientNow(NamedTuple):
    """A client: its calls, how many of them the proxy refused, and how many seconds ago the last one ended, if ever.

    `name` is empty for calls that were refused for want of a client.
    """

    name: str
    calls: int
    refused: int
    last: float | None


class ProcessNow(NamedTuple):
    """The process at one moment; times in seconds since 1970. `url` is where applications call it.

    `config_problems` are those of a configuration that was not taken, `configured_at` when the one in use was.
    """

    version: str
    phase: str
    in_flight: int
    connections: int
    last_reload_successful: bool
    now: float = 0.0
    started_at: float = 0.0
    configured_at: float = 0.0
    config_problems: tuple[str, ...] = ()
    url: str = ""
    certificate_expires_at: float | None = None
    shared: SharedMetrics | None = None  # what replicas share, if they do


class BudgetNow(NamedTuple):
    """What all requests share, at one moment; `refused` counts by who had none left: all, the client, or the shop."""

    name: str
    used: int
    limit: float
    refused: dict[str, int]


class CountersNow(NamedTuple):
    """What is counted: by shop, of tokens, connections and errands, by shop and code, by outcome, of the log, of what
    all requests share, by client.

    Numbers of shops may still grow.
    """

    traffic: dict[str, ShopTraffic]
    tokens: TokenMetrics
    connections: ConnectionMetrics
    errands: ErrandMetrics
    errors: dict[tuple[str, str], int]
    reloads: dict[str, int]
    log: LogMetrics
    budgets: tuple[BudgetNow, ...] = ()
    clients: dict[str, ClientTraffic] = {}  # noqa: RUF012 - nobody writes to it


def process_now(sources: Sources) -> ProcessNow:
    """Return how the process is."""
    process, shared = sources.process, sources.shared()
    return ProcessNow(
        sources.version,
        process.phase,
        sources.in_flight(),
        sources.connections.open,
        process.last_reload_successful,
        sources.wall_clock(),
        process.started_at,
        process.configured_at,
        process.problems,
        sources.url(),
        sources.certificate_expires_at(),
        None if shared is None else shared.copy(),
    )


def clients_now(sources: Sources) -> list[ClientNow]:
    """Return how the clients are, those that called last first; and what was refused for want of one."""
    counted, now = sources.traffic.clients, sources.clock()
    names = {*sources.clients(), *counted}
    rows = []
    for name in names:
        of = counted.get(name)
        if of is None:
            rows.append(ClientNow(name, 0, 0, None))
        else:
            rows.append(ClientNow(name, of.requests.total(), _refused(of), now - of.last_at))
    return sorted(rows, key=lambda row: (row.last is None, row.last or 0.0, row.name))


def _refused(client: ClientTraffic) -> int:
    return sum(client.errors[code] for code in _REFUSALS)


def counters_now(sources: Sources) -> CountersNow:
    """Return what was counted."""
    tokens = sources.token_metrics
    return CountersNow(
        dict(sources.traffic.shops),
        replace(tokens, requests=tokens.requests.copy(), unauthorized=tokens.unauthorized.copy()),
        replace(sources.connections),
        replace(sources.errands, failed_batches=sources.errands.failed_batches.copy()),
        dict(sources.traffic.errors),
        dict(sources.process.reloads),
        replace(sources.log),
        _budgets_now(sources),
        dict(sources.traffic.clients),
    )


def _budgets_now(sources: Sources) -> tuple[BudgetNow, ...]:
    budgets, descriptors = sources.budgets, sources.descriptors
    of_requests = (("places", budgets.places), ("memory", budgets.memory), ("spool", budgets.spool))
    return (
        *(BudgetNow(name, each.taken, each.total, dict(each.refused)) for name, each in of_requests),
        BudgetNow("descriptors", descriptors.taken, descriptors.limit, {"all": descriptors.refused}),
    )


def names_now(sources: Sources) -> list[str]:
    """Return the shops that are counted under their own names."""
    shops = sources.shops()
    others = [] if shops.wildcard is None else [name for name in sources.traffic.labels if name not in shops.named]
    return [*shops.named, *others]


def glimpses(sources: Sources, names: Iterable[str]) -> Iterator[Glimpse]:
    """Yield what is known of these shops; at the end of the rest of those that the wildcard entry serves, if any."""
    shops = sources.shops()
    waiting = 0
    for name in names:
        glimpse = _glimpse(sources, shops, name)
        if glimpse is not None:
            waiting += glimpse.queue or 0
            yield glimpse
    if shops.wildcard is not None:
        paced = shops.wildcard[0].rate_limit is not None
        yield Glimpse(WILDCARD, None, max(sources.pacing.waiting - waiting, 0) if paced else None)


def platform_now(sources: Sources, name: str) -> str:
    """Return the name of a shop's platform; of one that is there no more, nothing."""
    shops = sources.shops()
    shop = shops.named.get(name)
    if shop is not None:
        return shop.platform.name
    return "" if shops.wildcard is None else shops.wildcard[0].name


def shop_now(sources: Sources, name: str, *, others_waiting: int) -> ShopNow | None:
    """Return how a shop is, `None` if it is there no more; `others_waiting` is the queue of the wildcard entry."""
    shops = sources.shops()
    named, wildcard = shops.named.get(name), shops.wildcard
    if named is not None and not _was_called(sources, name):
        return ShopNow(name, named.platform.name, NOTHING_KNOWN, named.fix, 0, (), None)
    wait = 0.0
    request = None if name == WILDCARD else sources.find(name)
    if request is not None:
        shop, token, queue = request.shop, sources.tokens.status(request), sources.pacer.waiting(request.application)
        wait = sources.pacer.expected_wait(request.application) if queue else 0.0
        if token.reason:
            token = token._replace(reason=sources.redact(token.reason))
    elif name == WILDCARD and wildcard is not None:
        shop, token, queue = Shop(WILDCARD, WILDCARD, *wildcard, by_wildcard=True), None, others_waiting
    else:
        return None
    traffic = sources.traffic.shops.get(name)
    minutes, problem = ((), None) if traffic is None else (traffic.recent.minutes(sources.clock()), traffic.problem)
    problems = problems_now(sources, name)
    return ShopNow(name, shop.platform.name, token, shop.fix, queue, minutes, problem, wait, problems)


def problems_now(sources: Sources, name: str) -> tuple[Problem, ...]:
    """Return the last problems of a shop, the latest first; of none, for calls that named no shop."""
    redact = sources.redact
    return tuple([problem._replace(path=redact(problem.path)) for problem in sources.traffic.problems.of(name)])


def _was_called(sources: Sources, name: str) -> bool:
    asked = (name, "granted") in sources.token_metrics.requests or name in sources.tokens.fetching
    return asked or name in sources.traffic.shops


def _glimpse(sources: Sources, shops: Shops, name: str) -> Glimpse | None:
    named = shops.named.get(name)
    if named is not None and not _was_called(sources, name):
        return Glimpse(name, NOTHING_KNOWN, None if named.platform.rate_limit is None else 0)
    request = sources.find(name)
    if request is None:
        return None
    paced = request.shop.platform.rate_limit is not None
    return Glimpse(name, sources.tokens.status(request), sources.pacer.waiting(request.application) if paced else None)
