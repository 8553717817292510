"""One attempt against a shop's API; the only file that knows the HTTP client.

Of aiohttp's client this uses the connection pool (name resolution, TLS, keep-alive) and the response parser. Request
heads are put on the wire here, since what the client library writes is not what came in: it would re-quote the target,
drop a bare `?` and bytes outside UTF-8, add fields of its own, unpack bodies and send requests again by itself.

Rules: foreign exceptions become `UpstreamError`s here and nowhere else. A request is written once, with one exception:
a kept connection that is lost before the head of an answer has come. There an idempotent request is sent again on a
new connection (RFC 9110 §9.2.2, RFC 9112 §9.3.1); others avoid the case by using only a connection that was idle for
less than `_FRESH_ENOUGH`, and are never sent twice. A connection goes back to the pool only after a whole answer to a
whole request.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import Final, NamedTuple

from aiohttp import ClientTimeout, TCPConnector
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.http import StreamWriter
from yarl import URL

from proxy.errors import InternalError, ProxyError, UpstreamTimeout
from proxy.forwarding.body import RequestBody
from proxy.forwarding.headers import Fields, serialize
from proxy.forwarding.rewritten_body import RewrittenBody
from proxy.forwarding.upstream_connection import UpstreamConnection
from proxy.forwarding.upstream_errors import CONNECTION_LOST, FOREIGN_ERRORS, translate
from proxy.forwarding.upstream_response import Interim, UpstreamResponse, abandon, final_response
from proxy.guards.pacing import Turn
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import Origin
from proxy.tasks import BackgroundTasks

_IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))  # RFC 9110 §9.2.2
_FRESH_ENOUGH: Final = 1.0  # seconds
_BUFFER_SIZE: Final = 1 << 16  # bytes read ahead of a slow client
_MAX_LINE: Final = 1 << 15  # bytes of a status line or header field
_MAX_FIELDS: Final = 256


class UpstreamRequest(NamedTuple):
    """A request, ready for the wire but for its framing and `Authorization`.

    `content` is the whole body where it fits in memory; where it is `None`, `body` streams.
    """

    origin: Origin
    method: str
    target: bytes
    fields: Fields
    body: RequestBody | RewrittenBody
    content: bytes | None
    # Is told when the request begins to go out and when it is out, for the platform's rate limit.
    turn: Turn
    # What the origin is reached through; `None`: directly.
    proxy: EgressProxy | None = None


class Upstream:
    """Sends requests to the shops' APIs, over connections of `connector`. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        connector: TCPConnector,
        tasks: BackgroundTasks,
        *,
        connect_timeout: float,
        read_timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self._connector = connector
        self._tasks = tasks
        self._connect_timeout = ClientTimeout(connect=connect_timeout)
        self._read_timeout = read_timeout
        self._clock = clock
        # The only way to have connections of one's own kind from aiohttp's pool.
        connector._factory = partial(UpstreamConnection, asyncio.get_running_loop())  # type: ignore[assignment]  # - aiohttp types it as its own class

    async def send(self, request: UpstreamRequest, authorization: bytes, on_interim: Interim) -> UpstreamResponse:
        """Send `request` and return the head of its answer, with the body yet to come.

        `on_interim` gets the 1xx answers before it. Raises `UpstreamError`, and what the body raises.
        """
        connection, protocol = await self._connect(request, only_new=False)
        kept = protocol.used
        try:
            return await self._exchange(connection, protocol, request, authorization, on_interim)
        except CONNECTION_LOST as error:
            if not kept or request.method not in _IDEMPOTENT:
                raise translate(error) from None
        except FOREIGN_ERRORS as error:
            raise translate(error) from None
        await request.turn.again()
        connection, protocol = await self._connect(request, only_new=True)
        try:
            return await self._exchange(connection, protocol, request, authorization, on_interim)
        except FOREIGN_ERRORS as error:
            raise translate(error) from None

    async def _connect(self, request: UpstreamRequest, *, only_new: bool) -> tuple[Connection, UpstreamConnection]:
        while True:
            try:
                connection = await self._connector.connect(
                    _ConnectionRequest(request.origin, request.proxy), [], self._connect_timeout
                )
            except FOREIGN_ERRORS as error:
                raise translate(error, connecting=True, proxy=request.proxy) from None
            protocol = connection.protocol
            assert isinstance(protocol, UpstreamConnection)  # noqa: S101 - for the type checker: our own factory made it
            if not protocol.used or (not only_new and self._may_be_kept_for(request.method, protocol)):
                return connection, protocol
            connection.close()

    def _may_be_kept_for(self, method: str, protocol: UpstreamConnection) -> bool:
        if protocol.should_close:
            return False  # Something arrived while nothing was asked for; it must not answer the next request.
        if method in _IDEMPOTENT:
            return True
        # `None`: it was not given back by `UpstreamResponse.close`, and nobody knows when.
        return protocol.idle_since is not None and self._clock() - protocol.idle_since < _FRESH_ENOUGH

    async def _exchange(
        self,
        connection: Connection,
        protocol: UpstreamConnection,
        request: UpstreamRequest,
        authorization: bytes,
        on_interim: Interim,
    ) -> UpstreamResponse:
        pump: asyncio.Task[None] | None = None
        try:
            protocol.set_response_params(
                skip_payload=request.method == "HEAD",
                read_until_eof=True,
                auto_decompress=False,
                read_timeout=self._read_timeout,
                read_bufsize=_BUFFER_SIZE,
                max_line_size=_MAX_LINE,
                max_field_size=_MAX_LINE,
                max_headers=_MAX_FIELDS,
            )
            pump = self._write(protocol, request, authorization)
            message, content = await final_response(protocol, on_interim)
        except BaseException:
            await abandon(connection, pump)
            raise
        return UpstreamResponse(message, content, connection, protocol, pump, self._clock)

    def _write(
        self, protocol: UpstreamConnection, request: UpstreamRequest, authorization: bytes
    ) -> asyncio.Task[None] | None:
        """Put the request on the wire; a body that streams is written by the task that is returned."""
        transport = protocol.transport
        if transport is None:
            raise ConnectionResetError("closed before the request was written")
        length = request.body.length if request.content is None else len(request.content)
        framing: Fields = []
        if length is None:
            framing.append((b"Transfer-Encoding", b"chunked"))
        elif length or _wants_length(request):
            framing.append((b"Content-Length", b"%d" % length))
        head = serialize(
            b"%s %s HTTP/1.1" % (request.method.encode(), request.target),
            [*request.fields, *framing, (b"Authorization", authorization)],
        )
        request.turn.begun()
        if request.content is not None:
            transport.write(head + request.content)
            request.turn.sent()
            protocol.finish_request()
            return None
        transport.write(head)
        request.turn.sent()  # not at the end of the body: its pace is the client's, and must not be that of the shop
        return self._tasks.start(self._pump(protocol, request, chunked=length is None), name="upload")

    async def _pump(self, protocol: UpstreamConnection, request: UpstreamRequest, *, chunked: bool) -> None:
        """Write a streaming body, no faster than the upstream takes it. Its errors end the wait for the answer."""
        writer = StreamWriter(protocol, asyncio.get_running_loop())
        if chunked:
            writer.enable_chunking()
        try:
            async with aclosing(request.body.chunks()) as chunks:
                async for chunk in chunks:
                    async with asyncio.timeout(self._read_timeout):
                        await writer.write(chunk)
            await writer.write_eof()
            protocol.finish_request()
        except ConnectionError:
            pass  # The upstream stopped reading; what it has to say, if anything, is read by who waits for it.
        except Exception as error:
            protocol.set_exception(_upload_error(error))
            if protocol.transport is not None:
                protocol.transport.abort()


class _ConnectionRequest(ClientRequest):
    """What the connector must know to find or make a connection; the message itself is written above.

    Kept connections are found by all of it: those through different proxies, or none, are not mixed up.
    """

    def __init__(self, origin: Origin, proxy: EgressProxy | None) -> None:
        # Not super().__init__: it would build a message of its own.
        self.url = URL.build(scheme=origin.scheme, host=origin.host, port=origin.port)
        self.proxy = self.proxy_auth = self.proxy_headers = self.server_hostname = None
        self._ssl = True  # verify, with the connector's context
        if proxy is not None:
            self.original_url = self.url  # of the errors
            self.update_proxy(URL(proxy.url), None, proxy.connect_headers())
            self.update_headers({"Host": f"{self.url.host_subcomponent}:{origin.port}"})  # of CONNECT


def _wants_length(request: UpstreamRequest) -> bool:
    """Tell whether an empty body is announced: if the client did, or where the method expects one (RFC 9110 §8.6)."""
    return request.body.was_announced or request.method in ("POST", "PUT", "PATCH")


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
