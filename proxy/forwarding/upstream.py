"""One attempt against a shop's API: over a kept connection, or a new one.

Rules: a request is written once, with one exception: a kept connection that is lost before the head of an answer has
come. There an idempotent request is sent again on a new connection (RFC 9110 §9.2.2, RFC 9112 §9.3.1), and one that is
known to change nothing; others avoid the case by using only a connection that was idle for less than `_FRESH_ENOUGH`
and of whose end nothing has arrived, and are never sent twice. A connection is kept only after a whole answer to a
whole request.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Final

import msgspec

from proxy.errors import InternalError, ProxyError, UpstreamTimeout
from proxy.forwarding.rewritten_body import RewrittenBody
from proxy.guards.pacing import Turn
from proxy.platforms.answers import ORDINARY
from proxy.tasks import BackgroundTasks
from proxy.tokens.endpoint import read_retry_after
from proxy.wire.body import RequestBody
from proxy.wire.dialing import Dialer
from proxy.wire.head import Head
from proxy.wire.pool import Destination, Pool
from proxy.wire.upstream_connection import Answer, ConnectionLostError, UpstreamConnection

_IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))  # RFC 9110 §9.2.2
_FRESH_ENOUGH: Final = 1.0  # seconds
_COPIED: Final = 1 << 14  # bytes of a body that are copied behind the head, so as to go out with it
_LAST_CHUNK: Final = b"0\r\n\r\n"


class UpstreamRequest(msgspec.Struct, frozen=True):
    """A request, ready for the wire but for the line with its token.

    `start` is the request line and all other fields. `content` is the whole body where it is in memory; where that is
    `None`, `body` streams, and `start` does not say how long it is. `repeatable` says that it is known to change
    nothing, whatever its method.
    """

    destination: Destination
    method: str
    start: bytes
    content: bytes | None
    body: RequestBody | RewrittenBody | None
    repeatable: bool = False


class UpstreamResponse:
    """An answer of the upstream: its head, and a body that is read piece by piece, or came with it (`content`).

    Must be closed, and gives its connection back then, or as soon as nothing more is to come over it. `meaning` is what
    the platform means by it.
    """

    __slots__ = (
        "_connection",
        "_destination",
        "_pool",
        "_pump",
        "body",
        "content",
        "head",
        "length",
        "meaning",
        "reason",
        "status",
    )

    def __init__(
        self,
        answer: Answer,
        connection: UpstreamConnection | None,
        pump: asyncio.Task[None] | None,
        pool: Pool,
        destination: Destination,
    ) -> None:
        self.status, self.reason, self.head, self.length, self.content, self.body = answer
        self.meaning = ORDINARY
        self._pool = pool
        self._destination = destination
        self._pump = pump
        self._connection = connection
        if connection is not None and connection.reusable:
            self._connection = None
            pool.keep(destination, connection)

    def when_sent(self, do: Callable[[], object]) -> None:
        """Call `do` when nothing more of the request is sent, which may go on beside its answer."""
        if self._pump is None or self._pump.done():
            do()
        else:
            self._pump.add_done_callback(lambda _: do())

    @property
    def open(self) -> bool:
        """Whether it has to be closed."""
        return self._connection is not None

    def copy(self) -> "UpstreamResponse":
        """Return the same answer for another client; its body must be there, as `small` returned it."""
        return self.saying(self.status, self.reason, self.head.copy(), self.length, self.content)

    def saying(
        self, status: int, reason: bytes, head: Head, length: int | None, content: bytes | None
    ) -> "UpstreamResponse":
        """Return an answer that came with this one: what it says, and nothing that has to be closed."""
        answer = UpstreamResponse(
            (status, reason, head, length, content, None), None, None, self._pool, self._destination
        )
        answer.meaning = self.meaning
        return answer

    @property
    def retry_after(self) -> float | None:
        """In how many seconds the upstream says to try again, if it does."""
        first = self.head.first
        retry_after, date = (first.get(name, b"").decode("latin-1") for name in (b"retry-after", b"date"))
        return read_retry_after(retry_after, date)

    async def small(self, limit: int, within: float | None = None) -> bytes | None:
        """Return the body if it has no more than `limit` bytes, else `None`; of that, nothing is lost.

        So if it is not whole `within` so many seconds. Raises `UpstreamError`.
        """
        if self.body is not None:
            pieces: list[bytes] = []
            size = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    while size <= limit and not self.body.complete:
                        pieces.append(await self.body.read())
                        size += len(pieces[-1])
            beginning = b"".join(pieces)
            if not self.body.complete:
                self.body.unread(beginning)
                return None
            self.content, self.body = beginning, None
        return self.content if len(self.content or b"") <= limit else None

    async def close(self) -> None:
        """Give the connection back if the exchange is complete, else end it. Once; after that it is another's."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.reusable:
            self._pool.keep(self._destination, connection)
        else:
            await _abandon(connection, self._pump)


class Upstream:
    """Sends requests to the shops' APIs over connections of `pool`, or new ones that `dialer` makes.

    `read_timeout` in seconds.
    """

    def __init__(self, dialer: Dialer, pool: Pool, tasks: BackgroundTasks, *, read_timeout: float) -> None:
        self._dialer = dialer
        self._pool = pool
        self._tasks = tasks
        self._read_timeout = read_timeout

    async def send(self, request: UpstreamRequest, token_line: bytes, turn: Turn) -> UpstreamResponse:
        """Send `request` and return the head of its answer, with the body yet to come.

        `token_line` is the field that holds the access token. `turn` is told when the request begins to go out and when
        it is out, for the platform's rate limit. Raises `UpstreamError`, and what the body raises.
        """
        pool, destination = self._pool, request.destination
        while turn.may_lapse and turn.lapsed:  # this process was kept busy: the slot is another's by now
            await turn.again()
        idempotent = request.repeatable or request.method in _IDEMPOTENT
        kept = pool.take(destination) if idempotent else pool.take(destination, idle_for=_FRESH_ENOUGH, surely=True)
        if kept is not None:
            try:
                return await self._exchange(kept, request, token_line, turn)
            except ConnectionLostError:
                if not idempotent:
                    raise
            await turn.again()
        new = await self._dialer.dial(destination, partial(pool.lost, destination))
        if turn.lapsed:  # while it was made
            pool.keep(destination, new)
            await turn.again()
            return await self.send(request, token_line, turn)
        return await self._exchange(new, request, token_line, turn)

    async def _exchange(
        self, connection: UpstreamConnection, request: UpstreamRequest, token_line: bytes, turn: Turn
    ) -> UpstreamResponse:
        destination, content = request.destination, request.content
        streams = request.body if content is None else None
        length = None if streams is None else streams.length
        framing = b""
        if streams is not None:
            framing = b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
        pump = None
        try:
            turn.begun()
            apart = content is not None and len(content) > _COPIED
            answer_to_come = connection.ask(
                b"%b%b%b\r\n%b" % (request.start, framing, token_line, b"" if apart else content or b""),
                content if apart else None,
                bodiless=request.method == "HEAD",
                read_timeout=self._read_timeout,
                whole=content is not None,
            )
            turn.sent()  # not at the end of a body that streams: its pace is the client's, and must not be the shop's
            if streams is not None:
                pump = self._tasks.start(self._pump(connection, streams, chunked=length is None), name="upload")
            answer = await answer_to_come
        except BaseException:
            await _abandon(connection, pump)
            raise
        return UpstreamResponse(answer, connection, pump, self._pool, destination)

    async def _pump(self, connection: UpstreamConnection, body: RequestBody | RewrittenBody, *, chunked: bool) -> None:
        """Write a streaming body, no faster than the upstream takes it. Its errors end the wait for the answer."""
        try:
            async with aclosing(body.chunks()) as chunks:
                async for chunk in chunks:
                    async with asyncio.timeout(self._read_timeout):
                        await connection.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            if chunked:
                await connection.write(_LAST_CHUNK)
            connection.request_done()
        except ConnectionError:
            pass  # The upstream stopped reading; what it has to say, if anything, is read by who waits for it.
        except Exception as error:
            connection.fail(_upload_error(error))


async def _abandon(connection: UpstreamConnection, pump: asyncio.Task[None] | None) -> None:
    """End an exchange in the middle: break the connection off, and stop the upload that goes on beside."""
    connection.abort()
    if pump is not None:
        # Waited for, since the body has one reader at a time and the next attempt may begin at once.
        pump.cancel()
        await asyncio.wait([pump])


def _upload_error(error: Exception) -> ProxyError:
    match error:
        case ProxyError():
            return error
        case TimeoutError():
            return UpstreamTimeout(
                "The shop's API stopped taking the request body.", proxy_status="connection_write_timeout"
            )
        case _:
            return InternalError("The proxy failed to send the request body.", reason=repr(error))
