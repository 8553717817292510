"""How a connection ends on which the client may still be sending: one direction after the other (RFC 9112 §9.6).

If it were closed with something unread, it would be reset, and the client might lose the answer.

Rules: what the client still sends is taken, for a bounded time. That nothing more comes from here is said at once,
unless that hinders the client: over TLS 1.3 it does not (RFC 8446 §6.1), over 1.2 it would have to throw away what it
still wants to send (RFC 5246 §7.2.1). An answer that broke off ends as if the server had died, below TLS, so that a
client can see that it is not whole.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Final

from proxy.wire.incoming import Incoming
from proxy.wire.sockets import end_writing, reset, unsent

# How long a client is listened to: without a byte, and in all. Some never see an answer while they send. (nginx has the
# same times, lingering_timeout and lingering_time.)
_SILENCE: Final = 5.0  # seconds
_AT_MOST: Final = 30.0
_A_MOMENT: Final = 0.01  # seconds


class Lingering:
    """The end of a connection; `body` is what the client was sending, to be thrown away. `broken` as told above.

    The transport reads, in pieces of at most `read_size` bytes.
    """

    def __init__(
        self, transport: asyncio.Transport, body: Incoming | None, *, read_size: int, broken: bool = False
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._body = body
        self._read_size = read_size
        self._tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self._broken_tls = broken and self._tls is not None
        self._until = self._begun = self._loop.time()
        self._waiter: asyncio.Future[None] | None = None
        self._silent = True
        self._said = self._tls is None or broken or self._tls.version() != "TLSv1.3"

    def heard(self, count: int) -> None:
        """Take note that so many bytes came, and were given to the body."""
        self._until = self._loop.time() + _SILENCE
        self._silent = False
        if not self._said and count < self._read_size:
            self._say_end()
        if self._body is not None and self._body.ended and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def to_the_end(self) -> None:
        """Say that nothing more will come, and listen until there is nothing more to hear.

        Cancelled as soon as the client has closed.
        """
        self._until = self._loop.time() + _SILENCE
        if self._broken_tls:
            await self._end_below_tls()
        elif self._tls is None:
            self._transport.write_eof()
        elif not self._said:
            self._have_tls_look()
            self._loop.call_soon(self._say_end_if_silent)
        while self._body is None or not self._body.ended:
            until = min(self._until, self._begun + _AT_MOST)
            if self._loop.time() >= until:
                break
            self._waiter = self._loop.create_future()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._waiter
        if self._broken_tls:
            self._transport.abort()  # to close it in order would be to send `close_notify`

    # Within TLS

    def _say_end(self) -> None:
        """Send `close_notify`, and go on reading.

        To be called when TLS has nothing to read, or OpenSSL takes the answer to it for missing. So after it gave less
        than there was room for, or nothing.
        """
        if self._said or self._transport.is_closing() or self._transport.get_write_buffer_size():
            return
        self._said = True
        assert self._tls is not None  # noqa: S101 - for the type checker: `_said` is set without it
        with suppress(ssl.SSLError):  # it waits for the client's part
            self._tls.unwrap()
        self._have_tls_look()

    def _say_end_if_silent(self) -> None:
        if self._silent:
            self._say_end()

    def _have_tls_look(self) -> None:
        """Have TLS read what came, and send what is to be sent."""
        self._transport.pause_reading()
        self._transport.resume_reading()

    # Below TLS

    async def _end_below_tls(self) -> None:
        """End the connection without a word of TLS, after what was written; reset it if the client does not take that.

        A transport does not tell of what waits below its TLS. That has gone to the system by the second look which
        finds nothing there.
        """
        looks = 0
        while looks < 2:
            if self._loop.time() >= self._begun + _AT_MOST:
                reset(self._transport)
                return
            looks = 0 if unsent(self._transport) else looks + 1
            await asyncio.sleep(_A_MOMENT)
        end_writing(self._transport)
