"""One request on a connection of its own, for what is rare: token requests, and what a command asks.

Such a request can't be sent twice safely, and would meet a dead connection too often if one were kept.

Rules: the answer is read as the API's are (`upstream_connection.py`), whatever it is: redirects are not followed,
nothing is unpacked, no cookie is kept. It is bounded in size and time. Nothing of what is sent or received is in an
error.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from yarl import URL

from proxy import __version__
from proxy.errors import UpstreamError, UpstreamProtocolError
from proxy.wire.dialing import Dialer
from proxy.wire.head import is_field
from proxy.wire.pool import Destination
from proxy.wire.upstream_errors import Way


class Reply(NamedTuple):
    """An answer: its status, the values of its known fields by name in lower case, and its body."""

    status: int
    fields: Mapping[bytes, bytes]
    body: bytes

    def __repr__(self) -> str:
        return f"Reply(status={self.status})"


class Client:
    """Asks over connections that `dialers` make, by whether they may lead into the own network."""

    def __init__(self, dialers: Mapping[bool, Dialer]) -> None:
        self._dialers = dialers

    async def ask(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        way: Way | None,
        any_address: bool,
        within: float,
        limit: int,
    ) -> Reply:
        """Return the answer, of its body no more than what comes with the byte that is one too many for `limit`.

        Raises `TimeoutError` if it is not there `within` so many seconds, `UpstreamError` and `Overloaded`.
        """
        host, port = url.raw_host, url.port
        assert host is not None and port is not None  # noqa: S101, PT018 - made of a platform's template
        destination = Destination(url.scheme, host, port, way)
        async with asyncio.timeout(within):
            connection = await self._dialers[any_address].dial(destination, lambda _: None)
            try:
                answer = connection.ask(
                    _request(method, url, headers, body), bodiless=False, read_timeout=within, whole=True
                )
                status, _, head, _, content, coming = await answer
                content = content or b""
                while coming is not None and len(content) <= limit and (piece := await coming.read()):
                    content += piece
            except UpstreamError as error:
                through = "" if way is None else f"; through the egress proxy {way.url}"
                reason = f"{host}:{port}: no complete HTTP answer ({error.proxy_status}){through}"
                raise UpstreamProtocolError(error.detail, reason=reason, proxy_status=error.proxy_status) from None
            finally:
                connection.abort()
        return Reply(status, head.first, content)


def _request(method: str, url: URL, headers: Mapping[str, str], body: bytes | None) -> bytes:
    lines = {
        "Host": url.host_port_subcomponent,
        "User-Agent": f"shop-auth-proxy/{__version__}",
        **headers,
        **({} if body is None else {"Content-Length": str(len(body))}),
        "Connection": "close",
    }
    fields = [f"{name}: {value}".encode() for name, value in lines.items()]
    if not all(map(is_field, fields)):
        raise ValueError("a header field contains what none can")
    start = f"{method} {url.raw_path_qs} HTTP/1.1".encode()
    return b"\r\n".join([start, *fields, b"", body or b""])
