"""Connections to the platforms: how they are made, what they may lead to, and until when they are open."""

import asyncio
import ssl
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Self, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver

from proxy import __version__
from proxy.certificate import Authorities
from proxy.config import UpstreamConfig
from proxy.guards.descriptors import Descriptors
from proxy.guards.egress import PublicResolver
from proxy.guards.names import SystemNames
from proxy.threads import in_thread
from proxy.wire.answer_parsing import MAX_FIELDS, MAX_LINE
from proxy.wire.lenient_client import LenientHandler
from proxy.wire.pool import Pool
from proxy.wire.transports import upstream_loop

_User = TypeVar("_User")


class Connections:
    """Connections to the platforms; each is keyed by whether they may lead into the own network.

    They may for a platform with `allow_private`, and where they lead to an egress proxy. They are closed by who opened
    them, or when others have taken their place and what `used_by` was told of is gone: requests in flight keep to
    those that they began with.
    """

    def __init__(self, tls: ssl.SSLContext | bool, resolver: AbstractResolver, descriptors: Descriptors) -> None:
        loop = asyncio.get_running_loop()

        def connector(on: asyncio.AbstractEventLoop, *, allow_private: bool) -> aiohttp.TCPConnector:
            addresses = resolver if allow_private else PublicResolver(resolver)
            # No limit here: one silent shop would hold the connections of all. What is found is kept by the resolver.
            # No connection is kept either: those to the APIs have a pool of their own, and a token request is rare and
            # not sent twice, so that a kept one would be dead too often.
            return aiohttp.TCPConnector(
                limit=0, ssl=tls, resolver=addresses, use_dns_cache=False, force_close=True, loop=on
            )

        self.connectors = {each: connector(upstream_loop(loop), allow_private=each) for each in (False, True)}
        self.pools = {each: Pool(loop.time) for each in (False, True)}

        def lenient(connector: aiohttp.TCPConnector) -> aiohttp.TCPConnector:
            # There is no public way to say how a connector's answers are read.
            connector._factory = partial(LenientHandler, loop=loop)  # type: ignore[assignment]  # - its own handler's type
            return connector

        self.sessions = {
            each: aiohttp.ClientSession(
                connector=lenient(connector(loop, allow_private=each)),
                max_line_size=MAX_LINE,
                max_field_size=MAX_LINE,
                max_headers=MAX_FIELDS,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": f"shop-auth-proxy/{__version__}"},
                trace_configs=[_counted(descriptors)],
            )
            for each in (False, True)
        }
        self._descriptors = descriptors
        descriptors.make_room += [pool.make_room for pool in self.pools.values()]
        self._users = 0
        self._one_left = asyncio.Event()
        self._loop = loop

    @classmethod
    async def open(cls, config: UpstreamConfig, resolver: AbstractResolver, descriptors: Descriptors) -> Self:
        """Return connections that are made as `config` says; each takes one of the `descriptors`."""
        if config.ca_file is None:
            return cls(True, resolver, descriptors)  # as aiohttp has it
        authorities = config.ca_file
        # Hundreds of certificates are read, which takes as long as some hundred requests.
        return cls(await in_thread(lambda: _trusting(authorities), name="certificates"), resolver, descriptors)

    def used_by(self, user: _User) -> _User:
        """Take note that these connections are needed as long as anybody holds `user`; return it."""
        self._users += 1
        weakref.finalize(user, self._left).atexit = False
        return user

    async def close_when_unused(self) -> None:
        """Close them as soon as nobody needs them, or when this is cancelled."""
        try:
            while self._users:
                self._one_left.clear()
                await self._one_left.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close them now."""
        for allow_private in (False, True):
            self._descriptors.make_room.remove(self.pools[allow_private].make_room)
            self.pools[allow_private].close()
            await self.connectors[allow_private].close()
            await self.sessions[allow_private].close()

    def _left(self) -> None:
        with suppress(RuntimeError):  # the loop is closed; and objects may be let go of in any thread
            self._loop.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self._users -= 1
        self._one_left.set()


def _counted(descriptors: Descriptors) -> aiohttp.TraceConfig:
    """Have the requests of a session count, each of which has a connection of its own."""

    async def begin(*_: object) -> None:
        descriptors.note()

    async def end(*_: object) -> None:
        descriptors.give()

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(begin)
    trace.on_request_end.append(end)
    trace.on_request_exception.append(end)
    return trace


def _trusting(authorities: Authorities) -> ssl.SSLContext:
    tls = ssl.create_default_context()
    authorities.add_to(tls)
    return tls


@asynccontextmanager
async def open_connections(
    config: UpstreamConfig, resolver: AbstractResolver | None = None
) -> AsyncIterator[Connections]:
    """Provide the connections to the platforms, and close them at the end; `resolver` is the system's own if `None`."""
    connections = await Connections.open(config, resolver or SystemNames(), Descriptors())
    try:
        yield connections
    finally:
        await connections.close()
