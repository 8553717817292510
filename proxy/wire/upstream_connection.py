"""One connection to an upstream: a request goes out, its answer comes in, and then perhaps another.

Rules: whatever breaks a connection reaches who waits for the answer or reads its body, at once. A body that ends with
its connection is whole only if that was closed in order; a reset is no end. The read timeout counts from when the
request is written, or from the last byte that came, until the answer is whole, and not while we don't listen. What
follows an answer, or comes while nothing was asked, is dropped, and the connection is not used again; if it comes when
the connection is in use again, that is lost. Interim answers stop here: old clients take them for the answer (RFC 8297
§3), and 100 is for us to send (RFC 9110 §15.2).
"""

import asyncio
import re
from collections.abc import Callable
from typing import Final

from proxy.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from proxy.wire.chunked import BrokenFramingError, Chunked
from proxy.wire.framing import CHUNKED, MAX_HEAD, answer_length, not_http
from proxy.wire.head import FieldTable, Head
from proxy.wire.incoming import Incoming
from proxy.wire.plain import END, plain_answer
from proxy.wire.sockets import read_on, resume_reading, unsent, when_read

_ANY_END: Final = re.compile(rb"\r?\n\r?\n")  # some platforms write LF alone
_MAX_INTERIM: Final = 100  # 1xx answers before the real one


class ConnectionLostError(UpstreamUnreachable):
    """The connection ended before the head of an answer: if it was kept, the upstream may simply have closed it."""


# An answer: status, reason, fields; the length that was announced, `CHUNKED`, or `None`; and its body, which came whole
# with the head, maybe empty, or comes in.
Answer = tuple[int, bytes, Head, int | None, bytes | None, Incoming | None]


class UpstreamConnection(asyncio.Protocol):
    """A connection as the protocol of its transport; `lost` is called when it has ended."""

    # fmt: off
    __slots__ = (
        "_answer", "_bodiless", "_body", "_can_write", "_close", "_exchanges", "_head", "_heard_at", "_interim",
        "_large", "_listening", "_loop", "_lost", "_table", "_timeout", "_timer", "idle_since", "made_at",
        "request_written", "transport",
    )
    # fmt: on

    def __init__(
        self, transport: asyncio.Transport, table: FieldTable, lost: Callable[["UpstreamConnection"], object]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.transport = transport
        self._table = table
        self._lost = lost
        self.made_at = self._loop.time()
        self.idle_since: float | None = None
        self.request_written = True
        self._timeout = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._answer: asyncio.Future[Answer] | None = None
        self._exchanges = 0
        self._bodiless = self._large = False
        self._interim = 0
        self._head = b""  # the beginning of one
        self._body: Incoming | None = None  # until it has come
        self._close = False  # not to be used again
        self._listening = True
        self._can_write: asyncio.Future[None] | None = None

    @property
    def reusable(self) -> bool:
        """Whether the exchange is over, and another one may follow."""
        busy = self._answer is not None or self._body is not None or not self.request_written
        # If it was answered before all of it was taken, the rest may never be read, nor what would come behind that.
        return not (busy or self._close or self.transport.is_closing() or (self._large and unsent(self.transport)))

    def ask(
        self, data: bytes, content: bytes | None = None, *, bodiless: bool, read_timeout: float, whole: bool
    ) -> asyncio.Future[Answer]:
        """Write a request, `whole` if nothing of it is missing; return the answer to come, or an `UpstreamError`.

        `content` is a body that is too large to be copied behind the head. The answer is `bodiless` if it has no body,
        whatever its head says (RFC 9112 §6.3). `read_timeout` in seconds.
        """
        self._exchanges += 1
        self._bodiless, self._large = bodiless, content is not None
        if self._timer is not None and read_timeout < self._timeout:
            self._timer.cancel()
            self._timer = None
        self._timeout, self._interim = read_timeout, 0
        self.request_written = False
        self._answer = answer = self._loop.create_future()
        self.transport.write(data)
        if content is not None:
            self.transport.write(content)
        if whole:
            self.request_written = True
            self._expect()
        return answer

    def request_done(self) -> None:
        """Take note that the whole request is written: from here the upstream's silence counts."""
        self.request_written = True
        self._expect()

    async def write(self, data: bytes) -> None:
        """Write more of a request, when the upstream has taken enough of it. Raises `ConnectionResetError`."""
        if self.transport.is_closing():
            raise ConnectionResetError("the upstream is gone")
        self.transport.write(data)
        if self._can_write is not None:
            await asyncio.shield(self._can_write)

    def abort(self) -> None:
        """End the connection, without waiting until the upstream has taken what was written."""
        self._close = True
        self._answer = self._body = None
        self.transport.abort()

    def fail(self, error: BaseException) -> None:
        """Break the exchange off."""
        self._close = True
        answer, self._answer = self._answer, None
        body, self._body = self._body, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
        if body is not None:
            body.fail(error)
        self.transport.abort()

    # What the transport says

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._heard_at = self._loop.time()
        try:
            if self._answer is not None:
                self._head_came(self._head + data if self._head else data, len(self._head))
            elif self._body is not None:
                self._body_came(self._body, data)
            else:  # nothing was asked
                self._close = True
                if self.idle_since is not None:
                    self.transport.abort()
        except UpstreamError as error:
            self.fail(error)
        except BrokenFramingError:
            self.fail(not_http("broken chunks"))
        if self._answer is not None or self._body is not None:
            read_on(self.transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell a body that ends with its connection from one that was cut off."""
        self._close = True
        reason = "closed" if exc is None else f"{type(exc).__name__}: {exc}"
        answer, self._answer = self._answer, None
        body, self._body = self._body, None
        if answer is not None and not answer.done():
            answer.set_exception(
                ConnectionLostError(
                    "The shop's API closed the connection without an answer.",
                    reason=reason,
                    proxy_status="connection_terminated",
                )
            )
        if body is not None:
            try:
                if exc is not None:
                    raise BrokenFramingError
                body.end()
            except BrokenFramingError:
                body.fail(
                    UpstreamProtocolError(
                        "The shop's API broke off its answer in the middle.",
                        reason=reason,
                        proxy_status="http_response_incomplete",
                    )
                )
        if self._timer is not None:
            self._timer.cancel()
        self.resume_writing()
        self._lost(self)

    def pause_writing(self) -> None:
        """Write no more, until the upstream has read."""
        self._can_write = self._loop.create_future()

    def resume_writing(self) -> None:
        """Write on."""
        if self._can_write is not None:
            self._can_write.set_result(None)
            self._can_write = None

    # The answer

    def _head_came(self, data: bytes, seen: int = 0) -> None:
        """Take what came of a head; in the first `seen` bytes, which came before, it does not end."""
        self._head = b""
        unseen = max(seen - len(END) + 1, 0)  # where an end may begin: who sends a byte at a time costs no more for it
        end = data.find(END, unseen)
        plain = plain_answer(data[:end], self._table) if end > 0 else None
        if plain is not None:
            self._settle(*plain, data[end + len(END) :])
            return
        begin = len(data) - len(data.lstrip(b"\r\n"))  # empty lines before it are kept to be counted
        begins = data.startswith(b"HTTP/"[: len(data) - begin], begin)
        if not begins and self._exchanges > 1:
            raise ConnectionLostError(
                "The shop's API closed the connection without an answer.",
                reason="more data of the previous answer came",
            )
        found = _ANY_END.search(data, max(begin, unseen))
        if (len(data) if found is None else found.end()) > MAX_HEAD:
            raise UpstreamProtocolError(
                "The shop's API sent a header that is too large.", reason=f"more than {MAX_HEAD} bytes"
            )
        if found is None:
            if not begins:
                raise not_http("no status line")  # its end might never come
            self._head = data
            return
        from proxy.wire.answer_parsing import parse_answer  # noqa: PLC0415 - see app/later.py

        parsed = parse_answer(data[begin : found.end()], self._table, self._loop)
        if parsed.status >= 200:
            status, reason, head, close = parsed
            self._settle(status, reason, head, answer_length(head), close, data[found.end() :])
            return
        self._interim += 1
        if parsed.status == 101:
            raise UpstreamProtocolError("The shop's API switched protocols without being asked to.")
        if self._interim > _MAX_INTERIM:
            raise UpstreamProtocolError("The shop's API sent too many interim answers.")
        self._head_came(data[found.end() :])

    def _settle(self, status: int, reason: bytes, head: Head, length: int | None, close: bool, rest: bytes) -> None:
        """Take the head of the real answer, and what came of its body."""
        content: bytes | None = b""
        body = None
        if self._bodiless or status in (204, 304):
            behind = rest
            # Nobody knows whether a body follows that should not be there.
            close = close or (not self._bodiless and (length == CHUNKED or (status == 204 and bool(length))))
        elif length is not None and 0 <= length <= len(rest):
            content, behind = rest[:length], rest[length:]
        else:
            chunked = Chunked(lenient=True) if length == CHUNKED else None
            body = Incoming(None if length is None else max(length, 0), self._listen, chunked=chunked)
            close = close or length is None
            behind = body.feed(rest) if rest else b""
            content = body.read_nowait() if body.ended else None
        self._close = self._close or close or bool(behind)
        if content is not None:
            body = None
        answer, self._answer, self._body = self._answer, None, body
        if answer is not None and not answer.done():
            answer.set_result((status, reason, head, length, content, body))

    def _body_came(self, body: Incoming, data: bytes) -> None:
        behind = body.feed(data)
        if body.ended:
            self._body = None
            self._close = self._close or bool(behind)

    def _listen(self, on: bool) -> None:
        if self.transport.is_closing():
            return
        self._listening = on
        if on:
            resume_reading(self.transport)
            self._expect()
        else:
            self.transport.pause_reading()

    # How long it may take

    def _expect(self) -> None:
        """Give the upstream its time, from now."""
        self._heard_at = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, when_read, self._loop, self._look)

    def _look(self) -> None:
        """See whether the upstream keeps to its time. One timer serves many exchanges, and is not set for each byte."""
        self._timer = None
        waits = self._answer is not None or self._body is not None
        if not (waits and self.request_written and self._listening):
            return
        due = self._heard_at + self._timeout
        if self._loop.time() < due:
            self._timer = self._loop.call_at(due, when_read, self._loop, self._look)
        else:
            self.fail(
                UpstreamTimeout(
                    "The shop's API was silent for too long (upstream.read_timeout).",
                    proxy_status="connection_read_timeout",
                )
            )
