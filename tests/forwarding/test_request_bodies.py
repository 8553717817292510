"""Request bodies on their way: their framing, when a client is told to send them, and what is refused of them."""

import asyncio
import errno
import os
import tempfile

import pytest

from proxy.config import UpstreamConfig
from tests.peers import CHUNKED, Connection, answering, chunked, request, response
from tests.proxies import whole_path

OK = answering(response(b"ok"))
SMALL_LIMIT = UpstreamConfig(max_body_size=1000)
MIB = 1 << 20
EXPECT = b"Expect: 100-continue\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


# Framing


async def test_a_small_chunked_body_goes_on_with_its_length_and_a_large_one_chunked() -> None:
    large = b"x" * (MIB + 1)
    async with whole_path(OK) as path, path.connect() as client:
        await client.ask(request(b"PUT", fields=CHUNKED) + b"5;ext=1\r\nsmall\r\n0\r\nX-Trailer: 1\r\n\r\n")
        await client.ask(request(b"PUT", fields=CHUNKED) + chunked(large))

    first, second = path.api.received
    assert (first.values(b"Content-Length"), first.values(b"Transfer-Encoding")) == ([b"5"], [])
    assert (second.values(b"Content-Length"), second.values(b"Transfer-Encoding")) == ([], [b"chunked"])
    assert (first.body, second.body) == (b"small", large)


@pytest.mark.parametrize(
    ("sent", "length"),
    [
        (request(b"GET"), []),
        (request(b"DELETE"), []),
        (request(b"POST"), [b"0"]),
        (request(b"GET", body=b""), [b"0"]),
        (request(b"POST", body=b""), [b"0"]),
    ],
)
async def test_an_empty_body_is_announced_where_it_was_or_where_the_method_wants_one(
    sent: bytes, length: list[bytes]
) -> None:
    async with whole_path(OK) as path:
        await path.ask(sent)

    assert path.api.received[0].values(b"Content-Length") == length


async def test_a_compressed_body_passes_as_it_is() -> None:
    async with whole_path(OK) as path:
        await path.ask(request(b"POST", fields=b"Content-Encoding: gzip\r\n", body=b"\x1f\x8bno gzip"))

    assert path.api.received[0].body == b"\x1f\x8bno gzip"
    assert path.api.received[0].values(b"Content-Encoding") == [b"gzip"]


# Too large


async def test_an_announced_body_over_the_limit_is_refused_before_it_is_sent() -> None:
    async with whole_path(OK, upstream=SMALL_LIMIT) as path, path.connect() as client:
        await client.send(request(b"POST", fields=b"Content-Length: 1001\r\n"))
        answer = await client.read_answer()
        assert (answer.status, answer.values(b"Connection")) == (413, [b"close"])
        assert b'"code": "body_too_large"' in answer.body
        assert await client.at_end()

    assert path.api.connections == path.tokens.connections == 0


async def test_a_body_at_the_limit_passes() -> None:
    async with whole_path(OK, upstream=SMALL_LIMIT) as path, path.connect() as client:
        assert (await client.ask(request(b"POST", body=b"x" * 1000))).status == 200
        assert (await client.ask(request(b"POST", fields=CHUNKED) + chunked(b"x" * 1000))).status == 200


async def test_an_unannounced_small_body_over_the_limit_is_refused_before_the_api_is_asked() -> None:
    async with whole_path(OK, upstream=SMALL_LIMIT) as path, path.connect() as client:
        await client.send(request(b"POST", fields=CHUNKED) + chunked(b"x" * 1001)[:-5])  # and more to come
        answer = await client.read_answer()
        assert (answer.status, answer.values(b"Connection")) == (413, [b"close"])
        assert await client.at_end()

    assert path.api.connections == 0


async def test_an_unannounced_large_body_over_the_limit_breaks_the_upstream_request_off() -> None:
    gone = asyncio.Event()
    rest = bytearray()

    async def api(connection: Connection) -> None:
        await connection.read_request(body=False)
        try:
            while chunk := await connection.reader.read(65_536):
                rest.extend(chunk)
        finally:
            gone.set()

    async with whole_path(api, upstream=UpstreamConfig(max_body_size=2 * MIB)) as path, path.connect() as client:
        client.writer.write(request(b"POST", fields=CHUNKED) + chunked(*[b"x" * 65_536] * 33)[:-5])  # and more to come
        answer = await client.read_answer()
        await gone.wait()
        assert await client.at_end()

    assert answer.status == 413
    assert not rest.endswith(b"0\r\n\r\n")
    assert [entry["code"] for entry in path.proxy.logged("request.refused")] == ["body_too_large"]


async def test_a_client_that_sends_on_after_a_refusal_still_gets_it() -> None:
    async with whole_path(OK, upstream=SMALL_LIMIT) as path, path.connect() as client:
        await client.send(request(b"POST", fields=b"Content-Length: 30000000\r\n"))
        await client.send(b"x" * 30_000_000)  # all of it, before a look at the answer
        assert (await client.read_answer()).status == 413


# Broken framing


@pytest.mark.parametrize(
    "before", [b"5\r\nhello\r\n", b"%x\r\n%s\r\n" % (2 * MIB, b"x" * 2 * MIB)], ids=["small", "big"]
)
async def test_broken_chunks_in_mid_body_are_a_bad_request(before: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with whole_path(OK) as path, path.connect() as client:
        await client.send(request(b"POST", fields=CHUNKED) + before)
        async with path.connect() as other:
            assert (await other.ask(request())).status == 200  # the beginning is read by now
        await client.send(b"ZZ\r\n")
        answer = await client.read_answer()
        assert (answer.status, answer.values(b"Connection")) == (400, [b"close"])
        assert b'"code": "bad_request"' in answer.body
        assert await client.at_end()
        assert [entry["code"] for entry in path.proxy.logged("request.refused")] == ["bad_request"]

    assert caplog.records == []


@pytest.mark.parametrize("before", [b"", b"5\r\nhello\r\n"], ids=["none", "some"])
async def test_broken_chunks_behind_a_request_that_is_still_served_do_not_hang(before: bytes) -> None:
    asked, answer_now = asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        while await connection.read_request():
            asked.set()
            await answer_now.wait()
            await connection.send(response(b"first"))

    async with whole_path(api) as path, path.connect() as client:
        await client.send(request())
        await asked.wait()
        await client.send(request(b"POST", fields=CHUNKED) + before)
        async with path.connect() as other:
            assert (await other.ask(request(target=b"/nobody/"))).status == 404  # the beginning is read by now
        await client.send(b"ZZ\r\n")
        answer_now.set()
        assert (await client.read_answer()).body == b"first"
        assert (await client.read_answer()).status == 400
        assert await client.at_end()


# Expect: 100-continue


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", CHUNKED], ids=["length", "chunked"])
async def test_the_client_is_told_to_continue_at_once(framing: bytes) -> None:
    async with whole_path(OK) as path, path.connect() as client:
        await client.send(request(b"POST", fields=EXPECT + framing))
        assert await client.reader.readexactly(len(CONTINUE)) == CONTINUE
        assert path.api.connections == 0
        await client.send(b"hello" if framing != CHUNKED else chunked(b"hello"))
        assert (await client.read_answer()).body == b"ok"

    assert path.api.received[0].values(b"Expect") == []
    assert path.api.received[0].body == b"hello"


@pytest.mark.parametrize(
    ("target", "framing", "status"),
    [
        (b"/nobody/x", b"Content-Length: 5\r\n", 404),
        (b"/demo/../x", CHUNKED, 400),
        (b"/demo/x", b"Content-Length: 1001\r\n", 413),
        (b"/demo/x", b"Content-Length: 5\r\nExpect: more\r\n", 417),
    ],
)
async def test_a_refusal_goes_first_and_closes(target: bytes, framing: bytes, status: int) -> None:
    async with whole_path(OK, upstream=SMALL_LIMIT) as path, path.connect() as client:
        await client.send(request(b"POST", target, fields=EXPECT + framing))
        answer = await client.read_answer()  # the first there is: no 100 before it
        assert (answer.status, answer.values(b"Connection")) == (status, [b"close"])
        assert await client.at_end()

    assert path.api.connections == 0


@pytest.mark.parametrize("body", [b"", None], ids=["empty", "none"])
async def test_nobody_is_told_to_continue_without_a_body(body: bytes | None) -> None:
    async with whole_path(OK) as path:
        assert (await path.ask(request(b"POST", fields=EXPECT, body=body))).status == 200


async def test_the_expectation_of_an_old_client_is_ignored() -> None:
    async with whole_path(OK) as path, path.connect() as client:
        await client.send(request(b"POST", fields=EXPECT + b"Content-Length: 5\r\n", version=b"1.0"))
        await client.send(b"hello")
        assert (await client.read_answer()).body == b"ok"


# No room


def deny(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> str:
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path) + "/missing")
    return "No such file or directory"


def fill_up(monkeypatch: pytest.MonkeyPatch, _: os.PathLike[str]) -> str:
    def pwrite(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", pwrite)
    return "No space left on device"


@pytest.mark.parametrize("trouble", [deny, fill_up])
async def test_a_body_that_can_not_be_kept_is_our_own_fault_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str], trouble: object
) -> None:
    reason = trouble(monkeypatch, tmp_path)  # type: ignore[operator]
    async with whole_path(OK) as path, path.connect() as client:
        client.writer.write(request(b"POST", body=b"x" * 3 * MIB))
        answer = await client.read_answer()
        assert answer.status == 500
        assert b"no room to keep the request body" in answer.body
        assert reason.encode() not in answer.body
        assert reason in path.proxy.logged("request.refused")[0]["reason"]
        assert (await path.ask(request(b"POST", body=b"small"))).status == 200
