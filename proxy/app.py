"""Turns a `Config` into a running proxy: starts it, and stops it.

Everything that has to do with the outside (clock, randomness, name resolution, the log) comes in or is made here, and
is handed to the rooms that need it.
"""

import asyncio
import dataclasses
import random
import secrets
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from structlog.typing import FilteringBoundLogger

from proxy import __version__
from proxy.admin.server import open_admin
from proxy.admin.sources import Sources
from proxy.certificate import UnusableCertificate
from proxy.config import AdminConfig, ClientConfig, Config, ServerConfig, UpstreamConfig
from proxy.forwarding.addressing import Addressing
from proxy.forwarding.client_watch import ClientLimits
from proxy.forwarding.forwarder import Forwarder
from proxy.forwarding.headers import Hop
from proxy.forwarding.listener import ClientServer
from proxy.forwarding.listener_tls import ListenerTls
from proxy.forwarding.route import Routes
from proxy.forwarding.upstream import Upstream
from proxy.guards.access import Access, Client
from proxy.guards.aliases import hosts_of_platforms, leading_here
from proxy.guards.connections import ConnectionGuard
from proxy.guards.descriptors import room_for
from proxy.guards.egress import PublicResolver
from proxy.guards.pacing import Pacer
from proxy.guards.slots import PacingPolicy
from proxy.platforms.addresses import is_loopback
from proxy.platforms.shop_hosts import ShopHosts
from proxy.systemd import Supervisor
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import ConnectionMetrics, PacingMetrics, ProcessMetrics, TokenMetrics
from proxy.telemetry.traffic import Traffic
from proxy.tokens.cache import TokenCache, TokenPolicy
from proxy.tokens.endpoint import TokenEndpoint

_LOOKUPS_AT_START: Final = 1.0  # seconds


class StartError(Exception):
    """The proxy can't start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the proxy has from outside: the log, who is told of each token (so that the log hides it), name resolution.

    `redact` takes what the log hides out of a text. `resolver` is `None` for the system's own. `supervisor` is told of
    the start and the end.
    """

    log: FilteringBoundLogger
    conceal: Callable[[str], None]
    redact: Callable[[str], str]
    resolver: AbstractResolver | None = None
    supervisor: Supervisor = field(default_factory=Supervisor)


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


@asynccontextmanager
async def open_token_endpoint(config: Config) -> AsyncIterator[TokenEndpoint]:
    """Provide the token endpoints alone, for a question from the command line."""
    async with open_connections(config.upstream) as connections:
        yield TokenEndpoint(connections.sessions, fetch_timeout=config.tokens.fetch_timeout, conceal=lambda _: None)


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy that serves: where it listens, and what it serves with.

    `admin` is the address of the admin port, `None` if that is switched off; `process` is what it tells of itself.
    """

    host: str
    port: int
    tokens: TokenCache
    forwarder: Forwarder
    connections: ConnectionMetrics
    admin: tuple[str, int] | None
    process: ProcessMetrics


@asynccontextmanager
async def running(config: Config, outside: Outside) -> AsyncIterator[RunningProxy]:
    """Serve while the context lasts; at its end, requests in flight have `server.drain_timeout` to finish.

    Raises `StartError`.
    """
    if HttpRequestParser is HttpRequestParserPy:
        raise StartError("aiohttp runs without its C parser, which is less strict: install a wheel of aiohttp.")
    clock = asyncio.get_running_loop().time
    async with AsyncExitStack() as stack:
        connections = await stack.enter_async_context(open_connections(config.upstream, outside.resolver))
        tasks = BackgroundTasks()
        stack.push_async_callback(tasks.close)
        process, token_metrics, pacing_metrics = ProcessMetrics(), TokenMetrics(), PacingMetrics()
        traffic = Traffic(token_metrics.labels, time.monotonic)
        routes = Routes(config.shops)
        tokens = TokenCache(
            TokenEndpoint(connections.sessions, fetch_timeout=config.tokens.fetch_timeout, conceal=outside.conceal),
            TokenPolicy(**msgspec.structs.asdict(config.tokens)),
            tasks,
            outside.log,
            token_metrics,
            clock=clock,
            chance=random.random,
        )
        pacer = Pacer(
            PacingPolicy(**msgspec.structs.asdict(config.pacing)),
            pacing_metrics,
            clock=time.monotonic,  # exact: the loop's own may stand still while callbacks run
            call_later=asyncio.get_running_loop().call_later,
        )
        upstreams = {
            allow_private: Upstream(
                connector,
                tasks,
                connect_timeout=config.upstream.connect_timeout,
                read_timeout=config.upstream.read_timeout,
                clock=clock,
            )
            for allow_private, connector in connections.connectors.items()
        }
        forwarder = Forwarder(
            Addressing(ShopHosts(config.shops) if config.server.route_by_host else None, config.server.public_url),
            routes,
            Access([_client(name, client) for name, client in config.clients.items()], clock=clock),
            tokens,
            pacer,
            upstreams,
            outside.log,
            traffic,
            hop=Hop(b"shop-auth-proxy-" + secrets.token_hex(8).encode(), config.server.trusted_proxies),
            max_body_size=config.upstream.max_body_size,
            max_requests=config.server.max_requests,
            clock=time.monotonic,  # as above: requests are timed with it
            new_request_id=lambda: secrets.token_hex(16),
        )
        client_connections = ConnectionMetrics()
        server = _client_server(forwarder, config.server, client_connections, outside.log, tasks)
        admin = None
        if config.admin.enabled:
            sources = Sources(
                version=__version__,
                process=process,
                shops=lambda: config.shops,
                find=lambda key: route.token_request if (route := routes.find(key)) else None,
                tokens=tokens,
                token_metrics=token_metrics,
                pacer=pacer,
                pacing=pacing_metrics,
                traffic=traffic,
                in_flight=lambda: forwarder.in_flight,
                connections=lambda: client_connections.open,
                redact=outside.redact,
                clock=time.monotonic,
            )
            admin = await stack.enter_async_context(_admin(sources, config.admin))
        try:
            listener = await asyncio.get_running_loop().create_server(
                server.door, config.server.host, config.server.port, backlog=1024
            )
        except OSError as error:
            raise StartError(
                f"server.host, server.port: can't listen on {config.server.host} port {config.server.port}: "
                f"{error.strerror or error}"
            ) from None
        host, port = listener.sockets[0].getsockname()[:2]
        outside.log.info(
            "proxy.started",
            host=host,
            port=port,
            who_may_call=who_may_call(config),
            shops=len(config.shops.named),
            tls=server.tls is not None,
            version=__version__,
        )
        if admin is not None:
            outside.log.info("admin.started", host=admin[0], port=admin[1])
        process.phase = "serving"
        try:
            yield RunningProxy(host, port, tokens, forwarder, client_connections, admin, process)
        finally:
            process.phase = "draining"
            outside.log.info("proxy.stopping", in_flight=forwarder.in_flight)
            listener.close()
            await server.shutdown(config.server.drain_timeout)
            outside.log.info("proxy.stopped")


@asynccontextmanager
async def _admin(sources: Sources, config: AdminConfig) -> AsyncIterator[tuple[str, int]]:
    """Serve the admin port; provide its address. Raises `StartError`."""
    async with AsyncExitStack() as stack:
        try:
            address = await stack.enter_async_context(open_admin(sources, config.host, config.port))
        except OSError as error:
            raise StartError(
                f"admin.host, admin.port: can't listen on {config.host} port {config.port}: {error.strerror or error};"
                " choose another port, or set admin.enabled = false"
            ) from None
        yield address


async def hosts_leading_here(config: Config, *, within: float, resolver: AbstractResolver | None = None) -> list[str]:
    """Return a sentence for each platform host that this machine takes for itself; give up after `within` seconds."""
    async with AsyncExitStack() as stack:
        if resolver is None:
            resolver = aiohttp.DefaultResolver()
            stack.push_async_callback(resolver.close)
        return await leading_here(
            hosts_of_platforms(config.shops),
            resolver,
            listener=(config.server.host, config.server.port),
            within=within,
        )


def _client(name: str, config: ClientConfig) -> Client:
    shops, methods = (None if "*" in names else frozenset(names) for names in (config.shops, config.methods))
    return Client(name, config.digest, shops, methods)


def who_may_call(config: Config) -> str:
    """Return a phrase for the operator about who may use the shops."""
    count = len(config.clients)
    if count:
        return f"{count} {'client' if count == 1 else 'clients'} with credentials"
    if is_loopback(config.server.host):
        return "this machine only (loopback), without credentials"
    return "whoever reaches it, without credentials (allow_anonymous)"


def _client_server(
    forwarder: Forwarder,
    config: ServerConfig,
    metrics: ConnectionMetrics,
    log: FilteringBoundLogger,
    tasks: BackgroundTasks,
) -> ClientServer:
    """Return what serves the clients. Raises `StartError`."""
    tls = None
    if config.tls is not None:
        try:
            tls = ListenerTls(config.tls, log)
        except (UnusableCertificate, OSError) as error:
            raise StartError(f"server.tls: {error}") from None
        tasks.start(tls.keep_fresh(), name="certificate")
    guard = ConnectionGuard(log, metrics, clock=asyncio.get_running_loop().time)
    places = room_for(config.max_connections, log)
    guard.keep_to(places, config.max_connections_per_address, config.trusted_proxies)
    limits = ClientLimits(**{field.name: getattr(config, field.name) for field in dataclasses.fields(ClientLimits)})
    return ClientServer(forwarder.handle, forwarder.refuse, guard, limits, tls=tls, tasks=tasks)


async def serve(config: Config, outside: Outside) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once. Raises `StartError`."""
    if found := await hosts_leading_here(config, within=_LOOKUPS_AT_START, resolver=outside.resolver):
        raise StartError("\n".join(found))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        tasks = BackgroundTasks()
        stack.push_async_callback(tasks.close)
        proxy = await stack.enter_async_context(running(config, outside))
        if not outside.supervisor.ready(f"listening on {proxy.host} port {proxy.port}"):
            outside.log.warning("proxy.supervisor_not_told", hint="NOTIFY_SOCKET can't be written to")
        tasks.start(outside.supervisor.keep_alive(), name="watchdog")
        await stop.wait()
        outside.supervisor.stopping("finishing the requests in flight")
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
