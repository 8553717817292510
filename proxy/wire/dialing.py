"""Makes connections to upstreams: resolves their names, connects, does TLS, and CONNECT where it is due.

Rules: what is connected to are the addresses that the resolver gave, which decides what may be; nobody resolves them
once more. They are tried side by side, the next one a moment later (RFC 8305), and one with which there is no TLS makes
room for the next. Foreign exceptions become `UpstreamError`s here; their cause says more. A connection is closed,
whenever its making ends.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from socket import AddressFamily
from typing import TYPE_CHECKING, Final, Protocol

from aiohappyeyeballs import AddrInfoType, addr_to_addr_infos, pop_addr_infos_interleave, start_connection

from proxy.errors import EgressProxyError
from proxy.wire.descriptors import Descriptors, none_left
from proxy.wire.head import FieldTable
from proxy.wire.opening import Opening, connect_request
from proxy.wire.pool import Destination
from proxy.wire.upstream_connection import UpstreamConnection
from proxy.wire.upstream_errors import (
    FOREIGN_ERRORS,
    NotConnectedError,
    NotResolvedError,
    RefusedByProxyError,
    ServerDisconnectedError,
    Way,
    translate,
)

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

_NEXT_AFTER: Final = 0.25  # seconds until the next address is tried too; RFC 8305 §5


class Resolver(Protocol):
    """Finds the addresses of a host, with the ports to call there. Raises `OSError` and `UnicodeError`."""

    async def resolve(self, host: str, port: int, family: AddressFamily) -> "Sequence[ResolveResult]": ...


class Dialer:
    """Makes connections to the addresses that `resolver` finds, on `loop`. Answers are read by `table`.

    `tls` returns what says whom to trust. Each connection has `timeout` seconds, if that is no `None`, and takes one of
    the `descriptors`, until it has ended.
    """

    def __init__(
        self,
        resolver: Resolver,
        tls: Callable[[], Awaitable[ssl.SSLContext]],
        descriptors: Descriptors,
        table: FieldTable,
        loop: asyncio.AbstractEventLoop,
        *,
        timeout: float | None,
    ) -> None:
        self._resolver = resolver
        self._tls = tls
        self._descriptors = descriptors
        self._table = table
        self._loop = loop
        self._timeout = timeout

    async def dial(self, destination: Destination, lost: Callable[[UpstreamConnection], object]) -> UpstreamConnection:
        """Return a new connection; `lost` is called when it has ended. Raises `UpstreamError` and `Overloaded`."""
        await self._descriptors.take()
        try:
            transport, opening = await self._open(destination)
            if opening.ended:
                raise ServerDisconnectedError
        except BaseException as error:
            self._descriptors.give()
            if isinstance(error, FOREIGN_ERRORS):
                raise none_left(error.__cause__ or error) or translate(error, destination) from error
            raise
        connection = UpstreamConnection(transport, self._table, partial(self._ended, lost))
        transport.set_protocol(connection)
        if opening.came:
            connection.data_received(opening.came)
        return connection

    def _ended(self, lost: Callable[[UpstreamConnection], object], connection: UpstreamConnection) -> None:
        self._descriptors.give()
        lost(connection)

    async def _open(self, destination: Destination) -> tuple[asyncio.Transport, Opening]:
        scheme, host, port, way = destination
        tls = await self._tls() if scheme == "https" else None  # not timed: it is our own work
        async with asyncio.timeout(self._timeout):
            if way is None:
                return await self._connect(host, port, tls)
            return await self._through(way, host, port, tls)

    async def _connect(self, host: str, port: int, tls: ssl.SSLContext | None) -> tuple[asyncio.Transport, Opening]:
        addresses = await self._addresses(host, port)
        while True:
            try:
                connected = await start_connection(addresses, happy_eyeballs_delay=_NEXT_AFTER, loop=self._loop)
            except OSError as error:
                raise NotConnectedError from error
            try:
                name = None if tls is None else _name(host)
                return await self._loop.create_connection(Opening, sock=connected, ssl=tls, server_hostname=name)
            except OSError:
                pop_addr_infos_interleave(addresses)
                if not addresses:
                    raise

    async def _addresses(self, host: str, port: int) -> list[AddrInfoType]:
        with suppress(ValueError):
            return addr_to_addr_infos((str(ip_address(host)), port)) or []
        try:
            found = await self._resolver.resolve(host, port, AddressFamily.AF_UNSPEC)
        except OSError as error:
            raise NotResolvedError from error
        if not found:
            raise NotResolvedError("it has no address")
        return [info for each in found for info in addr_to_addr_infos((each["host"], each["port"])) or []]

    async def _through(
        self, way: Way, host: str, port: int, tls: ssl.SSLContext | None
    ) -> tuple[asyncio.Transport, Opening]:
        try:
            below, asked = await self._connect(way.host, way.port, None)
        except NotConnectedError as error:
            raise EgressProxyError from error.__cause__
        try:
            below.write(connect_request(host, port, way.connect_headers()))
            status = await asked.status()
            if status != 200:
                raise RefusedByProxyError(status)
            if asked.ended:
                raise ServerDisconnectedError
            if asked.came:  # before the handshake it can only be from somebody in between, or from no TLS server
                raise ssl.SSLError("what came is not TLS")
            assert tls is not None  # noqa: S101 - `http://` origins are called directly
            opening = Opening()
            transport = await self._loop.start_tls(below, opening, tls, server_hostname=_name(host))
            if transport is None:
                raise ServerDisconnectedError
        except BaseException:
            below.abort()
            raise
        return transport, opening


def _name(host: str) -> str:
    """Return a host's name as certificates have it: without the dot at the end that DNS knows."""
    return host.rstrip(".")
