"""Connections to upstreams for tests of what is done with them."""

import asyncio
import ssl

from proxy.forwarding.fields import answer_fields
from proxy.guards.descriptors import Descriptors
from proxy.guards.names import Resolver
from proxy.wire.dialing import Dialer
from proxy.wire.transports import upstream_loop
from tests.names import Names


def dialer(
    resolver: Resolver | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    descriptors: Descriptors | None = None,
    within: float = 5.0,
) -> Dialer:
    """A dialer as the app makes it; without a `resolver`, all names lead to loopback."""

    async def trust() -> ssl.SSLContext:
        return tls or ssl.create_default_context()

    loop = upstream_loop(asyncio.get_running_loop())
    found = descriptors or Descriptors()
    return Dialer(resolver or Names("127.0.0.1"), trust, found, answer_fields(), loop, timeout=within)
