"""Servers and clients for tests that speak in bytes, so that a test sees and says exactly what is on the wire."""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


@dataclass(slots=True)
class Received:
    """A request as it came in: the head's bytes with the empty line, and the body without its framing."""

    head: bytes
    body: bytes = b""

    @property
    def request_line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        lines = self.head.split(b"\r\n")[1:-2]
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]

    def values(self, name: bytes) -> list[bytes]:
        return [value for field_name, value in self.fields if field_name.lower() == name.lower()]


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Read a message head, its empty line included; empty if the peer closed before it sent anything."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Read the body that `head` announces, and take its framing off."""
    if _CHUNKED.search(head):
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return body
    announced = _LENGTH.search(head)
    return await reader.readexactly(int(announced[1])) if announced else b""


class Connection:
    """One connection that a `Peer` has accepted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, received: list[Received]) -> None:
        self.reader = reader
        self.writer = writer
        self._received = received

    async def read_request(self, *, body: bool = True) -> Received | None:
        """Read one request; `None` if the client has closed."""
        head = await read_head(self.reader)
        if not head:
            return None
        request = Received(head)
        self._received.append(request)
        if body:
            request.body = await read_body(self.reader, head)
        return request

    async def read_body(self, request: Received) -> bytes:
        """Read the body of a request whose head was read before."""
        return await read_body(self.reader, request.head)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Break the connection off."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Connection], Awaitable[None]]


def answering(*responses: bytes) -> Script:
    """A script that answers the requests of all connections with `responses` in turn, the last one again and again."""
    left = list(responses)

    async def script(connection: Connection) -> None:
        while await connection.read_request() is not None:
            await connection.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def closing(answer: bytes) -> Script:
    """A script that answers one request and closes."""

    async def script(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(answer)

    return script


@dataclass(slots=True)
class Peer:
    """A server on loopback that does what its `script` says, and keeps what it received."""

    script: Script
    port: int = 0
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    failures: list[BaseException] = field(default_factory=list)


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Serve `script` on a free port, with TLS if there is a context.

    What goes wrong in a script, but for a client that is gone, fails the test.
    """
    peer = Peer(script)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await peer.script(Connection(reader, writer, peer.received))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except BaseException as failure:
            peer.failures.append(failure)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        running = list(tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert peer.failures == []


@dataclass(slots=True)
class Answer:
    """An answer as the client got it: the head's bytes, the body without its framing."""

    head: bytes
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        return Received(self.head).fields

    def values(self, name: bytes) -> list[bytes]:
        return Received(self.head).values(name)


class RawClient:
    """A client that sends bytes as they are given."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read_answer(self, *, body: bool = True) -> Answer:
        """Read one answer; a body without a length is read to the connection's end."""
        head = await read_head(self.reader)
        answer = Answer(head)
        status = answer.status
        if not body or status < 200 or status in (204, 304):
            return answer
        if _CHUNKED.search(head) or _LENGTH.search(head):
            answer.body = await read_body(self.reader, head)
        else:
            answer.body = await self.reader.read()
        return answer

    async def ask(self, data: bytes) -> Answer:
        """Send a request and read its answer."""
        await self.send(data)
        return await self.read_answer()

    def stop_reading(self) -> None:
        """Read nothing more, not even into a buffer."""
        cast("asyncio.Transport", self.writer.transport).pause_reading()

    def start_reading(self) -> None:
        """Read again."""
        cast("asyncio.Transport", self.writer.transport).resume_reading()

    async def read_to_end(self) -> tuple[bytes, bool]:
        """Read all that is left; and tell whether the connection was closed in order, not reset."""
        data = b""
        try:
            while chunk := await self.reader.read(1 << 16):
                data += chunk
        except ConnectionResetError:
            return data, False
        return data, True

    def reset(self) -> None:
        """Break the connection off."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def at_end(self) -> bool:
        """Tell whether the server has closed the connection, after waiting for that or for a byte."""
        return await self.reader.read(1) == b""

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def connected(port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[RawClient]:
    """Connect to a server on this machine."""
    name = None if tls is None else "localhost"
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 20, ssl=tls, server_hostname=name)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()


def request(
    method: bytes = b"GET",
    target: bytes = b"/demo/x",
    *,
    fields: bytes = b"",
    body: bytes | None = None,
    version: bytes = b"1.1",
) -> bytes:
    """An HTTP request; `fields` are whole lines, each with its CRLF."""
    framing = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    head = b"%s %s HTTP/%s\r\nHost: proxy\r\n%s%s\r\n" % (method, target, version, fields, framing)
    return head + (body or b"")


CHUNKED = b"Transfer-Encoding: chunked\r\n"


def chunked(*chunks: bytes) -> bytes:
    """A body in the chunked transfer coding, to its end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


DATE = b"Date: Tue, 07 Jul 2026 10:00:00 GMT\r\n"  # what an answer tells the client of its time, as it came


def response(body: bytes = b"{}", *, status: bytes = b"200 OK", fields: bytes = b"", date: bytes = DATE) -> bytes:
    """An HTTP response with a length; `fields` are whole lines, each with its CRLF, and so is `date`."""
    return b"HTTP/1.1 %s\r\n%s%sContent-Length: %d\r\n\r\n%s" % (status, fields, date, len(body), body)


def token_response(token: str = "token-1", expires_in: int = 3600) -> bytes:
    """What a token endpoint answers."""
    body = b'{"access_token": "%s", "token_type": "Bearer", "expires_in": %d}' % (token.encode(), expires_in)
    return response(body, fields=b"Content-Type: application/json\r\n")
