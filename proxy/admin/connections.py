"""The connections of the admin port: one request on each, so many at once, and none for longer than a time.

Rules: nobody is kept out, whatever others do or don't do with theirs: where all places are taken, the connection that
came first makes room, since all the others had less time to come to their end. What is no HTTP request is told so in
a fixed sentence, without repeating it to anybody: it may hold secrets.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final, cast

from aiohttp import web

MAX_CONNECTIONS: Final = 32
_LONGEST: Final = 10.0  # seconds, from the beginning to the last byte taken
_PIECE: Final = 65_536


class Connections:
    """Makes connections for a listener. `headers` are those of answers that no handler makes."""

    def __init__(self, server: web.Server, headers: Mapping[str, str]) -> None:
        self._server = server
        self.headers = headers
        self.open: dict[_Connection, asyncio.Transport] = {}  # in the order in which they came

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one, but of another class
        places = self._connections.open
        if len(places) >= MAX_CONNECTIONS:
            places.pop(next(iter(places))).abort()
        places[self] = transport
        self._end = asyncio.get_running_loop().call_later(_LONGEST, transport.abort)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.open.pop(self, None)
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

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


def in_pieces(body: bytes, content_type: str) -> web.Response:
    """Return an answer that is handed to the connection as the client takes it: many may ask at once for long ones."""
    return web.Response(body=_pieces(body), headers={"Content-Type": content_type, "Content-Length": str(len(body))})


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]
