"""One request on a connection of its own: what goes out, and how the answer is read, as platforms write them."""

import asyncio
from typing import Final

import pytest
from yarl import URL

from proxy import __version__
from proxy.errors import PrivateAddressError, UpstreamError, UpstreamProtocolError, UpstreamUnreachable
from proxy.guards.descriptors import Descriptors
from proxy.guards.egress import PublicResolver
from proxy.wire.asking import Client, Reply
from tests.dialing import dialer
from tests.names import Names
from tests.peers import Connection, answering, response, serving

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


def client(descriptors: Descriptors | None = None) -> Client:
    """One whose names all lead to loopback, where it may be led only if any address will do."""
    names = Names("127.0.0.1")
    return Client(
        {
            True: dialer(names, descriptors=descriptors),
            False: dialer(PublicResolver(names), descriptors=descriptors),
        }
    )


async def post(port: int, *, within: float = 10.0, limit: int = 1 << 16, any_address: bool = True) -> Reply:
    return await client().ask(
        "POST",
        URL(f"http://tokens.example:{port}/token"),
        {},
        b"a=b",
        way=None,
        any_address=any_address,
        within=within,
        limit=limit,
    )


async def get(asking: Client, url: URL, headers: dict[str, str] | None = None) -> Reply:
    return await asking.ask("GET", url, headers or {}, way=None, any_address=True, within=10.0, limit=99)


async def asked(sent: bytes, *, cut: int) -> bytes:
    """The body that the client reads."""

    async def script(connection: Connection) -> None:
        await connection.read_request()
        for start in range(0, len(sent), cut):
            await connection.send(sent[start : start + cut])
            await asyncio.sleep(0)

    async with serving(script) as peer:
        answer = await post(peer.port)
    assert answer.status == 200
    return answer.body


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
    with pytest.raises(UpstreamProtocolError) as caught:
        await asked(UNCLEAR[what], cut=cut)
    assert "no complete HTTP answer (" in caught.value.reason


async def test_the_request_is_exactly_this_and_each_has_a_connection_of_its_own() -> None:
    asking = client()
    async with serving(answering(response(fields=b"Set-Cookie: a=b\r\n"))) as peer:
        for _ in range(2):
            await get(asking, URL(f"http://api.example:{peer.port}/a%2Fb?c=%20", encoded=True), {"Accept": "x/y"})

    expected = (
        b"GET /a%%2Fb?c=%%20 HTTP/1.1\r\nHost: api.example:%d\r\nUser-Agent: shop-auth-proxy/%s\r\n"
        b"Accept: x/y\r\nConnection: close\r\n\r\n" % (peer.port, __version__.encode())
    )
    assert [each.head for each in peer.received] == [expected, expected]
    assert peer.connections == 2


async def test_of_the_answer_the_status_the_known_fields_and_the_body_are_told_and_shown_nowhere() -> None:
    fields = b"Content-Type: a/b; c\r\nRetry-After: 7\r\nX-Other: d\r\n"
    async with serving(answering(response(b"the-token", status=b"503 Later", fields=fields))) as peer:
        reply = await post(peer.port)

    status, values, body = reply
    assert (status, body) == (503, b"the-token")
    assert (values[b"content-type"], values[b"retry-after"]) == (b"a/b; c", b"7")
    assert "the-token" not in repr(reply)


@pytest.mark.parametrize("framing", [b"Content-Length: 2000000000", b"Connection: close"])
async def test_no_more_is_read_than_is_wanted(framing: bytes) -> None:
    stopped = asyncio.Event()

    async def stream(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        try:
            while True:
                await connection.send(b"x" * 1000)
        finally:
            stopped.set()

    async with asyncio.timeout(20), serving(stream) as peer:
        reply = await post(peer.port, limit=5000)
        await stopped.wait()

    assert 5000 < len(reply.body) < 1_000_000


async def test_who_is_silent_is_given_up_and_nothing_is_left_open() -> None:
    ended = asyncio.Event()

    async def silent(connection: Connection) -> None:
        await connection.reader.read()
        ended.set()

    async with asyncio.timeout(20), serving(silent) as peer:
        with pytest.raises(TimeoutError):
            await post(peer.port, within=0.2)
        await ended.wait()


async def test_each_takes_a_descriptor_until_its_connection_has_ended() -> None:
    descriptors, taken = Descriptors(), []

    async def script(connection: Connection) -> None:
        await connection.read_request()
        taken.append(descriptors.taken)
        await connection.send(response())
        await connection.reader.read()

    async with asyncio.timeout(20), serving(script) as peer:
        await get(client(descriptors), URL(f"http://127.0.0.1:{peer.port}/"))
        while descriptors.taken:  # noqa: ASYNC110 - the transport tells it in this loop
            await asyncio.sleep(0)
    assert taken == [1]


async def test_it_is_not_led_into_the_own_network_where_that_is_not_meant() -> None:
    async with serving(answering(response())) as peer:
        with pytest.raises(UpstreamUnreachable) as caught:
            await post(peer.port, any_address=False)

    error: UpstreamError = caught.value
    assert error.proxy_status == "destination_ip_prohibited"
    assert isinstance((error.__cause__ or error).__cause__, PrivateAddressError)
    assert peer.connections == 0


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nX: y", "a\0"])
async def test_a_field_that_would_become_two_is_not_sent(value: str) -> None:
    async with serving(answering(response())) as peer:
        with pytest.raises(ValueError, match="header field") as caught:
            await get(client(), URL(f"http://127.0.0.1:{peer.port}/"), {"A": value})

    assert value not in str(caught.value)
    assert peer.received == []
