"""Connections to the platforms: how they are made, and what they may lead to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver

from proxy import __version__
from proxy.config import Config, UpstreamConfig
from proxy.guards.egress import PublicResolver
from proxy.tokens.endpoint import TokenEndpoint
from proxy.wire.pool import Pool
from proxy.wire.transports import upstream_loop


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections to the platforms; each is keyed by whether they may lead into the own network.

    They may for a platform with `allow_private`, and where they lead to an egress proxy.
    """

    connectors: dict[bool, aiohttp.TCPConnector]
    pools: dict[bool, Pool]
    sessions: dict[bool, aiohttp.ClientSession]


@asynccontextmanager
async def open_connections(
    config: UpstreamConfig, resolver: AbstractResolver | None = None
) -> AsyncIterator[Connections]:
    """Provide the connections to the platforms, and close them at the end."""
    tls = ssl.create_default_context()
    if config.ca_file is not None:
        tls.load_verify_locations(config.ca_file)
    loop = asyncio.get_running_loop()
    any_address = resolver or aiohttp.DefaultResolver()

    def connector(loop: asyncio.AbstractEventLoop, *, allow_private: bool) -> aiohttp.TCPConnector:
        # No limit here: one silent shop would hold the connections of all. It keeps none: those to the APIs have a pool
        # of their own, and a token request is rare and not sent twice, so that a kept one would be dead too often.
        addresses = any_address if allow_private else PublicResolver(any_address)
        return aiohttp.TCPConnector(limit=0, ssl=tls, resolver=addresses, force_close=True, loop=loop)

    async with AsyncExitStack() as stack:
        connectors: dict[bool, aiohttp.TCPConnector] = {}
        pools: dict[bool, Pool] = {}
        sessions: dict[bool, aiohttp.ClientSession] = {}
        for allow_private in (False, True):
            connectors[allow_private] = connector(upstream_loop(loop), allow_private=allow_private)
            await stack.enter_async_context(connectors[allow_private])
            pools[allow_private] = Pool(loop.time)
            stack.callback(pools[allow_private].close)
            sessions[allow_private] = await stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=connector(loop, allow_private=allow_private),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    headers={"User-Agent": f"shop-auth-proxy/{__version__}"},
                )
            )
        yield Connections(connectors, pools, sessions)


@asynccontextmanager
async def open_token_endpoint(config: Config, redact: Callable[[str], str]) -> AsyncIterator[TokenEndpoint]:
    """Provide the token endpoints alone, for a question from the command line; `redact` as `TokenEndpoint` has it."""
    async with open_connections(config.upstream) as connections:
        yield TokenEndpoint(
            connections.sessions, fetch_timeout=config.tokens.fetch_timeout, conceal=lambda _: None, redact=redact
        )
