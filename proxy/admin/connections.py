"""The connections of the admin port: one request on each, so many at once, and none for longer than it needs.

Rules: nobody is kept out, whatever others do or don't do with theirs. Where all places are taken, the address that has
most of them makes room for the next: with a connection on which no request has come, or else with its oldest. A request
has to come soon, and its answer to be taken; how long a page takes to be made is not the client's matter.
"""

import asyncio
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from proxy.admin.making import Answer
from proxy.platforms.addresses import IpAddress, source_of
from proxy.wire.client_response import ClientResponse
from proxy.wire.client_watch import ClientLimits
from proxy.wire.listener import Held
from proxy.wire.request import ClientRequest

MAX_CONNECTIONS: Final = 32
_ASKED_WITHIN: Final = 3.0  # seconds
_TAKEN_WITHIN: Final = 10.0  # seconds, from the beginning of the answer to its last byte
_MAX_HEAD: Final = 8192  # bytes of a request line, and of all fields
_MAX_FIELDS: Final = 100


@dataclass(slots=True)
class _Place:
    source: IpAddress | None
    asked: bool = False
    end: asyncio.TimerHandle | None = None


def limits() -> ClientLimits:
    """Return what clients may do."""
    return ClientLimits(
        max_request_line=_MAX_HEAD,
        max_header_size=_MAX_HEAD,
        max_header_count=_MAX_FIELDS,
        header_timeout=_ASKED_WITHIN,
        keep_alive_timeout=_ASKED_WITHIN,
        min_body_rate=1.0,
        rate_window=_TAKEN_WITHIN,
        max_requests_per_connection=1,
    )


class Connections:
    """Who holds a connection, in the order in which they came; a guard, as `proxy.wire.listener` asks for one."""

    def __init__(self) -> None:
        self._places: dict[Held, _Place] = {}

    def admit(self, connection: Held, address: str) -> bool:
        """Give the connection a place, if need be that of another."""
        if len(self._places) >= MAX_CONNECTIONS:
            self._make_room()
        self._places[connection] = _Place(source_of(address))
        return True

    def begin(self, connection: Held) -> None:
        """Take note that a request has come."""
        if connection in self._places:
            self._places[connection].asked = True

    def end(self, connection: Held) -> None:
        """Keep the place until the connection has ended: it has no other request."""

    def leave(self, connection: Held) -> None:
        """Take the place back, if the connection has one."""
        place = self._places.pop(connection, None)
        if place is not None and place.end is not None:
            place.end.cancel()

    def held(self) -> list[Held]:
        """Return the connections that have a place."""
        return list(self._places)

    def handshake_failed(self, address: str, reason: str) -> None:
        """Do nothing: there is no TLS here."""

    def __len__(self) -> int:
        """Count the connections that have a place."""
        return len(self._places)

    def drop_silent(self) -> None:
        """End the connections on which no request has come."""
        for connection in [each for each, place in self._places.items() if not place.asked]:
            connection.drop()

    async def send(self, request: ClientRequest, answer: Answer, *, whole: bool) -> bool:
        """Send an answer; tell that the connection is not kept. The request came `whole`, or more of it may come."""
        connection, response = request.connection, ClientResponse(request)
        if place := self._places.get(connection):
            place.end = connection.loop.call_later(_TAKEN_WITHIN, connection.drop)
        if whole and (request.body is None or request.body.ended):
            response.keep_alive = False
        else:
            response.refuse_rest()
        head_only = request.method == "HEAD"
        try:
            response.start(
                answer.status,
                answer.reason,
                answer.lines,
                length=b"%d" % answer.length,
                first=b"",
                complete=head_only,
            )
            if not head_only:
                async with aclosing(answer.body) as body:
                    async for piece in body:
                        response.write(piece)
                        await connection.drain()
        except ConnectionError:
            return False
        return await response.end()

    def _make_room(self) -> None:
        """End a connection."""
        held = Counter(place.source for place in self._places.values())
        most = max(held.values())
        crowd = [(connection, place) for connection, place in self._places.items() if held[place.source] == most]
        leaving = next((connection for connection, place in crowd if not place.asked), crowd[0][0])
        self.leave(leaving)
        leaving.drop()
