"""Connections to the platforms: how they are made, what they may lead to, and until when they are open."""

import asyncio
import ssl
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver

from proxy import __version__
from proxy.certificate import Authorities
from proxy.config import Config, UpstreamConfig
from proxy.guards.egress import PublicResolver
from proxy.guards.names import SystemNames
from proxy.threads import in_thread
from proxy.tokens.endpoint import TokenEndpoint

_User = TypeVar("_User")


class Connections:
    """Connections to the platforms; each is keyed by whether they may lead into the own network.

    They may for a platform with `allow_private`, and where they lead to an egress proxy. They are closed by who opened
    them, or when others have taken their place and what `used_by` was told of is gone: requests in flight keep to
    those that they began with.
    """

    def __init__(self, tls: ssl.SSLContext, resolver: AbstractResolver) -> None:
        def connector(*, allow_private: bool, keep_alive: bool) -> aiohttp.TCPConnector:
            addresses = resolver if allow_private else PublicResolver(resolver)
            # No limit here: one silent shop would hold the connections of all. What is found is kept by the resolver.
            return aiohttp.TCPConnector(
                limit=0, ssl=tls, resolver=addresses, use_dns_cache=False, force_close=not keep_alive
            )

        self.connectors = {each: connector(allow_private=each, keep_alive=True) for each in (False, True)}
        self.sessions = {
            each: aiohttp.ClientSession(
                # A token request is rare and is not sent twice: a kept connection would be a dead one too often.
                connector=connector(allow_private=each, keep_alive=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": f"shop-auth-proxy/{__version__}"},
            )
            for each in (False, True)
        }
        self._users = 0
        self._one_left = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(cls, config: UpstreamConfig, resolver: AbstractResolver) -> Self:
        """Return connections that are made as `config` says."""
        # Hundreds of certificates are read, which takes as long as some hundred requests.
        return cls(await in_thread(lambda: _trusting(config.ca_file), name="certificates"), resolver)

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
            await self.connectors[allow_private].close()
            await self.sessions[allow_private].close()

    def _left(self) -> None:
        with suppress(RuntimeError):  # the loop is closed; and objects may be let go of in any thread
            self._loop.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self._users -= 1
        self._one_left.set()


def _trusting(authorities: Authorities | None) -> ssl.SSLContext:
    tls = ssl.create_default_context()
    if authorities is not None:
        authorities.add_to(tls)
    return tls


@asynccontextmanager
async def open_connections(
    config: UpstreamConfig, resolver: AbstractResolver | None = None
) -> AsyncIterator[Connections]:
    """Provide the connections to the platforms, and close them at the end; `resolver` is the system's own if `None`."""
    connections = await Connections.open(config, resolver or SystemNames())
    try:
        yield connections
    finally:
        await connections.close()


@asynccontextmanager
async def open_token_endpoint(config: Config, redact: Callable[[str], str]) -> AsyncIterator[TokenEndpoint]:
    """Provide the token endpoints alone, for a question from the command line; `redact` as `TokenEndpoint` has it."""
    async with open_connections(config.upstream) as connections:
        yield TokenEndpoint(
            connections.sessions, fetch_timeout=config.tokens.fetch_timeout, conceal=lambda _: None, redact=redact
        )
