"""Step 2 on the way of a request: who sends it, and for whom its place counts.

Rules: one that was let in by the very same head is not looked at again. The same head is the same object: nothing
secret is compared, or kept beside it.
"""

from collections.abc import Hashable
from typing import NamedTuple

from proxy.errors import ShopOverloaded
from proxy.forwarding.exchange import Exchange
from proxy.forwarding.route import Route
from proxy.forwarding.site import Site
from proxy.guards.access import Access, Client
from proxy.guards.budgets import Holding
from proxy.guards.pacing import Pacer
from proxy.platforms.addresses import ip_of, source_of
from proxy.wire.head import Head
from proxy.wire.request import ClientRequest


class LetIn(NamedTuple):
    """Who was let in by a request with this head; `holder` is for whom places count, `None` if for nobody."""

    access: Access
    head: Head
    client: Client | None
    holder: Hashable


def let_in(site: Site, request: ClientRequest) -> LetIn:
    """Return who sent the request. Raises an `AccessError`."""
    connection, head = request.connection, request.head
    before: LetIn | None = connection.note
    known = before is not None and before.access is site.access
    if before is not None and known and before.head is head:
        return before
    client = site.access.identify(head.values(b"authorization"), connection.remote)
    if client is not None:
        holder: Hashable = client.name
    elif before is not None and known:
        holder = before.holder  # of the same address
    else:
        holder = _address(site, connection.remote)
    connection.note = found = LetIn(site.access, head, client, holder)
    return found


def begin(exchange: Exchange, holding: Holding, route: Route, pacer: Pacer) -> None:
    """Count the place for the shop, which alone is waited for from here on, and give the request its turn there.

    Raises `ShopOverloaded`. In the line for the rate limit, a client with few waiting takes the place of one with many.
    """
    limit, key = route.shop.platform.rate_limit, route.token_request.application
    if exchange.site.routes.several_platforms:
        holding.platform = route.shop.platform.name
    try:
        holding.begin()
    except ShopOverloaded:
        if limit is None or not pacer.make_room(key, exchange.caller):
            raise
        holding.begin(instead=True)
    if limit is not None:
        exchange.turn = pacer.turn(key, exchange.caller, limit)


def _address(site: Site, remote: str) -> Hashable:
    """Return what an address counts as; those who speak for many, or are on this machine, count as nobody."""
    ip = ip_of(remote)
    return None if (ip is not None and ip.is_loopback) or site.hop.trusts(remote) else source_of(remote)
