"""What aiohttp's client connection leaves open for a proxy: whether an answer is whole, and how long to wait for it.

Rules: whatever breaks a connection reaches who reads the body, at once, since nothing else would end the wait. A body
that ends with its connection is whole only if that was closed in order; a reset is no end. The read timeout counts
from when the request is written, or from the last byte that came, until the answer is whole. An answer that must not
have a body, and comes with one all the same, counts; its connection is not used again.
"""

from typing import Any, Final

from aiohttp import ClientPayloadError
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import _EXC_SENTINEL
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

_SWITCHING_PROTOCOLS: Final = 101
_END_OF_HEAD: Final = b"\r\n\r\n"


class UpstreamConnection(ResponseHandler):
    """One connection to an upstream, as the protocol of its transport."""

    used = False  # whether any request was ever sent over it
    idle_since: float | None = None  # when `Upstream` gave it back to the pool
    request_written = False
    _answered = False
    _bodiless = False

    def set_response_params(self, **params: Any) -> None:
        """Get ready for the next exchange."""
        self.used = True
        self.request_written = self._answered = False
        super().set_response_params(**params)

    def finish_request(self) -> None:
        """Take note that the whole request is written: from here the upstream's silence counts."""
        self.request_written = True
        if not self._answered:
            self.start_timeout()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take an answer's head from the parser."""
        status = data[0].code
        self._answered = status >= 200 or status == _SWITCHING_PROTOCOLS
        self._bodiless = self._skip_payload or status in (204, 304)
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Parse what came in."""
        # A head at a time where no body may follow: if something does that is not HTTP, aiohttp forgets the head too.
        while not self._answered and self._may_be_bodiless(data) and (end := data.find(_END_OF_HEAD)) >= 0:
            end += len(_END_OF_HEAD)
            self._parse(data[:end])
            data = data[end:]
            if not data:
                return
        if self._answered and self._bodiless and data:
            self.force_close()
        else:
            self._parse(data)

    def _may_be_bodiless(self, head: bytes) -> bool:
        status = head[9:12]  # behind "HTTP/1.1 "
        return self._skip_payload or status in (b"204", b"304") or status.startswith(b"1")

    def _parse(self, data: bytes) -> None:
        super().data_received(data)
        # aiohttp stops the clock with every head that has no body, an interim one too.
        if self.request_written and not self._answered and self.exception() is None:
            self.start_timeout()

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _EXC_SENTINEL) -> None:
        """End the wait for the head, and for the body."""
        super().set_exception(exc, exc_cause)
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(exc, exc_cause)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell a body that ends with its connection from one that was cut off."""
        body = self._payload
        if exc is not None and body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(ClientPayloadError(f"connection lost: {type(exc).__name__}"), exc)
        super().connection_lost(exc)
