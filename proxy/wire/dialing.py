"""Makes connections to upstreams: aiohttp's connector resolves names, connects, does TLS, and CONNECT where it is due.

Rules: foreign exceptions become `UpstreamError`s here. What the connector has made is taken out of its hands: it keeps
no connection, and knows only that this one is in use until it has ended.
"""

from collections.abc import Callable
from functools import partial

from aiohttp import ClientTimeout, TCPConnector
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from yarl import URL

from proxy.wire.descriptors import Descriptors, none_left
from proxy.wire.head import FieldTable
from proxy.wire.pool import Destination
from proxy.wire.upstream_connection import UpstreamConnection
from proxy.wire.upstream_errors import FOREIGN_ERRORS, translate


class Dialer:
    """Makes connections through a connector. Each has `timeout` seconds; answers are read by `table`.

    Each takes one of the `descriptors`, until it has ended.
    """

    def __init__(self, connector: TCPConnector, descriptors: Descriptors, table: FieldTable, *, timeout: float) -> None:
        self._connector = connector
        self._descriptors = descriptors
        self._table = table
        self._timeout = ClientTimeout(connect=timeout)

    async def dial(self, destination: Destination, lost: Callable[[UpstreamConnection], object]) -> UpstreamConnection:
        """Return a new connection; `lost` is called when it has ended. Raises `UpstreamError` and `Overloaded`."""
        await self._descriptors.take()
        try:
            made = await self._connector.connect(_Dialed(destination), [], self._timeout)
        except BaseException as error:
            self._descriptors.give()
            if isinstance(error, FOREIGN_ERRORS):
                raise none_left(error) or translate(error, way=destination.way) from None
            raise
        transport = made.transport
        assert transport is not None  # noqa: S101 - for the type checker: it was made just now
        connection = UpstreamConnection(transport, self._table, partial(self._ended, made, lost))
        transport.set_protocol(connection)
        return connection

    def _ended(
        self, made: Connection, lost: Callable[[UpstreamConnection], object], connection: UpstreamConnection
    ) -> None:
        """Tell the connector that a connection has ended, which its own protocol did not hear."""
        if made.protocol is not None:
            made.protocol.connection_lost(None)
        made.close()
        self._descriptors.give()
        lost(connection)


class _Dialed(ClientRequest):
    """What the connector must know to make a connection; the message itself is written elsewhere."""

    def __init__(self, destination: Destination) -> None:
        # Not super().__init__: it would build a message of its own.
        scheme, host, port, way = destination
        self.url = URL.build(scheme=scheme, host=host, port=port)
        self.proxy = self.proxy_auth = self.proxy_headers = self.server_hostname = None
        self._ssl = True  # verify, with the connector's context
        if way is not None:
            self.original_url = self.url  # of the errors
            self.update_proxy(URL(way.url), None, way.connect_headers())
            self.update_headers({"Host": f"{self.url.host_subcomponent}:{port}"})  # of CONNECT
