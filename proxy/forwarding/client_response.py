"""The writing of answers to clients, as bytes.

Not by aiohttp's response classes, since what they write is not what came from the upstream: they add `Server`, `Date`
and `Content-Type`, and drop bytes outside UTF-8.

Rules: after the head is out nothing can be taken back, so an answer that breaks off must look broken to the client:
the connection is reset, and no chunk or length ever pretends an end (RFC 9112 §8). Nothing is written faster than the
client reads.
"""

from contextlib import suppress
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11

from proxy.forwarding.client import ClientConnection, reset
from proxy.forwarding.headers import RawFields, client_response_fields, serialize


class WrittenResponse(web.StreamResponse):
    """Tells aiohttp that the answer is on the wire already, and whether the connection may be kept."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write nothing."""

    async def write_eof(self, data: Any = b"") -> None:
        """Write nothing."""


class ClientResponse:
    """The answer to one client request, written piece by piece: `start`, `write`, `finish`; or `abort`.

    Writing raises `ConnectionResetError` if the client is gone.
    """

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._writer = request.writer
        self._modern = request.version >= HttpVersion11
        self._chunked = False
        self.keep_alive = request.keep_alive
        self._read_whole = True
        self.started = False
        self.status: int | None = None
        self.bytes_sent = 0

    def admitted(self) -> None:
        """Take note that whoever sent the request may do so: the answer is worth a place among the connections."""
        connection = self._request.protocol
        if isinstance(connection, ClientConnection):
            connection.admitted()

    def send_interim(self, status: int, reason: bytes, fields: RawFields) -> None:
        """Send a 1xx answer, unless the client can't take it: in HTTP/1.0 there are none (RFC 9110 §15.2).

        One that has not read those before is spared the rest.
        """
        transport = self._request.transport
        if not self._modern or self.started or self._request.protocol.writing_paused:
            return
        if transport is not None and not transport.is_closing():
            transport.write(serialize(b"HTTP/1.1 %d %s" % (status, reason), client_response_fields(fields)))

    def send_continue(self) -> None:
        """Tell the client to send the body it announced (RFC 9110 §10.1.1)."""
        self.send_interim(100, HTTPStatus.CONTINUE.phrase.encode(), ())

    def start(
        self, status: int, reason: bytes, fields: RawFields, *, length: bytes | None, first: bytes, complete: bool
    ) -> None:
        """Send the head, and `first` of the body with it; `complete` if that is all of it.

        `length` is the value of `Content-Length`, `None` if the length is not known.
        """
        self.keep_alive = self.keep_alive and not self._stopping()
        bodiless = self._request.method == "HEAD" or status in (204, 304)
        framing: list[tuple[bytes, bytes]] = []
        if status == 204:
            pass  # RFC 9110 §8.6: no Content-Length either
        elif length is not None:
            framing.append((b"Content-Length", length))
        elif not bodiless and self._modern:
            self._chunked = True
            framing.append((b"Transfer-Encoding", b"chunked"))
        elif not bodiless:
            self.keep_alive = False  # The end of the connection is the end of the body.
        if not self.keep_alive:
            framing.append((b"Connection", b"close"))
        elif not self._modern:
            framing.append((b"Connection", b"keep-alive"))
        self.started = True
        self.status = status
        self.bytes_sent += len(first)
        head = serialize(b"HTTP/1.1 %d %s" % (status, reason), [*fields, *framing])
        self._send(head + self._framed(first) + (self._ending() if complete else b""))

    async def write(self, chunk: bytes) -> None:
        """Send a piece of the body, when the client has taken enough of what was sent before."""
        self.bytes_sent += len(chunk)
        self._send(self._framed(chunk))
        await self.drain()

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was sent."""
        if self._request.protocol.writing_paused:
            await self._writer.drain()

    def finish(self) -> None:
        """End the body."""
        self._send(self._ending())

    def abort(self) -> None:
        """Break the connection off, so that the client sees that the answer is not whole."""
        self.keep_alive = False
        transport = self._request.transport
        if transport is not None:
            reset(transport)

    async def end(self) -> None:
        """Wait until the client has the answer, or most of it; close if the connection can't be kept."""
        with suppress(ConnectionError):
            await self.drain()
        connection = self._request.protocol
        self.keep_alive = self.keep_alive and not self._stopping()
        if not isinstance(connection, ClientConnection):
            return
        if not (self.keep_alive and connection.pipelined):
            connection.answered()
        if not self.keep_alive and (connection.pipelined or not self._read_whole):
            await connection.linger()

    @property
    def cut_off(self) -> bool:
        """Whether the proxy ends, and there is no more time for the answer; else the client is who has left."""
        connection = self._request.protocol
        return isinstance(connection, ClientConnection) and connection.cut_off

    def refuse_rest(self) -> None:
        """Take no more requests from this connection, nor the rest of this one."""
        self.keep_alive = self._read_whole = False

    def _stopping(self) -> bool:
        connection = self._request.protocol
        return isinstance(connection, ClientConnection) and connection.stopping

    def _framed(self, chunk: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(chunk), chunk) if self._chunked and chunk else chunk

    def _ending(self) -> bytes:
        return b"0\r\n\r\n" if self._chunked else b""

    def _send(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        if data:
            transport.write(data)
