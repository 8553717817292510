"""An egress proxy for tests: knows CONNECT and nothing else, and keeps what it was asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trustme

from proxy.config import TokensConfig, UpstreamConfig
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import Platform
from proxy.secret import Secret
from tests.names import Names
from tests.peers import Answer, Connection, Peer, RawClient, Script, answering, connected, serving, token_response
from tests.proxies import TestedProxy, config, platform, proxying, shop

PASSWORD = "p@ss of the egress"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def tunnelling(ports: Mapping[bytes, int], refused: Mapping[bytes, Script], established: bytes = ESTABLISHED) -> Script:
    """A script that connects each target, such as `api.example:443`, with a port of loopback.

    For a target that is `refused` another script goes on, after the request was read.
    """

    async def script(connection: Connection) -> None:
        asked = await connection.read_request(body=False)
        if asked is None:
            return
        method, target, _ = asked.request_line.split(b" ")
        assert method == b"CONNECT"
        if target in refused:
            await refused[target](connection)
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[target])
        try:
            await connection.send(established)
            await asyncio.gather(pump(connection.reader, writer), pump(reader, connection.writer))
        finally:
            writer.close()

    return script


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, to the end."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@dataclass(slots=True)
class ThroughProxy:
    """A proxy between a client and an egress proxy with the two peers behind it."""

    proxy: TestedProxy
    egress: Peer
    api: Peer
    tokens: Peer
    names: Names

    @property
    def targets(self) -> list[bytes]:
        """What the egress proxy was asked for."""
        return [asked.request_line.removesuffix(b" HTTP/1.1") for asked in self.egress.received]

    def connect(self) -> AbstractAsyncContextManager[RawClient]:
        return connected(self.proxy.port)

    async def ask(self, data: bytes) -> Answer:
        """Send one request over a connection of its own."""
        async with self.connect() as client:
            return await client.ask(data)


@asynccontextmanager
async def through_proxy(
    authority: trustme.CA,
    api: Script,
    *,
    tokens: Script | None = None,
    refused: Mapping[bytes, Script] | None = None,
    established: bytes = ESTABLISHED,
    proxy: Mapping[str, Any] | None = None,
    of: Mapping[str, Any] | None = None,
    upstream: UpstreamConfig,
    timeouts: TokensConfig | None = None,
) -> AsyncIterator[ThroughProxy]:
    """Run a proxy for the shop `demo`, whose hosts are known to an egress proxy alone.

    `refused` and `established` are as in `tunnelling`; `proxy` changes how it is configured, `of` the platform. What
    hangs fails the test after a while, and so does a password in the log.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(60))
        token_peer = await stack.enter_async_context(
            serving(tokens or answering(token_response()), certified(authority, "tokens.example"))
        )
        api_peer = await stack.enter_async_context(serving(api, certified(authority, "api.example")))
        ports = {b"tokens.example:443": token_peer.port, b"api.example:443": api_peer.port}
        egress_peer = await stack.enter_async_context(serving(tunnelling(ports, refused or {}, established)))
        names = Names("127.0.0.1")
        way: dict[str, Any] = {"username": "me", "password": Secret(PASSWORD)}
        way |= {"host": "egress.internal", "port": egress_peer.port, **(proxy or {})}
        demo = shop("demo", secured(EgressProxy(**way), **(of or {})))
        settings = config(demo, upstream=upstream, tokens=timeouts or TokensConfig())
        running = await stack.enter_async_context(proxying(settings, resolver=names))
        yield ThroughProxy(running, egress_peer, api_peer, token_peer, names)
        assert PASSWORD not in repr(running.events)


def secured(proxy: EgressProxy | None, **changes: Any) -> Platform:
    """A platform with `https://` URLs that are reached through `proxy`."""
    urls = {"token_url": "https://tokens.example/token", "api_url": "https://api.example/api/", "allow_private": False}
    return platform(0, 0, **(urls | {"proxy": proxy} | changes))


def certified(authority: trustme.CA, host: str) -> ssl.SSLContext:
    """What a server called `host` needs for TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context
