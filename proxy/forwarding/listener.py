"""Where clients arrive: makes their connections, and lets them go on to their end when the proxy stops.

Rules: a connection that can't have a place costs nothing more. When the proxy stops, requests in flight go on to their
end, those whose bodies are still arriving too.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from proxy.errors import ProxyError
from proxy.forwarding.client import ClientConnection, Handler
from proxy.forwarding.client_watch import ClientLimits
from proxy.forwarding.listener_tls import ListenerTls, TlsDoor
from proxy.forwarding.unreadable import parser_limits
from proxy.guards.connections import ConnectionGuard
from proxy.tasks import BackgroundTasks

_BUFFER_SIZE: Final = 1 << 16  # bytes read ahead of a slow upstream

Refuse = Callable[[web.BaseRequest, ProxyError], Awaitable[web.StreamResponse]]


class ClientServer(web.Server):
    """Makes a `ClientConnection` for each client; `handle` gets each request, `refuse` what is not one.

    With `tls`, clients are to speak TLS; `guard` says who may hold a connection.
    """

    def __init__(
        self,
        handle: Handler,
        refuse: Refuse,
        guard: ConnectionGuard,
        limits: ClientLimits,
        *,
        tls: ListenerTls | None,
        tasks: BackgroundTasks,
    ) -> None:
        super().__init__(handle, handler_cancellation=True)
        self.refuse = refuse
        self.guard = guard
        self.limits = limits
        self.tls = tls
        self.stopping = False
        self._tasks = tasks

    def __call__(self) -> web.RequestHandler:
        """Return the protocol for a new connection."""
        return ClientConnection(
            self,
            loop=self._loop,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=self.limits.keep_alive_timeout,
            read_bufsize=_BUFFER_SIZE,
            **parser_limits(self.limits),
        )

    def door(self) -> asyncio.Protocol:
        """Return what a new connection meets first: the HTTP of a new `ClientConnection`, or TLS before that."""
        connection = self()
        assert isinstance(connection, ClientConnection)  # noqa: S101 - for the type checker
        if self.tls is None:
            return connection
        return TlsDoor(
            connection,
            connection.enter,
            connection.leave,
            self.guard.handshake_failed,
            self.tls,
            self._tasks,
            timeout=self.limits.header_timeout,
            closing=self.limits.rate_window,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take note of a new connection."""
        super().connection_made(handler, transport)
        if self.stopping:
            transport.close()  # it was on its way when the listener closed

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp named it
        """Close idle connections, give requests in flight `timeout` seconds to finish, then break them off.

        Not aiohttp's way, which drops what still arrives of a request body.
        """
        self.stopping = True
        await asyncio.sleep(0)  # new connections are idle, but have to find that out
        connections = [connection for connection in self.connections if isinstance(connection, ClientConnection)]
        for connection in connections:
            if connection.idle:
                connection.force_close()
        handlers = [task for connection in connections if (task := connection.handler) is not None]
        if handlers:
            _, unfinished = await asyncio.wait(handlers, timeout=timeout)
            for task in unfinished:
                task.cancel()
            await asyncio.wait(handlers)
        for connection in connections:
            connection.force_close()

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        if isinstance(protocol, ClientConnection):
            protocol.begin(payload)
        return super()._make_request(message, payload, protocol, writer, task)
