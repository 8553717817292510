"""Connections to the platforms: how they are made, what they may lead to, and until when they are open."""

import asyncio
import ssl
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from proxy.certificate import Authorities
from proxy.config import UpstreamConfig
from proxy.forwarding.fields import answer_fields
from proxy.guards.descriptors import Descriptors
from proxy.guards.egress import PublicResolver
from proxy.guards.names import Resolver, SystemNames
from proxy.threads import in_thread
from proxy.wire.asking import Client
from proxy.wire.dialing import Dialer
from proxy.wire.head import FieldTable
from proxy.wire.pool import Pool
from proxy.wire.transports import most_kept, upstream_loop

_User = TypeVar("_User")


class _Trust:
    """Whom to trust: `authorities` besides the usual ones. It is read when it is first asked for, in a thread.

    These are hundreds of certificates: they take as long as some hundred requests, and two megabytes.
    """

    def __init__(self, authorities: Authorities | None) -> None:
        self._authorities = authorities
        self._read: asyncio.Future[ssl.SSLContext] | None = None

    async def context(self) -> ssl.SSLContext:
        """Return it as connections to servers need it. Raises `OSError` if the system has no thread left."""
        if self._read is None or (self._read.done() and self._read.exception()):
            self._read = in_thread(self._make, name="certificates")
        return await asyncio.shield(self._read)

    def _make(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if self._authorities is not None:
            self._authorities.add_to(context)
        return context


class _AtOnce:
    """Descriptors for token requests, which have theirs at once: their number is bounded."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self.take_for_file, self.give = descriptors.take_for_file, descriptors.give

    async def take(self) -> None:
        self._descriptors.note()


class Connections:
    """Connections to the platforms; each is keyed by whether they may lead into the own network.

    They may for a platform with `allow_private`, and where they lead to an egress proxy. `client` asks on connections
    of their own. Those that are kept are closed by who made this, or when others have taken their place and what
    `used_by` was told of is gone: requests in flight keep to those that they began with.
    """

    def __init__(
        self, config: UpstreamConfig, resolver: Resolver, descriptors: Descriptors, answers: FieldTable
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = _Trust(config.ca_file).context
        self._resolver = resolver
        self._descriptors = descriptors
        self._answers = answers
        self.pools = {each: Pool(self._loop.time, most_kept(self._loop)) for each in (False, True)}
        descriptors.make_room += [pool.make_room for pool in self.pools.values()]
        at_once = _AtOnce(descriptors)
        self.client = Client({each: self._dialer(each, at_once, self._loop, None) for each in (False, True)})
        self._users = 0
        self._one_left = asyncio.Event()

    def used_by(self, user: _User) -> _User:
        """Take note that these connections are needed as long as anybody holds `user`; return it."""
        self._users += 1
        weakref.finalize(user, self._left).atexit = False
        return user

    def dialer(self, any_address: bool, *, timeout: float) -> Dialer:
        """Return what makes connections to the APIs, each in `timeout` seconds."""
        return self._dialer(any_address, self._descriptors, upstream_loop(self._loop), timeout)

    async def close_when_unused(self) -> None:
        """Close them as soon as nobody needs them, or when this is cancelled."""
        try:
            while self._users:
                self._one_left.clear()
                await self._one_left.wait()
        finally:
            self.close()

    def close(self) -> None:
        """Close those that are kept."""
        for pool in self.pools.values():
            self._descriptors.make_room.remove(pool.make_room)
            pool.close()

    def _dialer(
        self,
        any_address: bool,
        descriptors: Descriptors | _AtOnce,
        loop: asyncio.AbstractEventLoop,
        timeout: float | None,
    ) -> Dialer:
        resolver = self._resolver if any_address else PublicResolver(self._resolver)
        return Dialer(resolver, self._tls, descriptors, self._answers, loop, timeout=timeout)

    def _left(self) -> None:
        with suppress(RuntimeError):  # the loop is closed; and objects may be let go of in any thread
            self._loop.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self._users -= 1
        self._one_left.set()


@asynccontextmanager
async def open_connections(config: UpstreamConfig, resolver: Resolver | None = None) -> AsyncIterator[Connections]:
    """Provide the connections to the platforms, and close them at the end; `resolver` is the system's own if `None`."""
    connections = Connections(config, resolver or SystemNames(), Descriptors(), answer_fields())
    try:
        yield connections
    finally:
        connections.close()
