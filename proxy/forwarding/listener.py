"""Where clients arrive: makes their connections, and lets them go on to their end when the proxy stops.

Rules: a connection that can't have a place costs nothing more. When the proxy stops, whoever was let in is served, also
those whose requests are still arriving, and those who are still at the TLS handshake.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
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

_LAST_WORDS: Final = 1.0  # seconds; a client may just be sending a request over a connection that it has kept
_BUFFER_SIZE: Final = 1 << 16  # bytes read ahead of a slow upstream

Refuse = Callable[[web.BaseRequest, ProxyError], Awaitable[web.StreamResponse]]


async def close_listener(listener: asyncio.Server) -> None:
    """Let nobody in any more, but those who have just come.

    `Server.close` alone would lose a connection that asyncio has accepted and not handed on yet (CPython issue 109564).
    """
    loop = asyncio.get_running_loop()
    for listening in listener.sockets:
        loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)
    listener.close()


class ClientServer(web.Server):
    """Makes a `ClientConnection` for each client; `handle` gets each request, `refuse` what is not one.

    `guard` says who may hold a connection. `limits` may be set anew at any time; so may `tls`, and with it clients are
    to speak TLS.
    """

    def __init__(
        self,
        handle: Handler,
        refuse: Refuse,
        guard: ConnectionGuard,
        limits: ClientLimits,
        *,
        tasks: BackgroundTasks,
    ) -> None:
        super().__init__(handle, handler_cancellation=True)
        self.refuse = refuse
        self.guard = guard
        self.limits = limits
        self.tls: ListenerTls | None = None
        self.stopping = False  # answers say that they are the last on their connection
        self.cut_off = False  # there is no more time for answers
        self._one_ended = asyncio.Event()
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
        if self.cut_off:
            transport.close()  # it was on its way when the listener closed

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Take note that a connection has ended; it counts until its task has ended too."""
        task = handler.handler if isinstance(handler, ClientConnection) else None
        super().connection_lost(handler, exc)
        if task is None:
            self._one_ended.set()
        else:
            task.add_done_callback(lambda _: self._one_ended.set())

    def left(self, connection: ClientConnection) -> None:
        """Take note that a connection has given back its place."""
        self.guard.leave(connection)
        self._one_ended.set()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp named it
        """Serve what was sent, and what is still sent on kept connections, for `timeout` seconds; then break it off.

        A kept connection on which nothing comes is closed after `_LAST_WORDS`. Not aiohttp's way, which drops what
        still arrives of a request body.
        """
        self.stopping = True
        await asyncio.sleep(0)  # what was on its way when the listener closed is let in
        close_quiet = asyncio.get_running_loop().call_later(_LAST_WORDS, self._close_quiet)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.connections or len(self.guard):  # the guard knows those in the TLS handshake too
                    self._one_ended.clear()
                    await self._one_ended.wait()
        close_quiet.cancel()
        self.cut_off = True
        handlers = [task for connection in self._clients() if (task := connection.handler) is not None]
        for task in handlers:
            task.cancel()
        if handlers:
            await asyncio.wait(handlers)
        for connection in self._clients():
            connection.force_close()

    def _close_quiet(self) -> None:
        for connection in self.guard.held():
            if isinstance(connection, ClientConnection) and connection.quiet:
                connection.drop()

    def _clients(self) -> list[ClientConnection]:
        return [connection for connection in self.connections if isinstance(connection, ClientConnection)]

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
