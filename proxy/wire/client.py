"""The client's side of the wire: one connection, on which requests are served one after the other.

Rules: what can't be read as a request is refused like any other, without showing what was in it. A refusal reaches a
client that is still sending: the connection is closed one direction after the other (RFC 9112 §9.6). A client that
takes too long is refused, or, where it would not hear that, cut off; one timer for each connection sees to it.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from proxy.errors import BadRequest, ProxyError, RequestTimeout
from proxy.wire.client_watch import ClientWatch, Overdue
from proxy.wire.lingering import Lingering
from proxy.wire.request import ClientRequest, no_request
from proxy.wire.request_reading import RequestReader
from proxy.wire.sockets import reset, unsent, waiting
from proxy.wire.tls_transport import Portions

if TYPE_CHECKING:
    from proxy.wire.listener import ClientServer

_HIGH_WATER: Final = 1 << 14  # bytes of answers that wait for the client here; the rest waits where it comes from


class ClientConnection(asyncio.BufferedProtocol):
    """A connection to a client. `remote` is its IP address, `secure` whether it speaks TLS."""

    # fmt: off
    __slots__ = (
        "_broken", "_drop", "_lingering", "_listening", "_look_timer", "_portions", "_reader", "_ready", "_requests",
        "_waiter", "_waiting_since", "can_write", "end_counts", "loop", "note", "remote", "secure", "server", "task",
        "transport", "watch",
    )
    # fmt: on

    def __init__(self, server: "ClientServer") -> None:
        self.server, self.loop = server, server.loop
        self.watch = ClientWatch(server.limits, self.loop.time())
        self.transport: asyncio.Transport | None = None
        self._portions: Portions | None = None  # of what is written, with TLS
        self.task: asyncio.Task[None] | None = None
        self.remote, self.secure = "", False
        self.note: Any = None  # what who serves the requests wants to remember of it
        self._drop: Callable[[], object] | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._reader = RequestReader(self, server.request_fields)
        self._ready: tuple[ClientRequest, ProxyError | None] | None = None  # what is to be served next
        self._waiter: asyncio.Future[None] | None = None
        self._waiting_since: float | None = None  # for a request
        self.can_write: asyncio.Future[None] | None = None  # to come, while the client has enough to read
        self._lingering: Lingering | None = None
        self._requests, self._listening, self._broken = 0, True, False
        self.end_counts = False  # whether an answer is taken for whole where the connection ends

    # Its place among the connections

    def enter(self, transport: asyncio.Transport, drop: Callable[[], object]) -> bool:
        """Ask for a place among the connections, which `drop` takes back; tell whether there is one."""
        self._drop = drop
        self.remote = (transport.get_extra_info("peername") or ("",))[0]
        return self.server.guard.admit(self, self.remote)

    def leave(self) -> None:
        """Give the place back."""
        self.server.left(self)

    def drop(self) -> None:
        """End the connection at once, to the good of another."""
        self.cut()
        if self._drop is not None:
            self._drop()

    def admitted(self) -> None:
        """Take note that whoever sends the request that is served may do so."""
        self.server.guard.begin(self)

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self.transport = wire = cast("asyncio.Transport", transport)
        if self._drop is None and not self.enter(wire, wire.abort):
            wire.abort()
            return
        self._drop = wire.abort  # no longer what ended the handshake
        wire.set_write_buffer_limits(high=_HIGH_WATER)
        self.secure = wire.get_extra_info("sslcontext") is not None
        self._portions = Portions(wire) if self.secure else None
        self._waiting_since = self.loop.time()
        self.task = self.server.entered(self, self._serve())
        self._look_timer = self.loop.call_later(self.server.limits.next_look, self._look)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of everything."""
        self.leave()
        if self._look_timer is not None:
            self._look_timer.cancel()
        if self._reader.body is not None:
            self._reader.body.fail(ConnectionResetError("the client is gone"))
        self._portions = None
        self.resume_writing()
        if self.task is not None:
            self.task.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put what comes: one place for all connections, since it is taken from there at once."""
        server, body = self.server, self._reader.body
        if self._lingering is not None:
            return server.read_buffer
        if body is not None and not body.dense:
            return server.wide_read_buffer if body.wide else server.read_buffer
        return server.small_read_buffer if self._reader.serving else server.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came."""
        self._reader.feed(bytes(self.server.wide_read_buffer[:nbytes]))
        if self._lingering is not None:
            self._lingering.heard(nbytes)

    def pause_writing(self) -> None:
        """Write no more, until the client has read."""
        if self._portions is not None:
            self._portions.paused = True
        self.can_write = self.can_write or self.loop.create_future()

    def resume_writing(self) -> None:
        """Write on, after the client had enough for a while."""
        self.watch.answer_taken()
        if self._portions is not None and not self._portions.go_on():
            return
        waiting, self.can_write = self.can_write, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    # What is written

    def write(self, data: bytes) -> None:
        """Send. Raises `ConnectionResetError` if the client is gone."""
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client is gone")
        (self._portions or self.transport).write(data)

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was sent. Raises `ConnectionResetError` if it is gone."""
        if self.can_write is not None:
            await asyncio.shield(self.can_write)
            if self.transport is None or self.transport.is_closing():
                raise ConnectionResetError("the client is gone")

    @property
    def untaken(self) -> int:
        """How many bytes of answers wait here for the client."""
        return (self._portions.size if self._portions else 0) + (waiting(self.transport) if self.transport else 0)

    def abort(self) -> None:
        """Reset the connection, so that the client sees that its end is none."""
        if self.transport is not None:
            reset(self.transport)

    def cut(self) -> None:
        """Reset the connection if its end would be taken for that of an answer of which not all has gone out."""
        if self.end_counts and self.untaken:
            self.abort()

    def break_off(self) -> None:
        """Have the connection end after what was written, and not as if that were whole."""
        self._broken = True

    # What is told of it

    @property
    def stopping(self) -> bool:
        """Whether the request that is served is to be the last one here."""
        return self.server.stopping or self._requests >= self.server.limits.max_requests_per_connection

    @property
    def cut_off(self) -> bool:
        """Whether the time is over that requests in flight have at the end."""
        return self.server.cut_off

    @property
    def quiet(self) -> bool:
        """Whether nothing of a request has come since the last one, or since the connection was accepted."""
        waits = self._waiting_since is not None and self._ready is None and not self.watch.head_bytes
        return self.transport is None or self._lingering is not None or waits  # without one: it is still the handshake

    def local_address(self) -> tuple[str, int] | None:
        """Return where the client connected to: address and port, `None` if that is no TCP port."""
        address = None if self.transport is None else self.transport.get_extra_info("sockname")
        return (address[0], address[1]) if isinstance(address, tuple) else None

    # The requests

    async def _serve(self) -> None:
        """Serve one request after the other, until there is to be no other one."""
        server = self.server
        try:
            kept = True
            while kept:
                if self._ready is None:
                    self._waiter = self.loop.create_future()
                    await self._waiter
                else:
                    await asyncio.sleep(0)  # what a client sends ahead is served in turn with what others send
                assert self._ready is not None  # noqa: S101 - for the type checker: the waiter is woken with it
                (request, error), self._ready = self._ready, None
                self._waiting_since = None
                self._requests += 1
                serving = server.handle(request) if error is None else server.refuse(request, error)
                del request, error  # the head may be large, and the answer take long
                kept = await serving
                self.note = self.note if self._reader.last else None  # so is what may be noted of it
                if kept:
                    self._waiting_since = self.loop.time()
                    self._reader.next()
        finally:
            self._reader.closed = True
            if self.transport is not None and self._broken and self.secure:
                self.transport.abort()  # to close TLS in order is to say that all was sent
            elif self.transport is not None and not self.transport.is_closing():  # asyncio's TLS takes no second one
                self.transport.close()

    def take(self, request: ClientRequest) -> None:
        """Have a request served."""
        if self.server.tls is not None and not self.secure:
            self.refuse(BadRequest("This port speaks TLS: write https:// in the URL."), request)
        else:
            self._wake(request, None)

    def refuse(self, error: ProxyError, request: ClientRequest | None = None) -> None:
        """Answer with an error what is no request, or none to be served, and read no more."""
        self._reader.closed = True
        self._wake(request or no_request(self), error)

    def answered(self, *, kept: bool) -> bool:
        """Take note that the client has the answer, or most of it, and whether the connection is kept.

        Tell whether the client has sent more than the request that was served.
        """
        pipelined = bool(self._reader.ahead) and b"".join(self._reader.ahead).strip(b"\r\n") != b""  # no empty line
        if not (kept and pipelined):
            self.server.guard.end(self)
        return pipelined

    async def linger(self) -> None:
        """Say that nothing more will come, and let the client send what it can't hold back any more."""
        transport, reader = self.transport, self._reader
        if transport is None or transport.is_closing():
            return
        reader.give_up()
        self.listen(True)
        self._lingering = Lingering(transport, reader.body, read_size=len(self.server.read_buffer), broken=self._broken)
        await self._lingering.to_the_end()

    def listen(self, on: bool) -> None:
        """Listen to the client, or not."""
        transport = self.transport
        if transport is None or transport.is_closing() or on == self._listening:
            return
        self._listening = on
        if on:
            self.watch.body_wanted(self.loop.time())
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _wake(self, request: ClientRequest, error: ProxyError | None) -> None:
        self._ready = request, error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # How long it may take

    def _look(self) -> None:
        """See whether the client keeps to its time; this goes on until the connection has ended, not just closed."""
        limits, wire = self.server.limits, self.transport
        assert wire is not None  # noqa: S101 - for the type checker: `connection_made` begins this
        now = self.loop.time()
        here, behind = waiting(wire), unsent(wire)
        if wire.is_closing() and not behind:
            wire.abort()  # all that is missing is the client's part in the end of TLS
            return
        head_wanted = None if self._ready or self._lingering or wire.is_closing() else self._waiting_since
        body = self._reader.body
        body_wanted = body is not None and body.wanted and self._lingering is None
        behind = behind if here else 0  # what waits in the system alone is no trouble
        match self.watch.overdue(now, head_wanted=head_wanted, body_wanted=body_wanted, unsent=behind):
            case Overdue.HEAD:
                self.refuse(RequestTimeout(f"The headers did not arrive within {limits.header_timeout:g} seconds."))
            case Overdue.REQUEST:
                wire.close()  # nothing is waited for any more, but that the rest goes out
            case Overdue.BODY if body is not None:
                body.fail(RequestTimeout(limits.too_slow))
            case Overdue.READING:
                reset(wire)
                return
        head_wanted = None if wire.is_closing() else head_wanted
        again = self.watch.look_again(now, head_wanted=head_wanted, body_wanted=body_wanted)
        self._look_timer = self.loop.call_at(again, self._look)
