"""Bodies flow both ways as they come, never faster than the other side takes them, and stop when one side goes."""

import asyncio
import socket
import struct

import pytest

from proxy.config import UpstreamConfig
from tests.peers import CHUNKED, Connection, RawClient, answering, chunked, request, response, token_response
from tests.proxies import WholePath, whole_path

MIB = 1 << 20


async def test_the_first_byte_of_an_answer_arrives_before_the_last_has_left() -> None:
    first_arrived = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        await first_arrived.wait()
        await connection.send(b"later")

    async with whole_path(api) as path, path.connect() as client:
        await client.send(request())
        await client.reader.readuntil(b"\r\n\r\n")
        assert await client.reader.readexactly(5) == b"first"
        first_arrived.set()
        assert await client.reader.readexactly(5) == b"later"


async def test_the_head_of_an_answer_arrives_before_any_of_its_body() -> None:
    head_arrived = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await head_arrived.wait()
        await connection.send(chunked(b"body"))

    async with whole_path(api) as path, path.connect() as client:
        await client.send(request())
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        head_arrived.set()
        assert await client.reader.readuntil(b"0\r\n\r\n") == chunked(b"body")


async def test_a_large_upload_reaches_the_api_before_the_client_has_sent_it_all() -> None:
    beginning_arrived = asyncio.Event()
    body = bytes(range(256)) * 8 * 1024  # 2 MiB

    async def api(connection: Connection) -> None:
        received = await connection.read_request(body=False)
        assert received is not None
        beginning = await connection.reader.readexactly(MIB)
        beginning_arrived.set()
        received.body = beginning + await connection.reader.readexactly(MIB)
        await connection.send(response())

    async with whole_path(api) as path, path.connect() as client:
        await client.send(request(b"PUT", fields=b"Content-Length: %d\r\n" % len(body)) + body[: MIB + 100_000])
        await beginning_arrived.wait()
        await client.send(body[MIB + 100_000 :])
        assert (await client.read_answer()).status == 200

    assert path.api.received[0].body == body


async def test_a_small_body_holds_no_upstream_connection_until_it_has_arrived() -> None:
    async with whole_path(answering(response())) as path, path.connect() as client, path.connect() as other:
        await client.send(request(b"PUT", fields=b"Content-Length: 10\r\n") + b"first")
        assert (await other.ask(request())).status == 200  # what the proxy does for the first is done by now
        assert path.api.connections == 1
        await client.send(b"later")
        assert (await client.read_answer()).status == 200

    assert path.api.received[1].body == b"firstlater"


async def fill(writer: asyncio.StreamWriter, sent: list[int], block: bytes) -> None:
    """Send without end, and count."""
    while True:
        writer.write(block)
        await writer.drain()
        sent[0] += len(block)


async def until_stuck(path: WholePath, sent: list[int]) -> int:
    """Wait until it has begun, and nothing more is sent while other requests are served; return how much was."""
    async with path.connect() as other:
        quiet, before = 0, -1
        while quiet < 50:
            assert (await other.ask(request(target=b"/nobody/"))).status == 404
            quiet, before = (quiet + 1 if sent[0] == before > 0 else 0), sent[0]
    return before


async def test_an_answer_without_end_is_held_back_by_a_client_that_does_not_read() -> None:
    sent = [0]

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        await fill(connection.writer, sent, b"x" * 65_536)

    async with whole_path(api) as path, path.connect() as client:
        client.stop_reading()
        await client.send(request())
        # The kernel's buffers of two connections, those of the proxy, and of the peer's writer.
        assert await until_stuck(path, sent) < 32 * MIB


@pytest.mark.parametrize("framing", [b"Content-Length: 60000000\r\n", CHUNKED], ids=["length", "chunked"])
async def test_an_upload_is_held_back_by_an_api_that_does_not_read(framing: bytes) -> None:
    sent, done = [0], asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request(body=False)
        await done.wait()

    async with whole_path(api) as path, path.connect() as client:
        block = b"x" * 65_536
        await client.send(request(b"PUT", fields=framing))
        filling = asyncio.create_task(
            fill(client.writer, sent, block if framing != CHUNKED else b"10000\r\n" + block + b"\r\n")
        )
        assert await until_stuck(path, sent) < 32 * MIB
        filling.cancel()
        done.set()


# A client that leaves


async def leave(client: RawClient, path: WholePath, gone: asyncio.Event) -> None:
    """Break off, and see that the upstream call ends and the log says so."""
    client.reset()
    await gone.wait()
    await path.proxy.until_logged("request.abandoned")
    assert len([entry for entry in path.proxy.events if entry["event"].startswith("request.")]) == 1


async def test_a_client_that_leaves_while_the_token_is_fetched_does_not_disturb_the_fetch() -> None:
    asked, answer_now = asyncio.Event(), asyncio.Event()

    async def tokens(connection: Connection) -> None:
        await connection.read_request()
        asked.set()
        await answer_now.wait()
        await connection.send(token_response())

    async with whole_path(answering(response()), tokens=tokens) as path:
        async with path.connect() as client:
            await client.send(request())
            await asked.wait()
            await leave(client, path, asked)
        async with path.connect() as other:
            await other.send(request())
            answer_now.set()
            assert (await other.read_answer()).status == 200

    assert len(path.tokens.received) == len(path.api.received) == 1


@pytest.mark.parametrize(
    "answered",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"],
    ids=["waiting-for-the-head", "in-mid-body"],
)
async def test_a_client_that_leaves_ends_the_upstream_call(answered: bytes) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(answered)
        asked.set()
        try:
            assert await connection.reader.read() == b""
        finally:
            gone.set()

    async with whole_path(api) as path, path.connect() as client:
        await client.send(request())
        await asked.wait()
        if answered:
            await client.reader.readuntil(b"first")
        await leave(client, path, gone)


@pytest.mark.parametrize("framing", [b"Content-Length: 3000000\r\n", CHUNKED], ids=["length", "chunked"])
async def test_a_client_that_leaves_in_mid_upload_breaks_the_upstream_request_off(framing: bytes) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()
    rest = bytearray()

    async def api(connection: Connection) -> None:
        await connection.read_request(body=False)
        asked.set()
        try:
            while chunk := await connection.reader.read(65_536):
                rest.extend(chunk)
        finally:
            gone.set()

    async with whole_path(api) as path, path.connect() as client:
        size = 2_000_000
        head = b"" if framing != CHUNKED else b"%x\r\n" % size
        await client.send(request(b"PUT", fields=framing) + head + b"x" * size)
        await asked.wait()
        await leave(client, path, gone)

    assert not rest.endswith(b"0\r\n\r\n")
    assert len(rest) < 3_000_000


async def test_a_client_that_leaves_in_mid_upload_after_an_early_answer_does_not_spoil_the_connection() -> None:
    answered = asyncio.Event()

    async def api(connection: Connection) -> None:
        while await connection.read_request(body=False):
            await connection.send(response(b"x" * 5_000_000))
            answered.set()

    async with whole_path(api) as path:
        async with path.connect() as client:
            await client.send(request(b"PUT", fields=b"Content-Length: 3000000\r\n") + b"x" * 1_500_000)
            await client.reader.readuntil(b"\r\n\r\n")
            client.reset()
        assert len((await path.ask(request())).body) == 5_000_000

    assert path.api.connections == 2


async def test_a_client_that_resets_while_it_is_written_to_leaves_no_trace_but_its_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await connection.send(b"x" * 65_536)

    async with whole_path(api) as path:
        for _ in range(20):
            async with path.connect() as client:
                await client.send(request())
                await client.reader.readexactly(200_000)
                client.reset()
        await path.proxy.until_logged("request.abandoned", count=20)

    assert caplog.records == []


async def test_an_answer_that_meets_a_reset_of_the_client_leaves_no_trace_but_its_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    serving_it: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        serving_it.set_result(connection)
        await connection.reader.read()

    async with whole_path(api) as path:
        loop = asyncio.get_running_loop()
        # A bare socket, since that closes at once: what the API sends and the client's reset then reach the proxy in
        # the same turn of its loop, and it has something to write when it knows the end but has not come to it yet.
        with socket.create_connection(("127.0.0.1", path.proxy.port)) as client:
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await loop.sock_sendall(client, request())
            connection = await serving_it
            while b"first" not in await loop.sock_recv(client, 1000):
                pass
            connection.writer.write(b"later")
        await path.proxy.until_logged("request.abandoned")

    assert len(path.proxy.logged("request.abandoned")) == 1
    assert caplog.records == []


async def test_an_api_that_stops_taking_the_body_times_out() -> None:
    done = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request(body=False)
        await done.wait()

    async with whole_path(api, upstream=UpstreamConfig(read_timeout=0.2)) as path, path.connect() as client:
        await client.send(request(b"PUT", fields=b"Content-Length: 60000000\r\n"))
        filling = asyncio.create_task(fill(client.writer, [0], b"x" * 65_536))
        answer = await client.read_answer()
        filling.cancel()
        done.set()

    assert answer.status == 504
    assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=connection_write_timeout"]
