"""Clients that take what they get slowly or not at all, and the system's part in that: its buffers."""

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack

import pytest

from proxy.wire.client import ClientConnection
from tests.clocks import counted_clock, pass_time
from tests.peers import request
from tests.proxies import WholePath


def send_buffers_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system take so many bytes of what the proxy writes; the rest waits in the proxy."""
    made = ClientConnection.connection_made

    def with_the_buffer(self: ClientConnection, transport: asyncio.BaseTransport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        made(self, transport)

    monkeypatch.setattr(ClientConnection, "connection_made", with_the_buffer)


async def connect_with_small_buffer(port: int) -> socket.socket:
    """Connect to a proxy, so that the system takes little of what it sends before it is read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


async def read_steadily(path: WholePath, *, rate: float, seconds: float, tls: ssl.SSLContext | None = None) -> int:
    """Ask for something large, read `rate` bytes a second of it for so long; return how many. Raises if cut off."""
    reader, writer = await asyncio.open_connection(
        sock=await connect_with_small_buffer(path.proxy.port),
        ssl=tls,
        server_hostname=None if tls is None else "localhost",
        limit=1 << 12,
    )
    try:
        writer.write(request())
        elapsed, count = 0.0, 0
        with counted_clock(0):
            while elapsed < seconds:
                if count > rate * elapsed:
                    await path.ask(request(target=b"/nobody/"))
                    await pass_time(0.01)
                    elapsed += 0.01
                    continue
                chunk = await reader.read(1 << 12)
                if not chunk:
                    raise ConnectionResetError
                count += len(chunk)
    finally:
        writer.transport.abort()
    return count


async def looks_at_the_unread(
    path: WholePath,
    monkeypatch: pytest.MonkeyPatch,
    sizes: list[int],
    *,
    after: float,
    tls: ssl.SSLContext | None = None,
) -> int:
    """Ask for answers of these sizes and read none; return how often the proxy looks at them in 0.3 s `after` that."""
    looks, look = 0, ClientConnection._look

    def counted(self: ClientConnection) -> None:
        nonlocal looks
        looks += 1
        look(self)

    async with AsyncExitStack() as stack:
        for _ in sizes:
            sock = await connect_with_small_buffer(path.proxy.port)
            stack.callback(sock.close)
            sock.settimeout(10.0)
            if tls is not None:  # in blocking mode nothing is read that nobody asks for
                sock = await asyncio.to_thread(tls.wrap_socket, sock, server_hostname="localhost")
                stack.callback(sock.close)
            await asyncio.to_thread(sock.sendall, request())
        await asyncio.sleep(after)
        monkeypatch.setattr(ClientConnection, "_look", counted)
        await asyncio.sleep(0.3)
    return looks
