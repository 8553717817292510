"""Name resolution for tests: real host names that lead to loopback, or wherever a test wants."""

import socket
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp.abc import AbstractResolver, ResolveResult


class Names(AbstractResolver):
    """A DNS server that says what a test wants it to."""

    def __init__(self, *addresses: str, others: Mapping[str, str] = MappingProxyType({})) -> None:
        self.addresses = addresses
        self.others = others
        self.asked: list[tuple[str, int, socket.AddressFamily]] = []
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append((host, port, family))
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in ([self.others[host]] if host in self.others else self.addresses)
        ]

    async def close(self) -> None:
        self.closed = True
