"""Connections to the platforms: how they are made, and what they may lead to."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver

from proxy import __version__
from proxy.config import UpstreamConfig
from proxy.guards.egress import PublicResolver


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections to the platforms; each is keyed by whether they may lead into the own network.

    They may for a platform with `allow_private`, and where they lead to an egress proxy.
    """

    connectors: dict[bool, aiohttp.TCPConnector]
    sessions: dict[bool, aiohttp.ClientSession]


@asynccontextmanager
async def open_connections(
    config: UpstreamConfig, resolver: AbstractResolver | None = None
) -> AsyncIterator[Connections]:
    """Provide the connections to the platforms, and close them at the end."""
    tls = ssl.create_default_context()
    if config.ca_file is not None:
        tls.load_verify_locations(config.ca_file)
    any_address = resolver or aiohttp.DefaultResolver()

    def connector(*, allow_private: bool, keep_alive: bool) -> aiohttp.TCPConnector:
        # No limit here: one silent shop would hold the connections of all.
        addresses = any_address if allow_private else PublicResolver(any_address)
        return aiohttp.TCPConnector(limit=0, ssl=tls, resolver=addresses, force_close=not keep_alive)

    async with AsyncExitStack() as stack:
        connectors: dict[bool, aiohttp.TCPConnector] = {}
        sessions: dict[bool, aiohttp.ClientSession] = {}
        for allow_private in (False, True):
            connectors[allow_private] = connector(allow_private=allow_private, keep_alive=True)
            await stack.enter_async_context(connectors[allow_private])
            sessions[allow_private] = await stack.enter_async_context(
                aiohttp.ClientSession(
                    # A token request is rare and is not sent twice: a kept connection would be a dead one too often.
                    connector=connector(allow_private=allow_private, keep_alive=False),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    headers={"User-Agent": f"shop-auth-proxy/{__version__}"},
                )
            )
        yield Connections(connectors, sessions)
