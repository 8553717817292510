"""New connections: what they lead through, what is said when there is none, and what the connector knows of them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.errors import PrivateAddressError, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from proxy.forwarding.fields import answer_fields
from proxy.guards.descriptors import Descriptors
from proxy.platforms.egress_proxy import EgressProxy
from proxy.secret import Secret
from proxy.wire.dialing import Dialer
from proxy.wire.pool import Destination
from proxy.wire.transports import upstream_loop
from proxy.wire.upstream_connection import UpstreamConnection
from tests.egress import certified, tunnelling
from tests.names import Names
from tests.peers import Connection, Peer, answering, closing, response, serving

AUTHORITY = trustme.CA()
ANOTHER = trustme.CA()
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Dialing:
    """A dialer, and what it says of connections that have ended."""

    def __init__(self, connector: aiohttp.TCPConnector, within: float) -> None:
        self.connector = connector
        self.dialer = Dialer(connector, Descriptors(), answer_fields(), timeout=within)
        self.lost: list[UpstreamConnection] = []
        self.one_lost = asyncio.Event()

    async def dial(self, destination: Destination) -> UpstreamConnection:
        return await self.dialer.dial(destination, self._lost)

    def _lost(self, connection: UpstreamConnection) -> None:
        self.lost.append(connection)
        self.one_lost.set()

    async def end(self, connection: UpstreamConnection) -> None:
        connection.abort()
        await self.one_lost.wait()

    @property
    def in_use(self) -> int:
        """How many connections the connector takes for open."""
        return len(self.connector._acquired)


@asynccontextmanager
async def dialing(
    resolver: AbstractResolver | None = None, *, tls: ssl.SSLContext | None = None, within: float = 5.0
) -> AsyncIterator[Dialing]:
    connector = aiohttp.TCPConnector(
        limit=0,
        force_close=True,
        resolver=resolver or Names("127.0.0.1"),
        ssl=tls or ssl.create_default_context(),
        loop=upstream_loop(asyncio.get_running_loop()),
    )
    async with asyncio.timeout(20), connector:
        yield Dialing(connector, within)


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def to(peer: Peer, scheme: str = "http", host: str = "api.example", way: EgressProxy | None = None) -> Destination:
    return Destination(scheme, host, peer.port, way)


async def asked(connection: UpstreamConnection) -> bytes | None:
    """What the upstream says to a request."""
    _, _, _, _, content, _ = await connection.ask(GET, bodiless=False, read_timeout=5.0, whole=True)
    return content


async def test_a_connection_leads_to_its_host_and_carries_requests() -> None:
    names = Names("127.0.0.1")
    async with serving(answering(response(b"hello"))) as api, dialing(names) as here:
        connection = await here.dial(to(api))
        assert [await asked(connection) for _ in range(2)] == [b"hello", b"hello"]
        await here.end(connection)

    assert [name for name, _, _ in names.asked] == ["api.example"]
    assert [each.head for each in api.received] == [GET, GET]  # byte for byte, and nothing else


async def test_each_one_is_new_and_the_end_of_each_is_told_once() -> None:
    async with serving(answering(response())) as api, dialing() as here:
        first, second = await here.dial(to(api)), await here.dial(to(api))
        assert (here.in_use, here.lost) == (2, [])
        await here.end(first)
        assert (here.in_use, here.lost) == (1, [first])
        here.one_lost.clear()
        await here.end(second)
        assert (here.in_use, here.lost) == (0, [first, second])

    assert api.connections == 2


async def test_the_end_is_told_when_the_upstream_ends_it_too() -> None:
    async with serving(closing(response(b"last"))) as api, dialing() as here:
        connection = await here.dial(to(api))
        assert await asked(connection) == b"last"
        await here.one_lost.wait()

        assert (here.in_use, here.lost) == (0, [connection])


async def test_an_address_needs_no_name() -> None:
    names = Names()
    async with serving(answering(response(b"hello"))) as api, dialing(names) as here:
        connection = await here.dial(to(api, host="127.0.0.1"))
        assert await asked(connection) == b"hello"
        await here.end(connection)

    assert names.asked == []


# TLS


async def test_over_tls_the_name_is_asked_for_and_verified() -> None:
    tls = trusting(AUTHORITY)
    async with (
        serving(answering(response(b"hello")), certified(AUTHORITY, "api.example")) as api,
        dialing(tls=tls) as here,
    ):
        connection = await here.dial(to(api, "https"))
        assert await asked(connection) == b"hello"
        assert connection.transport.get_extra_info("peercert")["subjectAltName"] == (("DNS", "api.example"),)
        await here.end(connection)


@pytest.mark.parametrize(("authority", "name"), [(ANOTHER, "api.example"), (AUTHORITY, "other.example")])
async def test_a_certificate_that_can_not_be_trusted_ends_it(authority: trustme.CA, name: str) -> None:
    async with (
        serving(answering(response()), certified(authority, name)) as api,
        dialing(tls=trusting(AUTHORITY)) as here,
    ):
        error = await refused(here, to(api, "https"))
        assert here.in_use == 0

    assert (type(error), error.proxy_status) == (UpstreamUnreachable, "tls_certificate_error")
    assert (api.received, here.lost) == ([], [])


async def test_a_port_without_tls_is_told_as_such() -> None:
    async def greeting(connection: Connection) -> None:
        await connection.send(b"220 mail.example ESMTP\r\n")

    async with serving(greeting) as api, dialing() as here:
        error = await refused(here, to(api, "https"))

    assert (type(error), error.proxy_status) == (UpstreamUnreachable, "tls_protocol_error")


# What goes wrong


async def refused(here: Dialing, destination: Destination) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await here.dial(destination)
    return caught.value


class Silent(AbstractResolver):
    """A name server that never answers."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        await asyncio.Event().wait()
        return []

    async def close(self) -> None:
        """Have nothing to close."""


class Broken(Silent):
    """One that answers with an error."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise self._error


@pytest.mark.parametrize(
    ("error", "proxy_status", "named"),
    [
        (socket.gaierror(-2, "Name or service not known"), "dns_error", "Name or service not known"),
        (PrivateAddressError("api.example resolves to 10.0.0.1"), "destination_ip_prohibited", "10.0.0.1"),
    ],
)
async def test_a_name_that_leads_nowhere_is_told_with_its_cause(error: OSError, proxy_status: str, named: str) -> None:
    async with dialing(Broken(error)) as here:
        told = await refused(here, Destination("http", "api.example", 80, None))

    assert (type(told), told.proxy_status) == (UpstreamUnreachable, proxy_status)
    assert named in told.reason
    assert named not in told.detail


async def test_a_name_that_can_not_be_is_no_accident_of_ours() -> None:
    async with dialing(aiohttp.ThreadedResolver()) as here:
        told = await refused(here, Destination("http", "x" * 64 + ".example", 80, None))

    assert (type(told), told.proxy_status) == (UpstreamUnreachable, "dns_error")


async def test_who_takes_too_long_is_given_up() -> None:
    async with dialing(Silent(), within=0.05) as here:
        told = await refused(here, Destination("http", "api.example", 80, None))
        assert here.in_use == 0

    assert (type(told), told.proxy_status) == (UpstreamTimeout, "connection_timeout")
    assert "upstream.connect_timeout" in told.detail


async def test_a_port_that_nobody_listens_on_refuses() -> None:
    async with serving(answering(response())) as gone:
        pass
    async with dialing() as here:
        told = await refused(here, to(gone))
        assert here.in_use == 0

    assert (type(told), told.proxy_status) == (UpstreamUnreachable, "connection_refused")


async def test_who_leaves_while_it_is_made_leaves_nothing() -> None:
    async with dialing(Silent()) as here:
        attempt = asyncio.create_task(here.dial(Destination("http", "api.example", 80, None)))
        await asyncio.sleep(0)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt

        assert (here.in_use, here.lost) == (0, [])


# Through an egress proxy


def egress(peer: Peer) -> EgressProxy:
    return EgressProxy("egress.internal", peer.port, "me", Secret("p@ss"))


async def test_through_an_egress_proxy_it_sees_the_target_and_the_upstream_sees_the_request() -> None:
    names = Names("127.0.0.1")
    async with (
        serving(answering(response(b"hello")), certified(AUTHORITY, "api.example")) as api,
        serving(tunnelling({b"api.example:8443": api.port}, {})) as proxy,
        dialing(names, tls=trusting(AUTHORITY)) as here,
    ):
        connection = await here.dial(Destination("https", "api.example", 8443, egress(proxy)))
        assert await asked(connection) == b"hello"
        await here.end(connection)
        assert (here.in_use, here.lost) == (0, [connection])

    [connect] = proxy.received
    assert connect.request_line == b"CONNECT api.example:8443 HTTP/1.1"
    assert connect.values(b"Host") == [b"api.example:8443"]
    assert connect.values(b"Proxy-Authorization") == [b"Basic bWU6cEBzcw=="]
    assert api.received[0].head == GET
    assert [name for name, _, _ in names.asked] == ["egress.internal"]


@pytest.mark.parametrize(
    ("status", "proxy_status"),
    [(b"403 Forbidden", "destination_unavailable"), (b"407 Who are you", "proxy_configuration_error")],
)
async def test_an_egress_proxy_that_refuses_is_told_from_the_platform(status: bytes, proxy_status: str) -> None:
    async with serving(closing(response(status=status))) as proxy, dialing(tls=trusting(AUTHORITY)) as here:
        told = await refused(here, Destination("https", "api.example", 8443, egress(proxy)))
        assert here.in_use == 0

    assert (type(told), told.proxy_status) == (UpstreamUnreachable, proxy_status)
    assert "api.example:8443" in told.reason
    assert "p@ss" not in repr(told) + told.reason + told.detail
