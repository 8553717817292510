"""The client's side of the wire: connections, and what is not a request on them.

Rules: what can't be read as a request is refused like any other, without showing what was in it. A refusal reaches a
client that is still sending: the connection is closed one direction after the other (RFC 9112 §9.6). When the proxy
stops, requests in flight go on to their end, those whose bodies are still arriving too.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestPayloadError, _ErrInfo

from proxy.errors import BadRequest, BadTarget, MethodNotSupported, ProxyError, RequestTooLarge
from proxy.forwarding.headers import Hop, check_for_loop, check_framing
from proxy.forwarding.target import MUST_BE_A_PATH, PERCENT_ENCODE

MAX_REQUEST_LINE: Final = 1 << 14  # bytes
MAX_FIELD: Final = 1 << 15  # bytes of one header field; not the same number, which tells the two errors apart
_MAX_FIELDS: Final = 128
_BUFFER_SIZE: Final = 1 << 16  # bytes read ahead of a slow upstream
_KEEP_ALIVE: Final = 75.0  # seconds a connection may be idle
_LINGER: Final = 5.0  # seconds a client may take to notice that its request was refused

SPEAKS_HTTP_1: Final = "This proxy speaks HTTP/1.1 and HTTP/1.0."
_NOT_HTTP: Final = "The request is not HTTP/1.1 as RFC 9112 has it."

# What the parser's words mean to the client.
_WORDS: Final[tuple[tuple[str, type[BadRequest | BadTarget], str], ...]] = (
    ("Invalid HTTP version", BadRequest, SPEAKS_HTTP_1),
    ("Pause on PRI", BadRequest, SPEAKS_HTTP_1),
    ("Invalid characters in url", BadTarget, MUST_BE_A_PATH),
    ("Unexpected start char in url", BadTarget, MUST_BE_A_PATH),
    ("Unexpected char in url schema", BadTarget, MUST_BE_A_PATH),
    ("in url", BadRequest, PERCENT_ENCODE),
    ("Expected HTTP/", BadRequest, PERCENT_ENCODE),  # after a raw space
)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Refuse = Callable[[web.BaseRequest, ProxyError], Awaitable[web.StreamResponse]]


class ClientServer(web.Server):
    """Makes a `ClientConnection` for each client; `handle` gets each request, `refuse` what is not one."""

    def __init__(self, handle: Handler, refuse: Refuse) -> None:
        super().__init__(handle, handler_cancellation=True)
        self.refuse = refuse
        self.stopping = False

    def __call__(self) -> web.RequestHandler:
        """Return the protocol for a new connection."""
        return ClientConnection(
            self,
            loop=self._loop,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_KEEP_ALIVE,
            max_line_size=MAX_REQUEST_LINE,
            max_field_size=MAX_FIELD,
            max_headers=_MAX_FIELDS,
            read_bufsize=_BUFFER_SIZE,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take note of a new connection."""
        super().connection_made(handler, transport)
        if self.stopping:
            transport.close()  # it was on its way when the listener closed

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp named it
        """Close idle connections, give requests in flight `timeout` seconds to finish, then break them off.

        Not aiohttp's way, which drops what still arrives of a request body.
        """
        self.stopping = True
        await asyncio.sleep(0)  # new connections are idle, but have to find that out
        connections = [connection for connection in self.connections if isinstance(connection, ClientConnection)]
        for connection in connections:
            if connection.idle:
                connection.force_close()
        handlers = [task for connection in connections if (task := connection.handler) is not None]
        if handlers:
            _, unfinished = await asyncio.wait(handlers, timeout=timeout)
            for task in unfinished:
                task.cancel()
            await asyncio.wait(handlers)
        for connection in connections:
            connection.force_close()

    def _make_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        if isinstance(protocol, ClientConnection):
            protocol.body = payload
        return super()._make_request(message, payload, protocol, writer, task)


class ClientConnection(web.RequestHandler):
    """A connection to a client."""

    __slots__ = ("_lingers", "_server", "body")

    def __init__(self, server: ClientServer, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._lingers = False
        self.body: StreamReader | None = None  # of the request that is served

    @property
    def stopping(self) -> bool:
        """Whether the request that is served is to be the last one here."""
        return self._server.stopping

    @property
    def idle(self) -> bool:
        """Whether nobody would miss the connection."""
        return self._lingers or (self._waiter is not None and not self._waiter.done())

    @property
    def handler(self) -> asyncio.Task[None] | None:
        """The task that serves the requests of this connection."""
        return self._task_handler

    def data_received(self, data: bytes) -> None:
        """Parse what came in."""
        super().data_received(data)
        # After an error in the middle of a body nothing else would ever end the wait for the rest of it.
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            for body in (self.body, *(payload for _, payload in self._messages)):
                if body is not None and not body.is_eof() and body.exception() is None:
                    body.set_exception(RequestPayloadError("the body is not framed as it should be"))

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

    def _make_error_handler(self, err_info: _ErrInfo) -> Handler:
        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            return await self._server.refuse(request, _unreadable(err_info.exc))

        return handler


def check_request(request: web.BaseRequest, hop: Hop) -> None:
    """Refuse what the parser lets through but can't be forwarded: raises a `RequestError`."""
    if request.version not in (HttpVersion11, HttpVersion10):
        raise BadRequest(SPEAKS_HTTP_1)
    if request.method in ("CONNECT", "TRACE"):
        # An upstream's answer to TRACE would show the client the token (RFC 9110 §9.3.8).
        raise MethodNotSupported(f"{request.method} is not supported here.")
    check_framing(request.raw_headers, request.version)
    check_for_loop(request.raw_headers, hop)


def _unreadable(error: BaseException) -> ProxyError:
    """Return what the client is told of a parser's error, whose own text quotes the input."""
    text = error.message.partition(":\n\n")[0] if isinstance(error, HttpProcessingError) else ""
    match error:
        case LineTooLong() if error.args[1] == MAX_REQUEST_LINE:
            return RequestTooLarge(f"The request line is longer than {MAX_REQUEST_LINE} bytes.", status=414)
        case LineTooLong():
            return RequestTooLarge(f"A header field is longer than {MAX_FIELD} bytes.", status=431)
        case BadHttpMethod() if "HTTPS traffic" in text:
            return BadRequest("This port speaks plain HTTP: write http:// in the URL, or put TLS in front of it.")
        case BadHttpMethod():
            return MethodNotSupported("The method is not one that HTTP knows; methods are written in upper case.")
    if "Too many headers" in text:
        return RequestTooLarge(f"The request has more than {_MAX_FIELDS} header fields.", status=431)
    return next((kind(sentence) for words, kind, sentence in _WORDS if words in text), BadRequest(_NOT_HTTP))
