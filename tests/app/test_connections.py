"""The connections to the platforms, as the app makes them."""

import aiohttp

from proxy.app import open_connections
from proxy.config import UpstreamConfig
from tests.peers import Connection, response, serving


async def test_a_connection_that_the_token_endpoint_has_closed_costs_no_token() -> None:
    async def closing_late(connection: Connection) -> None:
        """Answer as if to keep the connection, and break it when the next request comes."""
        await connection.read_request()
        await connection.send(response())
        if await connection.read_request():
            connection.reset()

    async with serving(closing_late) as peer, open_connections(UpstreamConfig()) as connections:
        for _ in range(3):
            async with connections.sessions[True].post(f"http://127.0.0.1:{peer.port}/", data=b"a=b") as answer:
                assert answer.status == 200

    assert peer.connections == 3


async def test_no_cookie_is_kept_between_token_requests() -> None:
    async def with_cookie(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(response(fields=b"Set-Cookie: a=b\r\n"))

    async with serving(with_cookie) as peer, open_connections(UpstreamConfig()) as connections:
        for _ in range(2):
            await connections.sessions[True].post(f"http://localhost:{peer.port}/", data=b"")

    assert [request.values(b"Cookie") for request in peer.received] == [[], []]


async def test_connections_to_the_apis_are_not_limited_in_number() -> None:
    async with open_connections(UpstreamConfig()) as connections:
        for connector in connections.connectors.values():
            assert isinstance(connector, aiohttp.TCPConnector)
            assert (connector.limit, connector.limit_per_host) == (0, 0)
