"""The client's side of the wire: connections, and what is not a request on them.

Rules: what can't be read as a request is refused like any other, without showing what was in it. A refusal reaches a
client that is still sending: the connection is closed one direction after the other (RFC 9112 §9.6). A client that
takes too long is refused, or, where it would not hear that, cut off; one timer for each connection sees to it.
"""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import StreamReader, web
from aiohttp.http import HttpVersion10, HttpVersion11
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestPayloadError, _ErrInfo

from proxy.errors import BadRequest, MethodNotSupported, ProxyError, RequestTimeout
from proxy.forwarding.client_watch import ClientWatch, Overdue
from proxy.forwarding.headers import Hop, check_for_loop, check_framing
from proxy.forwarding.unreadable import SPEAKS_HTTP_1, UNKNOWN_METHOD, headers_too_large, unreadable

if TYPE_CHECKING:
    from proxy.forwarding.listener import ClientServer

# llhttp takes these for RTSP and ICE, whatever protocol the request line says.
_NOT_HTTP_METHODS: Final = frozenset(
    {
        *("SOURCE", "DESCRIBE", "ANNOUNCE", "SETUP", "PLAY", "PAUSE", "TEARDOWN"),
        *("GET_PARAMETER", "SET_PARAMETER", "REDIRECT", "RECORD", "FLUSH"),
    }
)
_LINGER: Final = 5.0  # seconds a client may take to notice that its request was refused
# Closes with a reset instead of an orderly end, and throws away what was not sent yet.
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ClientConnection(web.RequestHandler):
    """A connection to a client."""

    __slots__ = ("_drop", "_lingers", "_look_timer", "_refused", "_requests", "_server", "_watch", "_wire", "body")

    def __init__(self, server: "ClientServer", **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._watch = ClientWatch(server.limits, self._loop.time())
        self._wire: asyncio.Transport | None = None  # aiohttp forgets its own when it begins to close
        self._drop: Callable[[], object] | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._requests = 0
        self._refused = False
        self._lingers = False
        self.body: StreamReader | None = None  # of the request that is served

    def enter(self, transport: asyncio.Transport, drop: Callable[[], object]) -> bool:
        """Ask for a place among the connections, which `drop` takes back; tell whether there is one."""
        self._drop = drop
        peer = transport.get_extra_info("peername")
        return self._server.guard.admit(self, peer[0] if peer else "")

    def leave(self) -> None:
        """Give the place back."""
        self._server.left(self)

    def drop(self) -> None:
        """End the connection at once, to the good of another."""
        if self._drop is not None:
            self._drop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._wire = cast("asyncio.Transport", transport)
        if self._drop is None and not self.enter(self._wire, self._wire.abort):
            self._force_close = True
            self._wire.abort()
            return
        self._drop = self._wire.abort  # no longer what ended the handshake
        super().connection_made(transport)
        self._look_timer = self._loop.call_later(self._server.limits.next_look, self._look)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of everything."""
        self.leave()
        if self._look_timer is not None:
            self._look_timer.cancel()
        super().connection_lost(exc)

    def begin(self, body: StreamReader) -> None:
        """Take note that a request is served now."""
        self.body = body
        self._requests += 1
        if not body.is_eof():
            self._watch.body_wanted(self._loop.time())

    def admitted(self) -> None:
        """Take note that whoever sends the request that is served may do so."""
        self._server.guard.begin(self)

    def answered(self) -> None:
        """Take note that the client has the answer, or most of it, and that no other is due."""
        self._server.guard.end(self)

    def check(self, request: web.BaseRequest) -> None:
        """Refuse what this connection does not take. Raises a `RequestError`."""
        if self._server.tls is not None and not request.secure:
            raise BadRequest("This port speaks TLS: write https:// in the URL.")
        # Two for the colon and the space, two for the end of the line.
        if sum(len(name) + len(value) + 4 for name, value in request.raw_headers) > self._server.limits.max_header_size:
            raise headers_too_large(self._server.limits)

    @property
    def stopping(self) -> bool:
        """Whether the request that is served is to be the last one here."""
        return self._server.stopping or self._requests >= self._server.limits.max_requests_per_connection

    @property
    def cut_off(self) -> bool:
        """Whether the time is over that requests in flight have at the end."""
        return self._server.cut_off

    @property
    def pipelined(self) -> bool:
        """Whether the client has sent more than the request that is served."""
        return bool(self._messages)

    @property
    def quiet(self) -> bool:
        """Whether nothing of a request has come since the last one, or since the connection was accepted."""
        in_handshake = self._wire is None
        return in_handshake or self._lingers or (self._waits and not self._watch.head_bytes)

    @property
    def _waits(self) -> bool:
        """Whether the next request is waited for."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def handler(self) -> asyncio.Task[None] | None:
        """The task that serves the requests of this connection."""
        return self._task_handler

    def data_received(self, data: bytes) -> None:
        """Parse what came in."""
        if self._refused:
            return
        latest = self._messages[-1][1] if self._messages else self.body
        fits = True
        if latest is not None and not latest.is_eof():
            self._watch.body_came(len(data))
        elif data:  # aiohttp calls this with nothing too, to have the parser go on
            fits = self._watch.head_came(len(data), self._loop.time())
        parsed = self._request_count
        super().data_received(data)
        if self._request_count != parsed:
            self._watch.head_complete()
        elif not fits:
            self._refuse(headers_too_large(self._server.limits))
        elif latest is not None and not latest.is_eof() and self._watch.mostly_framing(latest.total_bytes):
            latest.set_exception(BadRequest("The request body is hardly more than chunk extensions and trailers."))
        # After an error in the middle of a body nothing else would ever end the wait for the rest of it.
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            for body in (self.body, *(payload for _, payload in self._messages)):
                if body is not None and not body.is_eof() and body.exception() is None:
                    body.set_exception(RequestPayloadError("the body is not framed as it should be"))

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Read on, after the proxy had enough for a while."""
        self._watch.body_wanted(self._loop.time())
        super().resume_reading(resume_parser)

    def resume_writing(self) -> None:
        """Write on, after the client had enough for a while."""
        self._watch.answer_taken()
        super().resume_writing()

    async def linger(self) -> None:
        """Say that nothing more will come, and let the client send what it can't hold back any more.

        If the connection were closed with that unread, it would be reset, and the client might lose the answer.
        """
        transport = self.transport
        if transport is not None and not transport.is_closing():
            self._lingers = self._close = True  # with `_close`, aiohttp throws away what comes in
            if transport.can_write_eof():
                transport.write_eof()
            self._resume_transport_reading()
            await asyncio.sleep(_LINGER)  # cancelled as soon as the client has closed
        self.force_close()

    def _look(self) -> None:
        """See whether the client keeps to its time; this goes on until the connection has ended, not just closed."""
        now = self._loop.time()
        assert self._wire is not None  # noqa: S101 - for the type checker: `connection_made` begins this
        waiting, unsent = self._wire.get_write_buffer_size(), _unsent(self._wire)
        if self._wire.is_closing() and not unsent:
            self._wire.abort()  # all that is missing is the client's part in the end of TLS
            return
        head_wanted = self._next_keepalive_close_time - self._keepalive_timeout if self._waits else None
        overdue = self._watch.overdue(
            now,
            head_wanted=head_wanted,
            body_wanted=self._body_wanted,
            unsent=unsent if waiting else 0,  # what waits in the system alone is no trouble
        )
        match overdue:
            case Overdue.HEAD:
                seconds = self._server.limits.header_timeout
                self._refuse(RequestTimeout(f"The headers did not arrive within {seconds:g} seconds."))
            case Overdue.REQUEST:
                self.force_close()
            case Overdue.BODY if self.body is not None:
                limits = self._server.limits
                self.body.set_exception(
                    RequestTimeout(
                        f"Less than {limits.due:g} bytes of the request body arrived in {limits.rate_window:g} seconds."
                    )
                )
            case Overdue.READING:
                reset(self._wire)
                return
        again = self._watch.look_again(now, head_wanted=head_wanted, body_wanted=self._body_wanted)
        self._look_timer = self._loop.call_at(again, self._look)

    @property
    def _body_wanted(self) -> bool:
        body = self.body
        return not (self._lingers or self._reading_paused or body is None or body.is_eof() or body.exception())

    def _process_keepalive(self) -> None:
        # Called when the connection was idle for long; but not if a request has begun to come, which has its own time.
        if self._watch.head_begun:
            self._keepalive_handle = None
        else:
            super()._process_keepalive()

    def _refuse(self, error: ProxyError) -> None:
        """Answer with an error what is no request yet, after those that were sent before it, and read no more."""
        self._refused = True
        self._messages.append((_ErrInfo(error.status, error, ""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _make_error_handler(self, err_info: _ErrInfo) -> Handler:
        error = err_info.exc

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            told = error if isinstance(error, ProxyError) else unreadable(error, self._server.limits)
            return await self._server.refuse(request, told)

        return handler


def reset(transport: asyncio.Transport) -> None:
    """Break a connection off, so that the client sees that; nothing that was not sent yet is kept."""
    client_socket = transport.get_extra_info("socket")
    if client_socket is not None:
        client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def _unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes have not reached the client: what waits here, and in the system (tcp(7), SIOCOUTQ).

    The former alone would not tell: the system takes more only when a good part of its own buffer is free again.
    """
    in_the_system = (1).to_bytes(4, sys.byteorder)  # if it does not say
    client_socket = transport.get_extra_info("socket")
    if client_socket is not None:
        with suppress(OSError, ValueError):  # not on this system; closed just now
            in_the_system = fcntl.ioctl(client_socket.fileno(), termios.TIOCOUTQ, in_the_system)
    return transport.get_write_buffer_size() + int.from_bytes(in_the_system, sys.byteorder)


def check_request(request: web.BaseRequest, hop: Hop) -> None:
    """Refuse what the parser lets through but can't be forwarded: raises a `RequestError`."""
    if request.version not in (HttpVersion11, HttpVersion10):
        raise BadRequest(SPEAKS_HTTP_1)
    if request.method in ("CONNECT", "TRACE"):
        # An upstream's answer to TRACE would show the client the token (RFC 9110 §9.3.8).
        raise MethodNotSupported(f"{request.method} is not supported here.")
    if request.method in _NOT_HTTP_METHODS:
        raise MethodNotSupported(UNKNOWN_METHOD)
    if isinstance(request.protocol, ClientConnection):
        request.protocol.check(request)
    check_framing(request.raw_headers, request.version)
    check_for_loop(request.raw_headers, hop)
