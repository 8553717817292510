"""What a configuration says of requests, put together once.

Rules: a site is never changed. When the configuration is read anew another one takes its place; a request keeps to the
one it began with, to its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.forwarding.addressing import Addressing
from proxy.forwarding.fields import Hop
from proxy.forwarding.route import Routes
from proxy.forwarding.upstream import Upstream
from proxy.guards.access import Access
from proxy.links.shop_links import LinksOfShops
from proxy.wire.spool import Spool


@dataclass(frozen=True, slots=True)
class Site:
    """Which shops are served, how, and to whom.

    `upstreams` maps a route's `any_address` to the connections to use; `max_body_size` is in bytes. `collapse` if
    one call to a platform may answer several that ask the same. `answers_in_xml` if all platforms of the shops do so
    unless asked for something else.
    """

    addressing: Addressing
    access: Access
    routes: Routes
    links: LinksOfShops
    upstreams: Mapping[bool, Upstream]
    hop: Hop
    spool: Spool
    max_body_size: int
    collapse: bool
    answers_in_xml: bool
