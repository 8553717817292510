"""The connections to the platforms, as the app makes them."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
from yarl import URL

from proxy.app import open_connections
from proxy.app.connections import Connections
from proxy.certificate import Authorities
from proxy.config import UpstreamConfig
from proxy.errors import UpstreamUnreachable
from proxy.forwarding.fields import answer_fields
from proxy.guards.descriptors import Descriptors
from proxy.wire.pool import Destination
from tests.egress import certified
from tests.names import Names
from tests.peers import Connection, answering, response, serving

AUTHORITY = trustme.CA()
TRUSTING = UpstreamConfig(ca_file=Authorities(Path("ca.pem"), AUTHORITY.cert_pem.bytes().decode()))


async def posted(connections: Connections, url: str) -> int:
    asked = connections.client.ask("POST", URL(url), {}, b"a=b", way=None, any_address=True, within=10.0, limit=99)
    return (await asked).status


async def test_a_connection_that_the_token_endpoint_has_closed_costs_no_token() -> None:
    async def closing_late(connection: Connection) -> None:
        """Answer as if to keep the connection, and break it when the next request comes."""
        await connection.read_request()
        await connection.send(response())
        if await connection.read_request():
            connection.reset()

    async with serving(closing_late) as peer, open_connections(UpstreamConfig()) as connections:
        for _ in range(3):
            assert await posted(connections, f"http://127.0.0.1:{peer.port}/") == 200

    assert peer.connections == 3


async def test_no_cookie_is_kept_between_token_requests() -> None:
    async def with_cookie(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(response(fields=b"Set-Cookie: a=b\r\n"))

    async with serving(with_cookie) as peer, open_connections(UpstreamConfig(), Names("127.0.0.1")) as connections:
        for _ in range(2):
            await posted(connections, f"http://localhost:{peer.port}/")

    assert [request.values(b"Cookie") for request in peer.received] == [[], []]


async def test_connections_to_the_apis_are_not_limited_in_number() -> None:
    async with serving(answering(response())) as peer, open_connections(UpstreamConfig()) as connections:
        dialer = connections.dialer(True, timeout=10.0)
        here = Destination("http", "127.0.0.1", peer.port, None)
        made = [await dialer.dial(here, lambda _: None) for _ in range(150)]
        assert len({connection.transport.get_extra_info("sockname") for connection in made}) == len(made)
        for connection in made:
            connection.abort()


async def test_a_token_request_waits_for_no_descriptor_but_counts() -> None:
    descriptors, counted = Descriptors(), []
    descriptors._for_connections.limit = 0

    async def script(connection: Connection) -> None:
        await connection.read_request()
        counted.append(descriptors.taken)
        await connection.send(response())

    async with asyncio.timeout(4), serving(script) as peer:  # less than they are waited for
        connections = Connections(UpstreamConfig(), Names(), descriptors, answer_fields())
        assert await posted(connections, f"http://127.0.0.1:{peer.port}/") == 200
        connections.close()

    assert counted == [1]


async def test_whom_to_trust_is_read_once_and_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    make, read = ssl.create_default_context, []

    def counted() -> ssl.SSLContext:
        read.append(1)
        return make()

    monkeypatch.setattr(ssl, "create_default_context", counted)
    async with (
        serving(answering(response())) as plain,
        serving(answering(response()), certified(AUTHORITY, "127.0.0.1")) as secured,
        open_connections(TRUSTING) as connections,
    ):
        await posted(connections, f"http://127.0.0.1:{plain.port}/")
        assert read == []
        waiting = [posted(connections, f"https://127.0.0.1:{secured.port}/") for _ in range(3)]
        assert await asyncio.gather(*waiting) == [200, 200, 200]

    assert read == [1]


async def test_who_leaves_while_it_is_read_leaves_it_to_the_others() -> None:
    async with (
        serving(answering(response()), certified(AUTHORITY, "127.0.0.1")) as peer,
        open_connections(TRUSTING) as connections,
    ):
        url = f"https://127.0.0.1:{peer.port}/"
        first, second = (asyncio.create_task(posted(connections, url)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 200
        assert first.cancelled()


async def test_a_system_without_a_thread_left_fails_the_call_and_not_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise OSError(11, "no thread")

    async with (
        serving(answering(response()), certified(AUTHORITY, "127.0.0.1")) as peer,
        open_connections(TRUSTING) as connections,
    ):
        url = f"https://127.0.0.1:{peer.port}/"
        with monkeypatch.context() as patch:
            patch.setattr("proxy.app.connections.in_thread", none_left)
            with pytest.raises(UpstreamUnreachable, match="No connection"):
                await posted(connections, url)
        assert await posted(connections, url) == 200
