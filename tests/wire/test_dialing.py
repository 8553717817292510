"""New connections: where they lead and what through, what is said when there is none, and that none is left behind."""

import asyncio
import errno
import itertools
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.errors import Overloaded, PrivateAddressError, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from proxy.guards.descriptors import Descriptors
from proxy.guards.names import Resolver, SystemNames
from proxy.platforms.egress_proxy import EgressProxy
from proxy.secret import Secret
from proxy.wire.pool import Destination
from proxy.wire.upstream_connection import UpstreamConnection
from tests.dialing import dialer
from tests.egress import certified, tunnelling
from tests.names import Names
from tests.peers import Connection, Peer, answering, closing, response, serving

AUTHORITY = trustme.CA()
ANOTHER = trustme.CA()
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Dialing:
    """A dialer, and what it says of connections that have ended."""

    def __init__(self, resolver: Resolver | None, tls: ssl.SSLContext | None, within: float) -> None:
        self.descriptors = Descriptors()
        self.dialer = dialer(resolver, tls=tls, descriptors=self.descriptors, within=within)
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
        """How many connections count as open."""
        return self.descriptors.taken


@asynccontextmanager
async def dialing(
    resolver: Resolver | None = None, *, tls: ssl.SSLContext | None = None, within: float = 5.0
) -> AsyncIterator[Dialing]:
    async with asyncio.timeout(20):
        yield Dialing(resolver, tls, within)


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


# Several addresses


@asynccontextmanager
async def hanging(port: int) -> AsyncIterator[None]:
    """Have connections to 127.0.0.2 neither made nor refused: its queue is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.2", port), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(full.getsockname())
        yield


@pytest.mark.parametrize("dead", [("127.0.0.2",), ("::1",), ("2001:db8::1",), ("127.0.0.2", "127.0.0.3", "::1")])
@pytest.mark.parametrize("last", [True, False])
async def test_an_address_that_is_dead_makes_room_for_the_next(dead: tuple[str, ...], last: bool) -> None:
    names = Names(*(("127.0.0.1", *dead) if last else (*dead, "127.0.0.1")))
    async with serving(answering(response(b"hello"))) as api, dialing(names) as here:
        connection = await here.dial(to(api))
        assert await asked(connection) == b"hello"
        assert connection.transport.get_extra_info("peername")[0] == "127.0.0.1"
        await here.end(connection)

    assert names.asked == [("api.example", api.port, socket.AF_UNSPEC)]  # once


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse where a queue is full")
async def test_an_address_that_hangs_is_not_waited_for() -> None:
    async with (
        serving(answering(response(b"hello"))) as api,
        hanging(api.port),
        dialing(Names("127.0.0.2", "127.0.0.1")) as here,
    ):
        connection = await here.dial(to(api))
        assert await asked(connection) == b"hello"
        await here.end(connection)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse where a queue is full")
async def test_where_all_hang_it_is_given_up_in_time() -> None:
    async with (
        serving(answering(response())) as api,
        hanging(api.port),
        dialing(Names("127.0.0.2"), within=0.3) as here,
    ):
        told = await refused(here, to(api))
        assert here.in_use == 0

    assert (type(told), told.proxy_status) == (UpstreamTimeout, "connection_timeout")
    assert told.reason == f"api.example:{api.port}: TimeoutError"


async def test_where_all_are_dead_the_log_has_each() -> None:
    async with serving(answering(response())) as gone:
        pass
    async with dialing(Names("127.0.0.1", "127.0.0.2")) as here:
        told = await refused(here, to(gone))
        assert here.in_use == 0

    assert (type(told), told.proxy_status) == (UpstreamUnreachable, "connection_refused")
    assert told.reason.startswith(f"api.example:{gone.port}: ")
    assert all(address in told.reason for address in ("127.0.0.1", "127.0.0.2"))
    assert "127.0.0" not in told.detail


async def test_a_name_without_an_address_is_told() -> None:
    async with dialing(Names()) as here:
        told = await refused(here, Destination("http", "api.example", 80, None))

    assert (told.proxy_status, told.detail) == ("dns_error", "The host name of the shop's API can't be resolved.")


@pytest.mark.parametrize(
    "certificate", [certified(ANOTHER, "api.example"), certified(AUTHORITY, "other.example"), None]
)
async def test_an_address_that_can_not_be_trusted_makes_room_for_the_next(certificate: ssl.SSLContext | None) -> None:
    names = Names("127.0.0.2", "127.0.0.1")
    got = b""

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        writer.write(b"220 mail.example ESMTP\r\n")
        with suppress(ConnectionError):
            got += await reader.read() if certificate else b""
        writer.close()

    async with (
        serving(answering(response(b"hello")), certified(AUTHORITY, "api.example")) as api,
        await asyncio.start_server(elsewhere, "127.0.0.2", api.port, ssl=certificate),
        dialing(names, tls=trusting(AUTHORITY)) as here,
    ):
        connection = await here.dial(to(api, "https"))
        assert await asked(connection) == b"hello"
        assert connection.transport.get_extra_info("peername")[0] == "127.0.0.1"
        await here.end(connection)

    assert (len(names.asked), got) == (1, b"")


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


async def test_an_address_is_verified_as_such_and_a_dot_at_the_end_is_no_part_of_a_name() -> None:
    for host, certificate in (("127.0.0.1", "127.0.0.1"), ("api.example.", "api.example")):
        async with (
            serving(answering(response(b"hello")), certified(AUTHORITY, certificate)) as api,
            dialing(tls=trusting(AUTHORITY)) as here,
        ):
            connection = await here.dial(to(api, "https", host))
            assert await asked(connection) == b"hello"
            await here.end(connection)


@pytest.mark.parametrize(
    ("host", "certificate"),
    [("127.0.0.1", "api.example"), ("127.0.0.1", "127.0.0.2"), ("a.api.example", "api.example")],
)
async def test_a_certificate_for_another_address_or_name_is_none(host: str, certificate: str) -> None:
    async with (
        serving(answering(response()), certified(AUTHORITY, certificate)) as api,
        dialing(tls=trusting(AUTHORITY)) as here,
    ):
        error = await refused(here, to(api, "https", host))

    assert error.proxy_status == "tls_certificate_error"
    assert api.received == []


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
    async with dialing(SystemNames()) as here:
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


async def test_an_upstream_that_closes_at_once_is_told_and_not_waited_for() -> None:
    async def closing_at_once(connection: Connection) -> None:
        connection.close()

    async with serving(closing_at_once) as api, dialing(within=20.0) as here:
        for _ in range(20):  # it may be seen before the connection is handed over, or after
            with pytest.raises(UpstreamUnreachable) as caught:
                await asked(await here.dial(to(api)))
            assert caught.value.proxy_status == "connection_terminated"
        while here.in_use:  # noqa: ASYNC110 - the transport tells it in this loop
            await asyncio.sleep(0)


async def test_a_system_without_descriptors_is_our_own_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none_left(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("proxy.wire.dialing.start_connection", none_left)
    async with dialing() as here:
        with pytest.raises(Overloaded):
            await here.dial(Destination("http", "api.example", 80, None))
        assert here.in_use == 0


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux alone tells what is open")
@pytest.mark.parametrize("kind", ["plain", "tls", "tunnel"])
async def test_whenever_who_wants_it_leaves_nothing_is_left_open(kind: str) -> None:
    """At each turn of the loop, until it is made."""
    certificate = None if kind == "plain" else certified(AUTHORITY, "api.example")
    async with (
        serving(answering(response()), certificate) as api,
        serving(tunnelling({b"api.example:443": api.port}, {})) as proxy,
        dialing(tls=trusting(AUTHORITY)) as here,
    ):
        scheme = "http" if kind == "plain" else "https"
        through = Destination("https", "api.example", 443, egress(proxy))
        await here.end(await here.dial(through if kind == "tunnel" else to(api, scheme)))  # what is made once, is made
        await asyncio.sleep(0.05)
        before, made = open_files(), False
        for turns in itertools.count():
            attempt = asyncio.create_task(here.dial(through if kind == "tunnel" else to(api, scheme)))
            for _ in range(turns):
                await asyncio.sleep(0)
            attempt.cancel()
            made = (await asyncio.wait([attempt]))[0].pop().cancelled() is False
            if made:
                attempt.result().abort()
                break
        while open_files() > before or here.in_use:  # noqa: ASYNC110 - both ends are in this process
            await asyncio.sleep(0.01)

    assert turns > 3


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


@pytest.mark.parametrize("behind", [b"no TLS", b"\x16\x03\x03", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_what_is_said_in_a_tunnel_before_tls_ends_it(behind: bytes) -> None:
    """It can't be the platform's, which waits to be spoken to."""
    established = b"HTTP/1.1 200 OK\r\n\r\n" + behind
    async with (
        serving(answering(response()), certified(AUTHORITY, "api.example")) as api,
        serving(tunnelling({b"api.example:443": api.port}, {}, established)) as proxy,
        dialing(tls=trusting(AUTHORITY)) as here,
    ):
        told = await refused(here, Destination("https", "api.example", 443, egress(proxy)))
        assert here.in_use == 0

    assert (type(told), told.proxy_status) == (UpstreamUnreachable, "tls_protocol_error")
    assert api.received == []


async def test_in_a_tunnel_the_platform_is_verified_by_its_own_name() -> None:
    async with (
        serving(answering(response()), certified(AUTHORITY, "egress.internal")) as api,
        serving(tunnelling({b"api.example:443": api.port}, {})) as proxy,
        dialing(tls=trusting(AUTHORITY)) as here,
    ):
        told = await refused(here, Destination("https", "api.example", 443, egress(proxy)))

    assert told.proxy_status == "tls_certificate_error"
    assert api.received == []
