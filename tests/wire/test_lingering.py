"""How a connection ends while the client still sends, and after an answer that broke off: over TCP, and over TLS."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
from msgspec import structs

from proxy.certificate import CertificateFiles
from proxy.config import ServerConfig, UpstreamConfig
from proxy.wire import lingering
from tests.peers import CHUNKED, DATE, Connection, answering, chunked, request, response
from tests.proxies import whole_path
from tests.wire.tls_client import tls_client

AUTHORITY = trustme.CA()
OK = answering(response(b"ok"))
BODY = b"x" * 2_000_000
# A refusal before its body has come.
UPLOAD = request(b"POST", b"/nobody/x", fields=b"Content-Length: %d\r\n" % len(BODY))


@pytest.fixture
def secure(tmp_path: Path) -> ServerConfig:
    files = CertificateFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    leaf = AUTHORITY.issue_cert("localhost")
    leaf.cert_chain_pems[0].write_to_path(files.certificate)
    leaf.private_key_pem.write_to_path(files.private_key)
    return ServerConfig(port=0, drain_timeout=0.1, tls=files)


def trusting(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    context.maximum_version = version
    return context


# A refused upload


@pytest.mark.parametrize("sent", [0, 10, 1 << 16, 500_000])
async def test_over_tls_1_3_a_refusal_ends_at_once_and_the_rest_is_still_taken(secure: ServerConfig, sent: int) -> None:
    async with whole_path(OK, server=secure) as path, tls_client(path.proxy.port, trusting()) as client:
        await client.send(UPLOAD + BODY[:sent])
        answer, end = await client.read_to_end()
        assert (answer[:12], end) == (b"HTTP/1.1 404", "close_notify")
        await client.send(BODY[sent:])
        await client.answer_end()
        assert await client.has_closed()


@pytest.mark.parametrize("behind", [10, 1 << 14, 40_000, 500_000])
async def test_over_tls_1_3_so_does_the_refusal_of_what_is_no_request(secure: ServerConfig, behind: int) -> None:
    async with whole_path(OK, server=secure) as path, tls_client(path.proxy.port, trusting()) as client:
        await client.send(b"garbage\r\n\r\n" + b"x" * behind)
        answer, end = await client.read_to_end()
        assert (answer[:12], end) == (b"HTTP/1.1 501", "close_notify")
        await client.send(BODY)
        await client.answer_end()
        assert await client.has_closed()


@pytest.mark.parametrize("sent", [0, 10, 500_000])
async def test_over_tls_1_2_a_refusal_ends_when_the_rest_was_taken(secure: ServerConfig, sent: int) -> None:
    context = trusting(ssl.TLSVersion.TLSv1_2)
    async with whole_path(OK, server=secure) as path, tls_client(path.proxy.port, context) as client:
        await client.send(UPLOAD + BODY[:sent])
        answer = await client.read()
        assert isinstance(answer, bytes)
        assert answer.startswith(b"HTTP/1.1 404")
        await client.send(BODY[sent:-1])
        async with tls_client(path.proxy.port, context) as other:  # what the proxy does by itself is done by now
            await other.send(request())
            await other.read()
        assert client.hears_nothing()
        await client.send(BODY[-1:])
        assert await client.read_to_end() == (b"", "close_notify")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_sends_no_more_over_tls_is_closed_after_a_while(
    secure: ServerConfig, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "_SILENCE", 0.05)
    async with whole_path(OK, server=secure) as path, tls_client(path.proxy.port, trusting(version)) as client:
        await client.send(UPLOAD)
        answer, end = await client.read_to_end()

    assert (answer[:12], end) == (b"HTTP/1.1 404", "close_notify")


@pytest.mark.parametrize(
    "sent",
    [UPLOAD + BODY, request(b"POST", b"/nobody/x", fields=CHUNKED) + chunked(BODY), b"garbage\r\n\r\n" + BODY],
    ids=["length", "chunked", "none"],
)
async def test_over_tcp_a_refusal_ends_at_once_and_the_rest_is_still_taken(sent: bytes) -> None:
    async with whole_path(OK) as path, path.connect() as client:
        await client.send(sent[:100])
        if b"\r\n\r\n" not in sent[:100]:
            await client.send(sent[100 : sent.index(b"\r\n\r\n") + 4])
        answer = await client.read_answer()
        assert await client.at_end()
        await client.send(sent[-len(BODY) :])

    assert answer.status in (404, 501)


# An answer that breaks off


LENGTH = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 10\r\n\r\nfirst"
IN_CHUNKS = b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("answer", "http", "expected"),
    [
        (LENGTH, b"1.1", "FIN"),
        (LENGTH, b"1.0", "FIN"),
        (IN_CHUNKS, b"1.1", "FIN"),
        (IN_CHUNKS, b"1.0", "RST"),
    ],
)
async def test_over_tls_an_answer_that_breaks_off_ends_without_a_word(
    secure: ServerConfig, version: ssl.TLSVersion, answer: bytes, http: bytes, expected: str
) -> None:
    relayed = asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(answer)
        await relayed.wait()

    async with whole_path(api, server=secure) as path, tls_client(path.proxy.port, trusting(version)) as client:
        await client.send(request(version=http))
        head = await client.read()
        assert isinstance(head, bytes)
        relayed.set()
        rest, end = await client.read_to_end()

    assert end == expected
    assert (head + rest).endswith((b"first", b"first\r\n"))


@pytest.mark.parametrize("tls", [False, True])
async def test_all_that_came_of_a_broken_answer_reaches_a_client_that_reads_late(
    secure: ServerConfig, tls: bool
) -> None:
    there = 1_500_000

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"y" * there)

    settings = secure if tls else ServerConfig(port=0)
    async with whole_path(api, server=settings) as path:
        if tls:
            async with tls_client(path.proxy.port, trusting()) as client:
                await client.send(request())
                await path.proxy.until_logged("request.forwarded")
                data, end = await client.read_to_end()
        else:
            async with path.connect() as plain:
                plain.stop_reading()
                await plain.send(request())
                await path.proxy.until_logged("request.forwarded")
                plain.start_reading()
                data, orderly = await plain.read_to_end()
                end = "FIN" if orderly else "RST"

    assert (data.count(b"y"), end) == (there, "FIN")


async def test_a_broken_answer_that_nobody_takes_is_given_up(
    secure: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "_AT_MOST", 0.05)
    patient = structs.replace(secure, drain_timeout=10.0)

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n" + b"y" * 1_500_000)

    async with whole_path(api, server=patient) as path, tls_client(path.proxy.port, trusting()) as client:
        await client.send(request())
        await path.stop()  # so the connection has ended
        assert (await client.read_to_end())[1] == "RST"


async def test_what_is_cut_off_by_a_stop_does_not_look_whole_over_tls_either(secure: ServerConfig) -> None:
    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(LENGTH)
        await connection.read_request()

    async with whole_path(api, server=secure) as path, tls_client(path.proxy.port, trusting()) as client:
        await client.send(request())
        assert isinstance(await client.read(), bytes)
        await path.stop()
        assert (await client.read_to_end())[1] in ("FIN", "RST")


async def test_an_upload_that_goes_on_does_not_hinder_the_end_of_a_broken_answer() -> None:
    async def api(connection: Connection) -> None:
        received = await connection.read_request(body=False)
        assert received is not None
        await connection.send(LENGTH)

    async with (
        whole_path(api, upstream=UpstreamConfig(max_body_size=1 << 30)) as path,
        path.connect() as client,
    ):
        await client.send(request(b"POST", fields=b"Content-Length: 100000000\r\n") + BODY)
        answer = await client.reader.readuntil(b"\r\n\r\n")
        data, orderly = await client.read_to_end()

    assert b"Content-Length: 10\r\n" in answer
    assert (data, orderly) == (b"first", True)
