"""What does not change from one request for a shop to the next, worked out once.

Rules: a shop that is served by the wildcard entry is worked out anew when it was not seen for long; the number kept is
bounded, so that made-up shop names cost nothing that lasts. What has not changed with the configuration is taken over
when it is looked for: to work out tens of thousands at once takes a second.
"""

from dataclasses import dataclass
from typing import Final

from proxy.platforms.shop import Shop, Shops
from proxy.tokens.endpoint import TokenRequest, token_request
from proxy.wire.pool import Destination

_MAX_ROUTES: Final = 20_000  # besides those of the shops that the configuration names


@dataclass(frozen=True, slots=True)
class Route:
    """Where the requests for one shop go, and what their tokens are asked for with."""

    shop: Shop
    destination: Destination
    base_path: bytes
    host: bytes
    token_request: TokenRequest
    # The field that the token stands in, in lower case, if it is not Authorization: the client's own stops here.
    token_field: bytes | None
    # The URLs that stand for the shop's API, the canonical one first; none if links are not rewritten.
    api_urls: tuple[str, ...]
    # Whether the connection may lead into the own network: an egress proxy is there, and guards what is behind it.
    any_address: bool


class Routes:
    """Finds the route to a shop by its key. `several_platforms` if not all shops are on one."""

    def __init__(self, shops: Shops, earlier: "Routes | None" = None) -> None:
        self._shops = shops
        self.several_platforms = len({platform.name for platform in shops.all_platforms()}) > 1
        self._most = len(shops.named) + _MAX_ROUTES
        self._routes: dict[str, Route] = {}
        self._earlier = {} if earlier is None else earlier._routes

    def find(self, key: str) -> Route | None:
        """Return the route to the shop called `key`, a valid shop name; `None` if there is no such shop."""
        route = self._routes.get(key)
        if route is None:
            shop = self._shops.find(key)
            if shop is None:
                return None
            route = self._earlier.pop(key, None)
            if route is None or route.shop != shop:
                route = _route_to(shop)
            if len(self._routes) >= self._most:
                del self._routes[next(iter(self._routes))]
            self._routes[key] = route
        return route


def _route_to(shop: Shop) -> Route:
    origin, base_path = shop.platform.api_base_for(shop.name)
    api_urls = tuple(shop.platform.api_urls_for(shop.name)) if shop.platform.rewrite_links else ()
    way = shop.platform.proxy_for(origin)
    token_field = shop.platform.token_field
    return Route(
        shop,
        Destination(*origin, way),
        base_path,
        origin.host_header,
        token_request(shop),
        None if token_field == b"authorization" else token_field,
        api_urls,
        shop.platform.allow_private or way is not None,
    )
