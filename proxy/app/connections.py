"""Connections to the platforms: how they are made, what they may lead to, and until when they are open."""

import asyncio
import ssl
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from proxy import __version__
from proxy.certificate import Authorities
from proxy.config import UpstreamConfig
from proxy.guards.descriptors import Descriptors
from proxy.guards.egress import PublicResolver
from proxy.guards.names import Resolver, SystemNames
from proxy.threads import in_thread
from proxy.wire.pool import Pool
from proxy.wire.transports import most_kept, upstream_loop

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver

_User = TypeVar("_User")
_Made = TypeVar("_Made")


class _OnDemand(dict[bool, _Made], Generic[_Made]):
    """What is made when it is first asked for."""

    def __init__(self, make: Callable[[bool], _Made]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: bool) -> _Made:
        made = self[key] = self._make(key)
        return made


class Connections:
    """Connections to the platforms; each is keyed by whether they may lead into the own network.

    They may for a platform with `allow_private`, and where they lead to an egress proxy. They are closed by who opened
    them, or when others have taken their place and what `used_by` was told of is gone: requests in flight keep to
    those that they began with.
    """

    def __init__(self, tls: ssl.SSLContext | bool, resolver: Resolver, descriptors: Descriptors) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._resolver = resolver
        self.connectors: dict[bool, aiohttp.TCPConnector] = _OnDemand(
            partial(self._connector, upstream_loop(self._loop))
        )
        self.sessions: dict[bool, aiohttp.ClientSession] = _OnDemand(self._session)
        self.pools = {each: Pool(self._loop.time, most_kept(self._loop)) for each in (False, True)}
        self._descriptors = descriptors
        descriptors.make_room += [pool.make_room for pool in self.pools.values()]
        self._users = 0
        self._one_left = asyncio.Event()

    def _connector(self, loop: asyncio.AbstractEventLoop, allow_private: bool) -> "aiohttp.TCPConnector":
        import aiohttp  # noqa: PLC0415 - see later.py

        addresses = self._resolver if allow_private else PublicResolver(self._resolver)
        # No limit here: one silent shop would hold the connections of all. What is found is kept by the resolver.
        # No connection is kept either: those to the APIs have a pool of their own, and a token request is rare and
        # not sent twice, so that a kept one would be dead too often.
        return aiohttp.TCPConnector(
            limit=0,
            ssl=self._tls,
            resolver=cast("AbstractResolver", addresses),
            use_dns_cache=False,
            force_close=True,
            loop=loop,
        )

    def _session(self, allow_private: bool) -> "aiohttp.ClientSession":
        import aiohttp  # noqa: PLC0415 - see later.py

        from proxy.wire.answer_parsing import MAX_FIELDS, MAX_LINE  # noqa: PLC0415
        from proxy.wire.lenient_client import LenientHandler  # noqa: PLC0415

        connector = self._connector(self._loop, allow_private)
        # There is no public way to say how a connector's answers are read.
        connector._factory = partial(LenientHandler, loop=self._loop)  # type: ignore[assignment]  # - its own handler's type
        return aiohttp.ClientSession(
            connector=connector,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_FIELDS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": f"shop-auth-proxy/{__version__}"},
            trace_configs=[_counted(self._descriptors)],
        )

    @classmethod
    async def open(cls, config: UpstreamConfig, resolver: Resolver, descriptors: Descriptors) -> Self:
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
        for pool in self.pools.values():
            self._descriptors.make_room.remove(pool.make_room)
            pool.close()
        for connector in self.connectors.values():
            await connector.close()
        for session in self.sessions.values():
            await session.close()

    def _left(self) -> None:
        with suppress(RuntimeError):  # the loop is closed; and objects may be let go of in any thread
            self._loop.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self._users -= 1
        self._one_left.set()


def _counted(descriptors: Descriptors) -> "aiohttp.TraceConfig":
    """Have the requests of a session count, each of which has a connection of its own."""
    import aiohttp  # noqa: PLC0415 - see later.py

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
async def open_connections(config: UpstreamConfig, resolver: Resolver | None = None) -> AsyncIterator[Connections]:
    """Provide the connections to the platforms, and close them at the end; `resolver` is the system's own if `None`."""
    connections = await Connections.open(config, resolver or SystemNames(), Descriptors())
    try:
        yield connections
    finally:
        await connections.close()
