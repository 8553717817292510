"""From a configuration to the parts that keep to it."""

import dataclasses
from collections.abc import Callable, Mapping

import msgspec

from proxy.config import ClientConfig, Config
from proxy.forwarding.addressing import Addressing
from proxy.forwarding.fields import Hop
from proxy.forwarding.route import Routes
from proxy.forwarding.site import Site
from proxy.forwarding.upstream import Upstream
from proxy.guards.access import Access, Client
from proxy.guards.budgets import Budget
from proxy.guards.slots import PacingPolicy
from proxy.links.shop_links import LinksOfShops
from proxy.platforms.addresses import is_loopback
from proxy.platforms.shop_hosts import ShopHosts
from proxy.tokens.cache import TokenPolicy
from proxy.wire.client_watch import ClientLimits


def site_of(
    config: Config, upstreams: Mapping[bool, Upstream], pseudonym: bytes, *, clock: Callable[[], float]
) -> Site:
    """Return what the configuration says of requests; `pseudonym` is this process's name in `Via`."""
    server = config.server
    return Site(
        addressing=Addressing(ShopHosts(config.shops) if server.route_by_host else None, server.public_url),
        access=Access([_client(name, client) for name, client in config.clients.items()], clock=clock),
        routes=Routes(config.shops),
        links=LinksOfShops(),
        upstreams=upstreams,
        hop=Hop(pseudonym, server.trusted_proxies),
        max_body_size=config.upstream.max_body_size,
        collapse=config.pacing.collapse,
        answers_in_xml=all(platform.answers_in_xml for platform in config.shops.all_platforms()),
    )


def keep_places(places: Budget, config: Config, *, room: int) -> None:
    """Divide the places for requests as `[server]` says; there is `room` for so many connections."""
    server = config.server
    enough = room >= server.max_connections
    places.keep_to(server.max_requests if enough else min(server.max_requests, room), server.max_share)


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
    return "everybody who reaches it, without credentials (allow_anonymous)"


def _client(name: str, config: ClientConfig) -> Client:
    shops, methods = (None if "*" in names else frozenset(names) for names in (config.shops, config.methods))
    return Client(name, config.digest, shops, methods)
