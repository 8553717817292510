"""What comes over a connection to an upstream before it carries requests: an egress proxy's answer to CONNECT.

Rules: of that answer the status alone counts (RFC 9110 §9.3.6). It is bounded in size, and is shown nowhere. What comes
behind it, or without being asked for, is kept for who goes on with the connection.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from proxy.wire.upstream_errors import ClientResponseError, ServerDisconnectedError

_MAX_ANSWER: Final = 1 << 14  # bytes
_END: Final = re.compile(rb"\r?\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [^\r\n]*)?\r?\n")


def connect_request(host: str, port: int, headers: Mapping[str, str]) -> bytes:
    """Return the request for a tunnel (RFC 9110 §9.3.6)."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


class Opening(asyncio.Protocol):
    """The protocol of a connection that is being made. `came` is what came; `ended` tells whether it ended."""

    def __init__(self) -> None:
        self.came = b""
        self.ended = False
        self._waiter: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self.came += data
        self._wake()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note of the end."""
        self.ended = True
        self._wake()

    async def status(self) -> int:
        """Return the status of the answer to CONNECT. Raises `ClientResponseError` and `ServerDisconnectedError`."""
        while (answer := _final_answer(self.came)) is None:
            if self.ended:
                raise ServerDisconnectedError
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        status, self.came = answer
        return status

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _final_answer(came: bytes) -> tuple[int, bytes] | None:
    """Return the status of the first answer that is no interim one, and what is behind its head; `None` if not yet."""
    rest = came.lstrip(b"\r\n")
    while (end := _END.search(rest)) and end.end() <= _MAX_ANSWER:
        status = _STATUS.match(rest)
        if status is None:
            raise ClientResponseError
        rest = rest[end.end() :]
        if int(status[1]) >= 200:
            return int(status[1]), rest
        rest = rest.lstrip(b"\r\n")
    if end or len(came) > _MAX_ANSWER or not rest.startswith(b"HTTP/1."[: len(rest)]):
        raise ClientResponseError
    return None
