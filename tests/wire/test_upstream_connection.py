"""Answers that break off in the middle look broken to every client, at once, however they break."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.config import UpstreamConfig
from proxy.errors import UpstreamTimeout
from proxy.forwarding.fields import answer_fields
from proxy.wire.upstream_connection import UpstreamConnection
from tests.peers import Connection, request, serving
from tests.proxies import whole_path

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nfirst"


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (LENGTH, Connection.close),
        (LENGTH, Connection.reset),
        (CHUNKED, Connection.close),
        (CHUNKED, Connection.reset),
        (CHUNKED + b"0\r\n", Connection.close),
        (CHUNKED[:-3], Connection.close),
        (ENDLESS, Connection.reset),
    ],
    ids=[
        "length-closed",
        "length-reset",
        "chunked-closed",
        "chunked-reset",
        "chunked-without-the-last-line",
        "chunked-in-mid-chunk",
        "endless-reset",
    ],
)
async def test_an_answer_that_breaks_off_never_ends_in_order(
    answer: bytes, end: Callable[[Connection], None], version: bytes
) -> None:
    relayed = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(answer)
        await relayed.wait()
        end(connection)

    async with whole_path(api) as path, path.connect() as client:
        await client.send(request(version=version))
        await client.reader.readuntil(b"fir")
        relayed.set()
        rest, orderly = await client.read_to_end()

        assert not orderly
        assert not rest.endswith(b"0\r\n\r\n")
        assert [(entry["code"], entry["status"]) for entry in path.proxy.logged("request.forwarded")] == [
            ("upstream_protocol_error", 200)
        ]


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_broken_chunks_in_mid_answer_break_it_off_at_once(version: bytes) -> None:
    relayed, done = asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(CHUNKED)
        await relayed.wait()
        await connection.send(b"ZZ\r\nno chunk\r\n")
        await done.wait()  # the connection stays open: nothing else tells the proxy

    async with whole_path(api) as path, path.connect() as client:
        await client.send(request(version=version))
        await client.reader.readuntil(b"first")
        relayed.set()
        rest, orderly = await client.read_to_end()
        done.set()

    assert not orderly
    assert b"no chunk" not in rest


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, ENDLESS], ids=["length", "chunked", "endless"])
async def test_an_api_that_falls_silent_in_mid_answer_breaks_it_off(answer: bytes) -> None:
    done = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(answer)
        await done.wait()

    async with whole_path(api, upstream=UpstreamConfig(read_timeout=0.1)) as path, path.connect() as client:
        await client.send(request())
        _, orderly = await client.read_to_end()
        done.set()
        assert [entry["code"] for entry in path.proxy.logged("request.forwarded")] == ["upstream_timeout"]

    assert not orderly


async def test_a_shorter_time_counts_for_a_connection_that_is_kept() -> None:
    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await connection.reader.read()

    async with serving(api) as peer, asyncio.timeout(20):
        loop = asyncio.get_running_loop()
        raw, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", peer.port)
        lost = asyncio.Event()
        connection = UpstreamConnection(raw, answer_fields(), lambda _: lost.set())
        raw.set_protocol(connection)
        asked = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
        await connection.ask(asked, bodiless=False, read_timeout=3600.0, whole=True)
        with pytest.raises(UpstreamTimeout):
            await connection.ask(asked, bodiless=False, read_timeout=0.1, whole=True)
        await lost.wait()


async def test_a_client_that_reads_slowly_does_not_make_the_api_time_out() -> None:
    sent = asyncio.Event()
    body = b"x" * 20_000_000

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        sent.set()
        await connection.reader.read()

    async with whole_path(api, upstream=UpstreamConfig(read_timeout=0.1)) as path, path.connect() as client:
        client.stop_reading()
        await client.send(request())
        # Longer than the time-out, by the same clock and set afterwards, so that it would have struck.
        loop = asyncio.get_running_loop()
        longer = asyncio.Event()
        loop.call_later(0.4, longer.set)
        await longer.wait()
        client.start_reading()
        assert len((await client.read_answer()).body) == len(body)
