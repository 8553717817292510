"""The writing of answers to clients, as bytes.

Rules: after the head is out nothing can be taken back, so an answer that breaks off must look broken to the client
(RFC 9112 §8). One whose length is known, or that is chunked, does so by itself: it ends there, and no chunk or length
ever pretends an end. One that ends with its connection does not, so that is reset; for others too, and some clients
would hang, or lose what had come. Nothing is written faster than the client reads.
"""

from contextlib import suppress
from typing import Final

from proxy.wire.request import ClientRequest

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class ClientResponse:
    """The answer to one client request, written piece by piece: `start`, `write`, `finish`; or `abort`.

    Writing raises `ConnectionResetError` if the client is gone.
    """

    # fmt: off
    __slots__ = (
        "_chunked", "_connection", "_ends_visibly", "_read_whole", "_request", "bytes_sent", "keep_alive", "status",
    )
    # fmt: on

    def __init__(self, request: ClientRequest) -> None:
        self._request = request
        self._connection = request.connection
        self._chunked = False
        self._ends_visibly = False
        self._read_whole = True
        self.keep_alive = request.keep_alive
        self.status: int | None = None  # as soon as the head is out
        self.bytes_sent = 0

    def send_continue(self) -> None:
        """Tell the client to send the body it announced (RFC 9110 §10.1.1); HTTP/1.0 knows no such thing (§15.2)."""
        with suppress(ConnectionError):
            if self._request.modern:
                self._connection.write(_CONTINUE)

    def start(
        self,
        status: int,
        reason: bytes,
        lines: bytes,
        *,
        length: bytes | None,
        first: bytes,
        complete: bool,
        dated: bool = False,
    ) -> None:
        """Send the head with these lines of fields, and `first` of the body with it; `complete` if that is all of it.

        `length` is the value of `Content-Length`, `None` if the length is not known. `dated` if a line tells the time.
        """
        if self.keep_alive and self._connection.stopping:
            self.keep_alive = False
        if status == 204:
            framing = b""  # RFC 9110 §8.6: no Content-Length either
        elif length is not None:
            framing = b"Content-Length: " + length + b"\r\n"
        elif self._request.method == "HEAD" or status == 304:
            framing = b""
        elif self._request.modern:
            self._chunked = True
            framing = b"Transfer-Encoding: chunked\r\n"
        else:
            framing = b""
            self.keep_alive, self._connection.end_counts = False, True  # that of the connection is that of the body
        if not self.keep_alive:
            framing += b"Connection: close\r\n"
        elif not self._request.modern:
            framing += b"Connection: keep-alive\r\n"
        if not dated:
            framing = self._connection.server.date.now() + framing
        self._ends_visibly = self._chunked or length is not None
        self.status = status
        self.bytes_sent = len(first)
        if self._chunked:
            first = _chunk(first) + (_LAST_CHUNK if complete else b"")
        self._connection.write(b"HTTP/1.1 %d %b\r\n%b%b\r\n%b" % (status, reason, lines, framing, first))

    def write(self, piece: bytes) -> None:
        """Send a piece of the body; no other one before the client has taken enough of it (`can_write`)."""
        self.bytes_sent += len(piece)
        self._connection.write(_chunk(piece) if self._chunked else piece)

    def finish(self) -> None:
        """End the body."""
        if self._chunked:
            self._connection.write(_LAST_CHUNK)

    def abort(self) -> None:
        """Reset the connection: nobody is there any more."""
        self.keep_alive = False
        self._connection.abort()

    def break_off(self) -> None:
        """End the answer where it is, so that the client sees that it is not whole."""
        if self._ends_visibly:
            self.refuse_rest()
            self._connection.break_off()
        else:
            self.abort()

    async def end(self) -> bool:
        """Wait until the client has the answer, or most of it; return whether the connection can be kept."""
        connection = self._connection
        if connection.can_write is not None:
            with suppress(ConnectionError):
                await connection.drain()
        kept = self.keep_alive
        if kept and connection.stopping:  # since its answer began, which told the client that it is kept
            connection.server.close_soon(connection)
        pipelined = connection.answered(kept=kept)
        if not kept and (pipelined or not self._read_whole):
            await connection.linger()
        return kept

    def refuse_rest(self) -> None:
        """Take no more requests from this connection, nor the rest of this one."""
        self.keep_alive = self._read_whole = False


_LAST_CHUNK: Final = b"0\r\n\r\n"


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
