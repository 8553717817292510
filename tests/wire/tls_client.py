"""A client that speaks TLS and sees how it ends: in order, below TLS, or with a reset."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class TlsClient:
    """A client over TLS whose reading and sending are its user's alone."""

    def __init__(self, own: socket.socket, context: ssl.SSLContext) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = own
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname="localhost")

    async def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                self._came.write(await self._loop.sock_recv(self._socket, 1 << 16))
            else:
                await self._flush()
                return

    async def send(self, data: bytes) -> None:
        for start in range(0, len(data), 1 << 14):
            self._tls.write(data[start : start + (1 << 14)])
            await self._flush()

    async def read(self) -> bytes | str:
        """Return what comes next, or how the connection ended: `close_notify`, `FIN` or `RST`."""
        while True:
            try:
                return self._tls.read(1 << 16) or "close_notify"
            except ssl.SSLWantReadError:
                pass
            try:
                data = await self._loop.sock_recv(self._socket, 1 << 16)
            except ConnectionResetError:
                return "RST"
            if not data:
                return "FIN"
            self._came.write(data)

    async def read_to_end(self) -> tuple[bytes, str]:
        """Return all that comes, and how it ended."""
        data = b""
        while isinstance(piece := await self.read(), bytes):
            data += piece
        return data, piece

    async def answer_end(self) -> None:
        """Send `close_notify`, after it has come."""
        self._tls.unwrap()
        await self._flush()

    async def has_closed(self) -> bool:
        """Tell whether TCP has ended too, after waiting for that or for a byte."""
        return await self._loop.sock_recv(self._socket, 1) == b""

    def hears_nothing(self) -> bool:
        """Tell whether nothing has come that was not read."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False

    async def _flush(self) -> None:
        await self._loop.sock_sendall(self._socket, self._goes.read())


@asynccontextmanager
async def tls_client(port: int, context: ssl.SSLContext) -> AsyncIterator[TlsClient]:
    """Connect to a server on this machine."""
    with socket.socket() as own:
        own.setblocking(False)
        await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", port))
        client = TlsClient(own, context)
        await client.shake_hands()
        yield client
