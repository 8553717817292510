"""TLS with clients in bounded memory.

uvloop's TLS, and asyncio's, read up to 256 kB at a time, and encrypt at once whatever is to be sent. They keep the room
for that, beside the TLS library's own, for as long as the connection is open: up to 900 kB. Here it is asyncio's, with
room for two records; and what is to be sent is encrypted a record at a time, no faster than it goes out.
"""

import asyncio
import socket
import ssl
from asyncio import sslproto
from collections import deque
from typing import Any, Final, cast

RECORD: Final = 16384  # bytes of content (RFC 8446 §5.1)
_MORE: Final = 256  # that a record may have besides (RFC 8446 §5.2)
_UNTAKEN: Final = 4 * RECORD  # bytes that TLS itself may have to say; what is to be sent is less, see `Portions`


class _Narrow(sslproto.SSLProtocol):
    """TLS above a transport."""

    max_size = 2 * (RECORD + _MORE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; and have `sockets.waiting` see what waits below."""
        self._extra["below"] = transport
        super().connection_made(transport)

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came; and end it with a client that has TLS answer (RFC 8446 §4.6.3), and takes no answers."""
        super().buffer_updated(nbytes)
        own: Any = self
        if own._outgoing.pending > _UNTAKEN and own._transport is not None:
            own._transport.abort()

    def _check_shutdown_timeout(self) -> None:
        """End it where the client has not done its part in time, which counts from when it could have the rest."""
        own: Any = self  # asyncio does not say what it has
        if own._transport is not None and (own._outgoing.pending or own._transport.get_write_buffer_size()):
            again = own._check_shutdown_timeout
            own._shutdown_timeout_handle = own._loop.call_later(own._ssl_shutdown_timeout, again)
        else:
            super()._check_shutdown_timeout()  # type: ignore[misc]  # - nor do the stubs

    def give_up(self) -> None:
        """End it, and the connection below with it, if that is there."""
        if self._app_transport is not None:
            self._app_transport.close()


async def serve_tls(
    protocol: asyncio.BaseProtocol, client: socket.socket, context: ssl.SSLContext, *, handshake: float, closing: float
) -> None:
    """Speak TLS on a connection that was accepted, and hand it on to `protocol` when that stands.

    The client has `handshake` seconds for that, and `closing` for its part in the end. Raises `OSError`.
    """
    loop = asyncio.get_running_loop()
    stands: asyncio.Future[None] = loop.create_future()
    times: dict[str, Any] = {"ssl_handshake_timeout": handshake, "ssl_shutdown_timeout": closing}
    tls = _Narrow(loop, protocol, context, stands, server_side=True, **times)
    try:
        await loop.connect_accepted_socket(lambda: tls, client)
        await stands
    except BaseException:
        stands.cancel()
        tls.give_up()
        raise


class Portions:
    """Writes to a transport with TLS a record at a time, and nothing while it has enough: `paused`, by its own word."""

    __slots__ = ("_left", "_write", "paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        cast("Any", transport).set_read_buffer_limits(RECORD)  # those with TLS have this
        self._write = transport.write
        self._left: deque[memoryview] = deque()
        self.paused = False

    @property
    def size(self) -> int:
        """How many bytes are left."""
        return sum(map(len, self._left))

    def write(self, data: bytes) -> None:
        """Send, now or when the rest has gone."""
        if len(data) <= RECORD and not self._left:
            self._write(data)
            return
        self._left.append(memoryview(data))
        if not self.paused:
            self.go_on()

    def go_on(self) -> bool:
        """Send of what is left; tell whether that is all of it."""
        self.paused = False
        while self._left and not self.paused:
            piece = self._left.popleft()
            if len(piece) > RECORD:
                self._left.appendleft(piece[RECORD:])
            self._write(piece[:RECORD])
        return not self.paused
