"""From a configuration to the parts that keep to it."""

import dataclasses
import itertools
import secrets
from collections.abc import Callable, Mapping

import msgspec
from structlog.typing import FilteringBoundLogger

from proxy.app.connections import Connections
from proxy.app.outside import Outside
from proxy.app.room import Room, Short, too_little
from proxy.config import ClientConfig, Config
from proxy.forwarding.addressing import Addressing
from proxy.forwarding.attempts import Attempts
from proxy.forwarding.batching import Batching
from proxy.forwarding.errands import Errands
from proxy.forwarding.fields import Hop
from proxy.forwarding.route import Routes
from proxy.forwarding.site import Site
from proxy.forwarding.upstream import Upstream
from proxy.guards.access import Access, Client
from proxy.guards.budgets import Budget, Budgets
from proxy.guards.office import PacingPolicy
from proxy.guards.pacing import Pacer
from proxy.links.shop_links import LinksOfShops
from proxy.platforms.addresses import is_loopback
from proxy.platforms.shop_hosts import ShopHosts
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import ErrandMetrics
from proxy.tokens.cache import TokenCache, TokenPolicy
from proxy.tokens.endpoint import TokenEndpoint
from proxy.wire.client_watch import ClientLimits
from proxy.wire.head import FieldTable
from proxy.wire.spool import Spool


def site_of(
    config: Config,
    upstreams: Mapping[bool, Upstream],
    spool: Spool,
    pseudonym: bytes,
    earlier: Routes | None,
    *,
    clock: Callable[[], float],
) -> Site:
    """Return what the configuration says of requests; `pseudonym` is this process's name in `Via`.

    `earlier` are the routes of the configuration before, if there was one.
    """
    server = config.server
    return Site(
        addressing=Addressing(ShopHosts(config.shops) if server.route_by_host else None, server.public_url),
        access=Access([_client(name, client) for name, client in config.clients.items()], clock=clock),
        routes=Routes(config.shops, earlier),
        links=LinksOfShops(),
        upstreams=upstreams,
        hop=Hop(pseudonym, server.trusted_proxies),
        spool=spool,
        max_body_size=config.upstream.max_body_size,
        collapse=config.pacing.collapse,
        answers_in_xml=all(platform.answers_in_xml for platform in config.shops.all_platforms()),
    )


def upstreams_of(config: Config, connections: Connections, tasks: BackgroundTasks) -> Mapping[bool, Upstream]:
    """Return what sends requests to the platforms, by whether it may lead into the own network."""
    upstream = config.upstream
    return {
        any_address: connections.used_by(
            Upstream(
                connections.dialer(any_address, timeout=upstream.connect_timeout),
                pool,
                tasks,
                read_timeout=upstream.read_timeout,
            )
        )
        for any_address, pool in connections.pools.items()
    }


def errands_of(  # noqa: PLR0913 - it puts together what the process has
    tokens: TokenCache,
    pacer: Pacer,
    log: FilteringBoundLogger,
    metrics: ErrandMetrics,
    answers: FieldTable,
    tasks: BackgroundTasks,
    memory: Budget,
    *,
    clock: Callable[[], float],
    new_request_id: Callable[[], bytes],
) -> Errands:
    """Return what sends requests, alone and together; `answers` are the fields of answers that are looked at."""
    attempts = Attempts(tokens, clock)
    batching = Batching(
        attempts, log, metrics, answers, clock=clock, over=pacer.look_again, new_request_id=new_request_id
    )
    return Errands(attempts, batching, tasks, log, metrics, memory)


def request_ids() -> Callable[[], bytes]:
    """Return what makes ids of requests: a random beginning for the process, and a number."""
    beginning, numbers = secrets.token_hex(8).encode(), itertools.count(int.from_bytes(secrets.token_bytes(4)))
    return lambda: b"%b%016x" % (beginning, next(numbers))


def endpoint_of(config: Config, connections: Connections, outside: Outside) -> TokenEndpoint:
    """Return what asks for tokens."""
    endpoint = TokenEndpoint(
        connections.client,
        fetch_timeout=config.tokens.fetch_timeout,
        conceal=outside.conceal,
        redact=outside.redact,
    )
    return connections.used_by(endpoint)


def keep_budgets(budgets: Budgets, config: Config, room: Room, *, connections: int) -> list[Short]:
    """Divide what requests share as `[server]` says; there is `room` here, and for so many connections.

    Returns where that is too little for one alone.
    """
    server = config.server
    enough = connections >= server.max_connections
    budgets.keep_to(
        places=server.max_requests if enough else min(server.max_requests, connections),
        memory=room.memory if server.memory_budget is None else server.memory_budget,
        spool=room.spool if server.spool_budget is None else server.spool_budget,
        share=server.max_share,
    )
    return too_little(config, budgets)


def token_policy(config: Config) -> TokenPolicy:
    """Return the settings of `[tokens]` as the cache wants them."""
    return TokenPolicy(**msgspec.structs.asdict(config.tokens))


def pacing_policy(config: Config) -> PacingPolicy:
    """Return the settings of `[pacing]` as the pacer wants them."""
    return PacingPolicy(config.pacing.max_wait, config.pacing.max_queue)


def client_limits(config: Config) -> ClientLimits:
    """Return what clients may do, of `[server]`."""
    names = [field.name for field in dataclasses.fields(ClientLimits)]
    return ClientLimits(**{name: getattr(config.server, name) for name in names})


def who_may_call(config: Config) -> str:
    """Return a phrase for the operator about who may use the shops."""
    count = len(config.clients)
    if count:
        return f"{count} {'client' if count == 1 else 'clients'} with credentials"
    if is_loopback(config.server.host):
        return "this machine only (loopback), without credentials"
    return "anyone who can reach it, without credentials (allow_anonymous)"


def _client(name: str, config: ClientConfig) -> Client:
    shops, methods = (None if "*" in names else frozenset(names) for names in (config.shops, config.methods))
    return Client(name, config.digest, shops, methods)


def for_the_next_start(config: Config, started: Config) -> tuple[str, ...]:
    """Return the names of settings that are not as they were at the start, and can't be changed while it serves."""
    fixed = {
        "server.host": (config.server.host, started.server.host),
        "server.port": (config.server.port, started.server.port),
        "server.reuse_port": (config.server.reuse_port, started.server.reuse_port),
        "admin": (config.admin, started.admin),
        "logging": (config.logging, started.logging),
    }
    return tuple(name for name, (wanted, is_so) in fixed.items() if wanted != is_so)
