"""From the bytes that a client sends to its requests, one at a time.

Rules: while a request is served, the next one is not looked at: what comes of it waits, up to `_MAX_AHEAD` bytes, and
beyond that in the system. After something that is no request, nothing counts any more. Where the end of a request is in
doubt since what follows can be no other one, it is refused before anything of it has gone on.
"""

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from proxy.errors import BadRequest, ProxyError, RequestTooLarge
from proxy.wire.chunked import BrokenFramingError, Chunked, TrailersTooLargeError
from proxy.wire.framing import check_request
from proxy.wire.head import FieldTable, Head
from proxy.wire.incoming import PIECE_COST, Incoming
from proxy.wire.plain import Block, plain_request
from proxy.wire.request import ClientRequest
from proxy.wire.unreadable import headers_too_large

if TYPE_CHECKING:
    # The second is imported where it is needed, see app/later.py.
    from proxy.wire.client import ClientConnection
    from proxy.wire.request_parsing import ParsedHead, RequestParser

_MAX_AHEAD: Final = 1 << 14  # bytes kept of what follows the request that is served
_PARSED: Final = 4  # bytes of memory for each byte of a head that was parsed
_MAX_EMPTY: Final = 1024  # bytes of empty lines that are not yet taken for the beginning of a request
_MAX_REMEMBERED: Final = 2048  # bytes of a head that is remembered for the next one


class RequestReader:
    """Reads the requests of one connection, which is told of each: `take(request)`, or `refuse(error, request)`.

    `body` is that of the request that is served, until it has come; `ahead` what came behind it. `last` is its head, if
    that is remembered for the next one. `closed` if nothing counts any more.
    """

    __slots__ = (
        "_ahead_size",
        "_connection",
        "_empty",
        "_parser",
        "_table",
        "ahead",
        "body",
        "closed",
        "last",
        "serving",
    )

    def __init__(self, connection: "ClientConnection", table: FieldTable) -> None:
        self._connection = connection
        self._table = table
        self._parser: RequestParser | None = None  # of a head that is not plain
        self.last: Block | None = None
        self.serving = False
        self.ahead: list[bytes] = []
        self._ahead_size = 0
        self._empty = 0
        self.body: Incoming | None = None
        self.closed = False

    def feed(self, data: bytes) -> None:
        """Take what came."""
        if self.body is not None:
            self._body_came(self.body, data)
        elif self.closed:
            return
        elif self.serving:
            self._keep(data)
        else:
            self._head_came(data)

    def next(self) -> None:
        """Go on behind the request that was served."""
        self.serving = False
        self._empty = 0
        if self.ahead:
            data = b"".join(self.ahead)
            self.forget_ahead()
            self._connection.listen(True)
            self._head_came(data)

    def give_up(self) -> None:
        """Take no more requests, nor the rest of this one's body."""
        self.closed = True
        self.forget_ahead()
        if self.body is not None:
            self.body.discard()

    def forget_ahead(self) -> None:
        """Throw away what came behind the request that is served."""
        self.ahead = []
        self._ahead_size = 0

    def _keep(self, data: bytes) -> None:
        self.ahead.append(data)
        self._ahead_size += len(data) + PIECE_COST
        if self._ahead_size >= _MAX_AHEAD:
            self._connection.listen(False)

    def _head_came(self, data: bytes) -> None:
        connection = self._connection
        plain = None
        if self._parser is None:
            # Old programs send an empty line behind a body, maybe long before the next request (RFC 9112 §2.2).
            begun = data.lstrip(b"\r\n")
            if not begun:
                self._empty += len(data)
                if self._empty <= _MAX_EMPTY:
                    return
            data = begun or data
            plain = plain_request(data, self._table, connection.server.limits, self.last)
        if plain is not None:
            method, target, content, block, missing = plain
            connection.watch.head_complete()
            self.last = block if len(block[0]) <= _MAX_REMEMBERED else None
            self.serving = True
            request = ClientRequest(connection, method, target, True, block[1], block[3], content, None)
            if missing:
                body = self._body_of(block[1])
                body.feed(content)
                request = self._awaiting(request, body)
            connection.take(request)
            return
        if self._parser is None:
            from proxy.wire.request_parsing import RequestParser  # noqa: PLC0415 - see app/later.py

            self._parser = RequestParser(self._table, connection.server.limits, connection.loop)
        fits = connection.watch.head_came(len(data), connection.loop.time())
        try:
            parsed = self._parser.feed(data)
            if parsed is None and not fits:
                raise headers_too_large(connection.server.limits)
        except ProxyError as error:
            self._refuse(error, None)
            return
        if parsed is not None:
            connection.watch.head_complete()
            self._parser = None
            self._parsed(parsed)

    def _parsed(self, parsed: "ParsedHead") -> None:
        """Take a request whose head has been parsed, and what came of its body."""
        from proxy.wire.request_parsing import check_start_line, not_a_request  # noqa: PLC0415 - as above

        connection, head = self._connection, parsed.head
        self.last = None
        modern = parsed.version == (1, 1)
        weight, keep_alive = _PARSED * parsed.size, parsed.keep_alive
        request = ClientRequest(connection, parsed.method, parsed.target, modern, head, keep_alive, b"", None, weight)
        try:
            check_start_line(parsed.method, parsed.version)
            check_request(head, modern=modern)
            body = self._body_of(head)
            rest = body.feed(parsed.rest) if parsed.rest else b""
            if rest and (error := not_a_request(rest, connection.server.limits, connection.loop)) is not None:
                raise error
        except (ProxyError, BrokenFramingError) as error:
            self._refuse(_refusal(error), request)
            return
        self.serving = True
        if rest:
            self._keep(rest)
        connection.take(replace(request, content=body.read_nowait()) if body.ended else self._awaiting(request, body))

    def _awaiting(self, request: ClientRequest, body: Incoming) -> ClientRequest:
        """Return the request with its body, the rest of which is still to come."""
        self.body = body
        self._connection.watch.body_wanted(self._connection.loop.time())
        return replace(request, content=None, body=body)

    def _body_of(self, head: Head) -> Incoming:
        limits = self._connection.server.limits
        chunked = None
        if b"transfer-encoding" in head.first:
            chunked = Chunked(lenient=False, max_line=limits.max_header_size, max_trailers=limits.max_header_count)
        length = int(head.first.get(b"content-length") or b"0")
        return Incoming(length, self._connection.listen, chunked=chunked, wide=False)

    def _body_came(self, body: Incoming, data: bytes) -> None:
        watch = self._connection.watch
        watch.body_came(len(data))
        try:
            rest = body.feed(data)
            if not body.ended and watch.mostly_framing(body.total):
                raise BadRequest("The request body consists almost only of chunk extensions and trailers.")
        except (ProxyError, BrokenFramingError) as error:
            body.fail(_refusal(error))
            self.body = None
            self.closed = True
            return
        if body.ended:
            self.body = None
            if rest and not self.closed:
                self._keep(rest)

    def _refuse(self, error: ProxyError, request: ClientRequest | None) -> None:
        self.closed = self.serving = True
        self._parser = None
        self._connection.refuse(error, request)


def _refusal(error: ProxyError | BrokenFramingError) -> ProxyError:
    match error:
        case ProxyError():
            return error
        case TrailersTooLargeError():
            return RequestTooLarge("The trailer fields exceed the limits for header fields.", status=431)
    return BadRequest("The request body ends early or is not framed as it should be.")
