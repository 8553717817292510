"""Where clients arrive: makes their connections, and lets them go on to their end when the proxy stops.

Rules: a connection that can't have a place costs nothing more. When the proxy stops, whoever was let in is served, also
those whose requests are still arriving, and those who are still at the TLS handshake.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final, Protocol

from proxy.errors import ProxyError
from proxy.tasks import BackgroundTasks
from proxy.wire.client import ClientConnection
from proxy.wire.client_watch import ClientLimits
from proxy.wire.date import DateLine
from proxy.wire.head import FieldTable
from proxy.wire.listener_tls import ListenerTls, TlsDoor
from proxy.wire.request import ClientRequest
from proxy.wire.sockets import when_read

_LAST_WORDS: Final = 1.0  # seconds; a client may just be sending a request over a connection that it has kept
_READ_SIZE: Final = 1 << 16  # bytes taken from a client at a time
_WIDE_READ_SIZE: Final = 1 << 18  # of a large body for which there is room
_SMALL_READ_SIZE: Final = 1 << 14  # of what nobody waits for yet

Handle = Callable[[ClientRequest], Awaitable[bool]]
Refuse = Callable[[ClientRequest, ProxyError], Awaitable[bool]]


class Held(Protocol):
    """A connection, as who gives out places sees it."""

    def drop(self) -> None:
        """End it at once."""


class Guard(Protocol):
    """Who may hold a connection; see `proxy.guards.connections`."""

    def admit(self, connection: Held, address: str) -> bool: ...
    def begin(self, connection: Held) -> None: ...
    def end(self, connection: Held) -> None: ...
    def leave(self, connection: Held) -> None: ...
    def held(self) -> list[Held]: ...
    def handshake_failed(self, address: str, reason: str) -> None: ...
    def __len__(self) -> int: ...


async def close_listener(listener: asyncio.Server) -> None:
    """Let nobody in any more, but those who have just come.

    `Server.close` alone would lose a connection that asyncio has accepted and not handed on yet (CPython issue 109564).
    """
    loop = asyncio.get_running_loop()
    for listening in listener.sockets:
        loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)
    listener.close()


class ClientServer:
    """Makes a `ClientConnection` for each client.

    `handle` gets each request, `refuse` what is none or is not to be served; both tell whether the connection can be
    kept. `guard` says who may hold a connection, `request_fields` what becomes of the fields of requests, `date` what
    time it is. `limits` may be set anew at any time; so may `tls`, and with it clients are to speak TLS.
    """

    def __init__(
        self,
        handle: Handle,
        refuse: Refuse,
        guard: Guard,
        limits: ClientLimits,
        request_fields: FieldTable,
        date: DateLine,
        *,
        tasks: BackgroundTasks,
    ) -> None:
        self.handle = handle
        self.refuse = refuse
        self.guard = guard
        self.limits = limits
        self.request_fields = request_fields
        self.date = date
        self.loop = asyncio.get_running_loop()
        self.wide_read_buffer = memoryview(bytearray(_WIDE_READ_SIZE))
        self.read_buffer = self.wide_read_buffer[:_READ_SIZE]
        self.small_read_buffer = self.read_buffer[:_SMALL_READ_SIZE]
        self.tls: ListenerTls | None = None
        self.stopping = False  # answers say that they are the last on their connection
        self.cut_off = False  # there is no more time for answers
        self._served: set[ClientConnection] = set()  # until their task has ended
        self._one_ended = asyncio.Event()
        self._tasks = tasks

    def door(self) -> asyncio.BaseProtocol:
        """Return what a new connection meets first: the HTTP of a new `ClientConnection`, or TLS before that."""
        connection = ClientConnection(self)
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

    def entered(self, connection: ClientConnection, serve: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Take note of a new connection, and serve it."""
        task = self._tasks.start(serve, name="client")
        self._served.add(connection)
        task.add_done_callback(lambda _: self._ended(connection))
        if self.cut_off and connection.transport is not None:
            connection.transport.close()  # it was on its way when the listener closed
        return task

    def _ended(self, connection: ClientConnection) -> None:
        self._served.discard(connection)
        self._one_ended.set()

    def left(self, connection: ClientConnection) -> None:
        """Take note that a connection has given back its place."""
        self.guard.leave(connection)
        self._one_ended.set()

    async def shutdown(self, within: float) -> None:
        """Serve what was sent, and what is still sent on kept connections, for so many seconds; then break it off.

        A kept connection on which nothing comes is closed after `_LAST_WORDS`.
        """
        self.stopping = True
        await asyncio.sleep(0)  # what was on its way when the listener closed is let in
        close_quiet = self._after_last_words(lambda: self._close_quiet(self._held()))
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._served or len(self.guard):  # the guard knows those in the TLS handshake too
                    self._one_ended.clear()
                    await self._one_ended.wait()
        close_quiet.cancel()
        self.cut_off = True
        for connection in self._held():
            connection.cut()  # what has not gone out by now never will
        tasks = [connection.task for connection in self._served if connection.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def close_soon(self, connection: ClientConnection) -> None:
        """End a connection that was kept after all, unless another request comes over it."""
        self._after_last_words(lambda: self._close_quiet([connection]))

    def _after_last_words(self, do: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(_LAST_WORDS, when_read, self.loop, do)

    def _close_quiet(self, connections: Iterable[ClientConnection]) -> None:
        for connection in connections:
            if connection.quiet:
                connection.drop()

    def _held(self) -> list[ClientConnection]:
        return [connection for connection in self.guard.held() if isinstance(connection, ClientConnection)]
