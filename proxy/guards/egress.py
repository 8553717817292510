"""Where the proxy may connect to.

An upstream's host comes from a platform's template and a valid shop name alone. But what that name resolves to is in
the hands of a DNS server: so unless the platform has `allow_private`, addresses inside the own network (loopback,
private, link-local, and what else is not public) are left out of every answer. Host names that are addresses never
get here; `Platform` refuses them.
"""

import socket
from typing import TYPE_CHECKING

from proxy.errors import PrivateAddressError
from proxy.guards.names import Resolver
from proxy.platforms.addresses import is_public

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult


class PublicResolver:
    """Resolves host names through another resolver, and leaves out the addresses that are not public."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> "list[ResolveResult]":
        """Return the public addresses of `host`; raises `PrivateAddressError` if it has others only."""
        results = await self._resolver.resolve(host, port, family)
        public = [result for result in results if is_public(result["host"])]
        if results and not public:
            raise PrivateAddressError(f"{host} resolves to {results[0]['host']}, which is not a public address")
        return public

    async def close(self) -> None:
        """Close the resolver behind this one."""
        await self._resolver.close()
