"""aiohttp's client reads answers as platforms write them, however they are cut, and none whose end is unclear."""

import asyncio
from functools import partial
from typing import Final

import aiohttp
import pytest

from proxy.wire.lenient_client import LenientHandler
from tests.peers import Connection, response, serving

OK: Final = b"HTTP/1.1 200 OK\r\n"
LENGTH: Final = b"Content-Length: 5\r\n"
ODD: Final = {
    "plain": OK + LENGTH + b"\r\nhello",
    "a blank before a colon": OK + b"X-XSS-Protection : 1\r\n" + LENGTH + b"\r\nhello",
    "a name that is none": OK + b"A(b): c\r\n" + LENGTH + b"\r\nhello",
    "a name in Latin-1": OK + b"Fehl\xe9r: c\r\n" + LENGTH + b"\r\nhello",
    "the same length twice": OK + LENGTH + LENGTH + b"\r\nhello",
    "the same length in a list": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "LF alone": b"HTTP/1.1 200 OK\nA : b\nContent-Length: 5\n\nhello",
    "a value over two lines": OK + b"A : b\r\n c\r\n" + LENGTH + b"\r\nhello",
    "interim answers": b"HTTP/1.1 103 Hints\r\nLink : <a>\r\n\r\nHTTP/1.1 100 \r\n\r\n" + OK + LENGTH + b"\r\nhello",
    "more than announced": OK + LENGTH + b"\r\nhello and more",
    "more than announced, that looks like an answer": OK + LENGTH + b"\r\nhello" + response(),
    "more behind chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\nA: b\r\n\r\n and more",
    "to the end": OK + b"A : b\r\n\r\nhello",
    "empty lines before": b"\r\n\r\n" + OK + LENGTH + b"\r\nhello",
    "a long field": OK + b"A: " + b"b" * 30_000 + b"\r\n" + LENGTH + b"\r\nhello",
}
UNCLEAR: Final = {
    "two lengths": OK + b"Content-Length: 5, 6\r\n\r\nhello",
    "a length and a coding": OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "fewer than announced": OK + b"A : b\r\nContent-Length: 9\r\n\r\nhello",
    "broken chunks": OK + b"Transfer-Encoding: chunked\r\n\r\nhello",
    "chunks without an end": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "half a head": OK + b"Content-Le",
    "no HTTP": b"220 mail.example ESMTP\r\n",
    "a head without an end": OK + b"A: " + b"b" * 70_000,
    "nothing": b"",
}


async def asked(sent: bytes, *, cut: int) -> bytes:
    """The body that the client reads."""

    async def script(connection: Connection) -> None:
        await connection.read_request()
        for start in range(0, len(sent), cut):
            await connection.send(sent[start : start + cut])
            await asyncio.sleep(0)

    connector = aiohttp.TCPConnector(force_close=True)
    connector._factory = partial(LenientHandler, loop=asyncio.get_running_loop())  # type: ignore[assignment]
    async with (
        asyncio.timeout(10),
        serving(script) as peer,
        aiohttp.ClientSession(connector=connector, max_line_size=1 << 15, max_field_size=1 << 15) as session,
        session.post(f"http://127.0.0.1:{peer.port}/") as answer,
    ):
        assert answer.status == 200
        return await answer.read()


@pytest.mark.parametrize("cut", [1000, 1 << 20, 3])
@pytest.mark.parametrize("what", ODD)
async def test_an_answer_that_is_only_odd_is_read(what: str, cut: int) -> None:
    if cut == 3 and len(ODD[what]) > 1000:
        cut = 100
    assert await asked(ODD[what], cut=cut) == b"hello"


@pytest.mark.parametrize("cut", [1 << 20, 7000, 7])
@pytest.mark.parametrize("what", UNCLEAR)
async def test_what_is_not_clear_or_not_whole_is_an_error(what: str, cut: int) -> None:
    if cut == 7 and len(UNCLEAR[what]) > 1000:
        cut = 1000
    with pytest.raises((aiohttp.ClientError, OSError)):
        await asked(UNCLEAR[what], cut=cut)
