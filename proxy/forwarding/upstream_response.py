"""An answer of an upstream: the head, checked before anything of it goes on, and a body that is read piece by piece.

Rules: aiohttp's parser is lenient with answers, a proxy can't be: what one client reads as one message and another as
two is refused here (RFC 9112 §5.1, §6.3). A connection goes back to the pool only after a whole answer to a whole
request.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from aiohttp import StreamReader
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage

from proxy.errors import UpstreamProtocolError
from proxy.forwarding.headers import Fields, fields_named, first_named, has_control_characters, list_members
from proxy.forwarding.upstream_connection import UpstreamConnection
from proxy.forwarding.upstream_errors import FOREIGN_ERRORS, translate
from proxy.tokens.endpoint import read_retry_after

_MAX_INTERIM: Final = 100  # 1xx answers before the real one
_MAX_LENGTH_DIGITS: Final = 18  # 2^64-1, which has 20, is the parser's word for "no length"
_NOT_IN_A_NAME: Final = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")  # RFC 9110 §5.6.2

Interim = Callable[[int, bytes, Fields], None]


class UpstreamResponse:
    """An answer of the upstream: its head, and a body that is read piece by piece.

    Must be read to its end, or closed.
    """

    def __init__(
        self,
        message: RawResponseMessage,
        content: StreamReader,
        connection: Connection,
        protocol: UpstreamConnection,
        pump: asyncio.Task[None] | None,
        clock: Callable[[], float],
    ) -> None:
        self.status: int = message.code
        self.reason: bytes = message.reason.encode("utf-8", "surrogateescape")
        self.fields: tuple[tuple[bytes, bytes], ...] = message.raw_headers
        self.chunked: bool = message.chunked
        self._content = content
        self._connection = connection
        self._protocol = protocol
        self._pump = pump
        self._clock = clock
        self._closed = False

    @property
    def retry_after(self) -> float | None:
        """In how many seconds the upstream says to try again, if it does."""
        retry_after, date = (first_named(self.fields, name) or b"" for name in (b"retry-after", b"date"))
        return read_retry_after(retry_after.decode("latin-1"), date.decode("latin-1"))

    def read_nowait(self) -> bytes:
        """Return what of the body has arrived already; maybe nothing. Raises `UpstreamError`."""
        if self._content.exception() is not None or self._content.at_eof():
            return b""
        return self._content.read_nowait()

    @property
    def complete(self) -> bool:
        """Whether the whole body has been read."""
        return self._content.at_eof() and self._content.exception() is None

    async def read(self) -> bytes:
        """Return the next piece of the body, empty at its end. Raises `UpstreamError`."""
        try:
            return await self._content.readany()
        except FOREIGN_ERRORS as error:
            raise translate(error) from None

    async def close(self) -> None:
        """Give the connection back if the exchange is complete, else end it. Once; after that it is another's."""
        if self._closed:
            return
        self._closed = True
        if self._content.is_eof() and self._protocol.request_written:
            self._protocol.idle_since = self._clock()
            self._connection.release()  # which closes it all the same if the upstream wants that
        else:
            await abandon(self._connection, self._pump)


async def final_response(protocol: UpstreamConnection, on_interim: Interim) -> tuple[RawResponseMessage, StreamReader]:
    """Wait for the head of the real answer; `on_interim` gets the 1xx ones before it.

    Raises `UpstreamProtocolError`, and the exceptions of the HTTP client.
    """
    for _ in range(_MAX_INTERIM):
        message, content = await protocol.read()
        _check(message)
        if message.code >= 200:
            return message, content
        if message.code == 101:
            raise UpstreamProtocolError("The shop's API switched protocols without being asked to.")
        if message.code != 100:  # RFC 9110 §15.2: passed on, but for what only this hop could have asked for
            on_interim(message.code, message.reason.encode("utf-8", "surrogateescape"), list(message.raw_headers))
    raise UpstreamProtocolError("The shop's API sent interim answers without end.")


def _check(message: RawResponseMessage) -> None:
    fields = message.raw_headers
    reason = message.reason.encode("utf-8", "surrogateescape")
    if message.code < 100 or has_control_characters([(b"", reason)]):
        raise UpstreamProtocolError("The shop's API sent a broken status line.")
    if has_control_characters(fields) or _NOT_IN_A_NAME.search(b"".join([name for name, _ in fields])):
        raise UpstreamProtocolError("The shop's API sent a broken header field.")
    if any(len(length) > _MAX_LENGTH_DIGITS for length in fields_named(fields, b"content-length")):
        raise UpstreamProtocolError("The shop's API announced an answer of a length that can't be.")
    if list_members(fields, b"transfer-encoding") not in ([], [b"chunked"]):
        raise UpstreamProtocolError("The shop's API sent its answer in a transfer coding that was not asked for.")


async def abandon(connection: Connection, pump: asyncio.Task[None] | None) -> None:
    """End an exchange in the middle: break the connection off, and stop the upload that goes on beside."""
    if connection.transport is not None:
        connection.transport.abort()  # without waiting until the upstream has taken what was written
    connection.close()
    if pump is not None:
        # Waited for, since the body has one reader at a time and the next attempt may begin at once.
        pump.cancel()
        await asyncio.wait([pump])
