"""The connections of the admin port: one request on each, so many at once, and none for longer than it needs.

Rules: nobody is kept out, whatever others do or don't do with theirs. Where all places are taken, the address that has
most of them makes room for the next: with a connection on which no request has come, or else with its oldest. A request
has to come soon, and its answer to be taken; how long a page takes to be made is not the client's matter. What is no
HTTP request is told so in a fixed sentence, without repeating it to anybody: it may hold secrets.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast

from aiohttp import web

from proxy.platforms.addresses import IpAddress, source_of

MAX_CONNECTIONS: Final = 32
_ASKED_WITHIN: Final = 3.0  # seconds
_TAKEN_WITHIN: Final = 10.0  # seconds, from the beginning of the answer to its last byte


class Connections:
    """Makes connections for a listener. `headers` are those of answers that no handler makes."""

    def __init__(self, server: web.Server, headers: Mapping[str, str]) -> None:
        self._server = server
        self.headers = headers
        self.open: dict[_Connection, asyncio.Transport] = {}  # in the order in which they came

    def make_room(self) -> None:
        """End a connection."""
        held = Counter(connection.source for connection in self.open)
        most = max(held.values())
        crowd = [connection for connection in self.open if held[connection.source] == most]
        leaving = next((connection for connection in crowd if not connection.asked), crowd[0])
        self.open.pop(leaving).abort()

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol for another one."""
        return _Connection(self, self._server)


class _Connection(web.RequestHandler):
    def __init__(self, connections: Connections, server: web.Server) -> None:
        # No keepalive_timeout: there is one request, and a time for all of it.
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, access_log=None, keepalive_timeout=0)  # type: ignore[arg-type]  # - any server will do
        self._connections = connections
        self._end: asyncio.TimerHandle | None = None
        self.source: IpAddress | None = None
        self.asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one, but of another class
        peer = transport.get_extra_info("peername")
        self.source = source_of(peer[0] if peer else None)
        if len(self._connections.open) >= MAX_CONNECTIONS:
            self._connections.make_room()
        self._connections.open[self] = transport
        self._end_after(_ASKED_WITHIN)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.open.pop(self, None)
        self._end_after(None)
        super().connection_lost(exc)

    async def _handle_request(
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:
        self.asked = True
        self._end_after(None)
        return await super()._handle_request(request, start_time, request_handler)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer."""
        self._end_after(_TAKEN_WITHIN)
        return await super().finish_response(request, resp, start_time)

    def _end_after(self, seconds: float | None) -> None:
        """Have the connection end after so many seconds from now, in place of what was said before."""
        if self._end is not None:
            self._end.cancel()
        transport = self._connections.open.get(self)
        self._end = None
        if seconds is not None and transport is not None:
            self._end = asyncio.get_running_loop().call_later(seconds, transport.abort)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP request, and what failed by a mistake of ours, which is logged.

        `message` is left out: it repeats what the client sent.
        """
        if status < 500:
            return web.Response(status=status, text="This is no HTTP request.\n", headers=self._connections.headers)
        self.log_exception("The page could not be made", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("The answer has begun already.")
        return web.Response(status=status, text="The page could not be made; the log says why.\n")
