"""A proxy that serves: how it starts, takes another configuration, and stops.

Rules: a configuration is taken whole or not at all: what can fail or has to wait comes first, and the rest is done in
one go. Tokens, queues and connections belong to the process, not to the configuration, so those of unchanged shops go
on. Requests in flight keep to the site they began with. Where the proxy listens stays as it is.

At the end, while others still send requests here, all are served as before for `server.drain_delay` seconds, with
`Connection: close` and no readiness. Then nobody is let in any more, and those who are in have `server.drain_timeout`
seconds to finish.
"""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from proxy import __version__
from proxy.admin.server import open_admin
from proxy.admin.sources import Sources
from proxy.app.addresses import base_url
from proxy.app.connections import Connections
from proxy.app.later import has_strict_parser
from proxy.app.listening import cannot_listen
from proxy.app.outside import Outside, StartError
from proxy.app.replicas import Replicas
from proxy.app.room import Room, find_room
from proxy.app.site import (
    client_limits,
    endpoint_of,
    errands_of,
    for_the_next_start,
    keep_budgets,
    pacing_policy,
    request_ids,
    site_of,
    token_policy,
    upstreams_of,
    who_may_call,
)
from proxy.certificate import CertificateFiles, UnusableCertificate
from proxy.config import Config
from proxy.forwarding.fields import answer_fields, request_fields
from proxy.forwarding.forwarder import Forwarder
from proxy.forwarding.route import Routes
from proxy.forwarding.site import Site
from proxy.guards.budgets import Budgets
from proxy.guards.connections import ConnectionGuard
from proxy.guards.descriptors import Descriptors
from proxy.guards.pacing import Pacer
from proxy.platforms.addresses import is_loopback
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import ConnectionMetrics, ErrandMetrics, PacingMetrics, ProcessMetrics, TokenMetrics
from proxy.telemetry.traffic import Traffic
from proxy.tokens.cache import TokenCache
from proxy.wire.date import DateLine
from proxy.wire.listener import ClientServer, close_listener
from proxy.wire.listener_tls import ListenerTls
from proxy.wire.spool import Spool

_BACKLOG: Final = 1024  # connections that wait to be accepted


class RunningProxy:
    """A proxy that serves: what it serves with, and where it listens.

    `admin` is the address of the admin port, `None` if that is switched off; `process` is what it tells of itself.
    """

    def __init__(
        self,
        config: Config,
        outside: Outside,
        descriptors: Descriptors,
        room: Room,
        stack: AsyncExitStack,
    ) -> None:
        self._outside = outside
        self._stack = stack
        self._descriptors = descriptors
        self._request_fields, self._answer_fields = request_fields(), answer_fields()
        self._upstream_connections = connections = self._connections(config)
        stack.callback(self._close_connections)
        self._spool = Spool(descriptors, room.unwritten)
        stack.callback(self._spool.end)
        self._tasks = BackgroundTasks()
        stack.push_async_callback(self._tasks.close)
        self._pseudonym = b"shop-auth-proxy-" + secrets.token_hex(8).encode()
        self._started_with = self.config = config
        self.process, self.connections = ProcessMetrics(), ConnectionMetrics()
        self._token_metrics, self._pacing_metrics = TokenMetrics(), PacingMetrics()
        self._errand_metrics = ErrandMetrics()
        self._traffic = Traffic(self._token_metrics.labels, time.monotonic)
        loop = asyncio.get_running_loop()
        self.tokens = TokenCache(
            endpoint_of(config, connections, outside),
            token_policy(config),
            self._tasks,
            outside.log,
            self._token_metrics,
            clock=loop.time,
            chance=random.random,
        )
        # The exact time for who measures it: the loop's own may stand still while callbacks run.
        self.pacer = Pacer(
            pacing_policy(config), self._pacing_metrics, clock=time.monotonic, call_later=loop.call_later
        )
        self._room, self.budgets = room, Budgets()
        new_request_id = request_ids()
        errands = errands_of(
            self.tokens,
            self.pacer,
            outside.log,
            self._errand_metrics,
            self._answer_fields,
            self._tasks,
            self.budgets.memory,
            clock=time.monotonic,
            new_request_id=new_request_id,
        )
        self.forwarder = Forwarder(
            self._site(config, connections),
            errands,
            self.pacer,
            self.budgets,
            outside.log,
            self._traffic,
            clock=time.monotonic,
            new_request_id=new_request_id,
        )
        self._guard = ConnectionGuard(outside.log, self.connections, descriptors, clock=loop.time)
        self._server = ClientServer(
            self.forwarder.handle,
            self.forwarder.refuse,
            self._guard,
            client_limits(config),
            self._request_fields,
            DateLine(time.time),
            tasks=self._tasks,
        )
        self._limit_clients(config)
        self.replicas = Replicas(outside, self._tasks, self.tokens, self.pacer, errands, lambda: self.config.tokens)
        stack.push_async_callback(self.replicas.close)
        self._certificate: asyncio.Task[None] | None = None
        self._use_certificate(self._listener_tls(config.server.tls))
        self.host, self.port = "", 0
        self.admin: tuple[str, int] | None = None

    async def start(self) -> None:
        """Begin to listen. Raises `StartError`."""
        config, log = self.config, self._outside.log
        await self.replicas.start(config.shared)
        if config.admin.enabled:
            self.admin = await self._open_admin(config)
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                self._server.door,
                config.server.host,
                config.server.port,
                backlog=_BACKLOG,
                reuse_port=config.server.reuse_port,
            )
        except OSError as error:
            why = cannot_listen(config.server.host, config.server.port, error)
            raise StartError(f"server.host, server.port: {why}") from None
        self.host, self.port = self._listener.sockets[0].getsockname()[:2]
        log.info(
            "proxy.started",
            host=self.host,
            port=self.port,
            who_may_call=who_may_call(config),
            shops=len(config.shops.named),
            tls=config.server.tls is not None,
            version=__version__,
        )
        if self.admin is not None:
            log.info("admin.started", host=self.admin[0], port=self.admin[1])
        self.process.phase = "serving"

    async def take(self, config: Config) -> tuple[str, ...]:
        """Serve by another configuration from now on; return the settings that take effect at the next start only.

        Raises `StartError` if that can't be done; then all stays as it was.
        """
        started = self._started_with
        if not (config.clients or config.server.allow_anonymous or is_loopback(started.server.host)):
            raise StartError(
                f"server.host: the proxy still listens on {started.server.host}, where without [clients] anyone who"
                " can reach it could call: restart it"
            )
        same_files = config.server.tls == self.config.server.tls
        tls = self._server.tls if same_files else self._listener_tls(config.server.tls)
        connections = before = self._upstream_connections
        if config.upstream.ca_file != self.config.upstream.ca_file:
            connections = self._connections(config)
        # From here on nothing waits and nothing fails.
        self.config, self._upstream_connections = config, connections
        self.tokens.keep_to(token_policy(config), endpoint_of(config, connections, self._outside))
        self.pacer.keep_to(pacing_policy(config))
        self.replicas.follow(config.shared)
        self.forwarder.site = self._site(config, connections, self.forwarder.site.routes)
        self._server.limits = client_limits(config)
        self._limit_clients(config)
        if not same_files:
            self._use_certificate(tls)
        if connections is not before:
            self._tasks.start(before.close_when_unused(), name="connections of before")
        return for_the_next_start(config, started)

    async def stop(self) -> None:
        """Let nobody in any more, and those who are in finish."""
        self.process.phase = "draining"
        server = self.config.server
        self._outside.log.info("proxy.stopping", in_flight=self.forwarder.in_flight)
        self._server.stopping = True
        await asyncio.sleep(server.drain_delay)
        await close_listener(self._listener)
        await self._server.shutdown(server.drain_timeout)
        self._outside.log.info("proxy.stopped")

    def _close_connections(self) -> None:
        self._upstream_connections.close()  # those of then, whichever it began with

    def _connections(self, config: Config) -> Connections:
        return Connections(config.upstream, self._outside.resolver, self._descriptors, self._answer_fields)

    def _site(self, config: Config, connections: Connections, earlier: Routes | None = None) -> Site:
        upstreams = upstreams_of(config, connections, self._tasks)
        clock = asyncio.get_running_loop().time
        return site_of(config, upstreams, self._spool, self._pseudonym, earlier, clock=clock)

    def _limit_clients(self, config: Config) -> None:
        server = config.server
        connections = self._descriptors.keep_to(server.max_connections, self._outside.log)
        self._guard.keep_to(connections, server.max_connections_per_address, server.trusted_proxies)
        for short in keep_budgets(self.budgets, config, self._room, connections=connections):
            self._outside.log.warning("budget.too_little", **short._asdict())

    def _listener_tls(self, files: CertificateFiles | None) -> ListenerTls | None:
        try:
            return None if files is None else ListenerTls(files, self._outside.log)
        except (UnusableCertificate, OSError) as error:
            raise StartError(f"server.tls: {error}") from None

    def _use_certificate(self, tls: ListenerTls | None) -> None:
        if self._certificate is not None:
            self._certificate.cancel()
        self._certificate = None if tls is None else self._tasks.start(tls.keep_fresh(), name="certificate")
        self._server.tls = tls

    async def _open_admin(self, config: Config) -> tuple[str, int]:
        sources = Sources(
            version=__version__,
            process=self.process,
            shops=lambda: self.config.shops,
            find=lambda key: route.token_request if (route := self.forwarder.site.routes.find(key)) else None,
            tokens=self.tokens,
            token_metrics=self._token_metrics,
            pacer=self.pacer,
            pacing=self._pacing_metrics,
            errands=self._errand_metrics,
            traffic=self._traffic,
            in_flight=lambda: self.forwarder.in_flight,
            connections=self.connections,
            budgets=self.budgets,
            descriptors=self._descriptors,
            log=self._outside.log_metrics,
            redact=self._outside.redact,
            clock=time.monotonic,
            clients=lambda: self.config.clients,
            url=lambda: base_url(self.config, self.port, self._started_with),
            certificate_expires_at=lambda: None if self._server.tls is None else self._server.tls.expires_at,
            shared=lambda: self.replicas.metrics,
        )
        host, port = config.admin.host, config.admin.port
        try:
            opened = open_admin(sources, host, port, self._request_fields, self._outside.log, self._tasks)
            return await self._stack.enter_async_context(opened)
        except OSError as error:
            raise StartError(
                f"admin.host, admin.port: {cannot_listen(host, port, error)};"
                " choose another port, or set admin.enabled = false"
            ) from None


@asynccontextmanager
async def running(config: Config, outside: Outside) -> AsyncIterator[RunningProxy]:
    """Serve while the context lasts. Raises `StartError`."""
    if not has_strict_parser():
        raise StartError("aiohttp runs without its C parser, the strict one: install a wheel of aiohttp.")
    async with AsyncExitStack() as stack:
        room, descriptors = await find_room(), Descriptors()
        proxy = RunningProxy(config, outside, descriptors, room, stack)
        await proxy.start()
        try:
            yield proxy
        finally:
            await proxy.stop()
