"""TLS to the platforms: always verified, also where a company's authority is trusted besides the usual ones."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from proxy.config import UpstreamConfig
from tests.names import Names
from tests.peers import Answer, Connection, Peer, answering, connected, request, response, serving, token_response
from tests.proxies import TestedProxy as Proxy
from tests.proxies import authorities, config, platform, proxying, shop

AUTHORITY = trustme.CA()
ANOTHER = trustme.CA()


def certified(host: str, authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(file)
    return file


@asynccontextmanager
async def proxy_to(api: Peer, tokens: Peer, *, tokens_tls: bool = False, ca_file: Path | None) -> AsyncIterator[Proxy]:
    of = platform(
        tokens.port,
        api.port,
        token_url=f"http{'s' if tokens_tls else ''}://tokens.example:{tokens.port}/token",
        api_url=f"https://api.example:{api.port}/",
    )
    trusted = None if ca_file is None else authorities(ca_file)
    settings = config(shop("demo", of), upstream=UpstreamConfig(ca_file=trusted, connect_timeout=5.0))
    async with asyncio.timeout(20), proxying(settings, resolver=Names("127.0.0.1")) as proxy:
        yield proxy


async def ask(proxy: Proxy) -> Answer:
    async with connected(proxy.port) as client:
        return await client.ask(request())


async def test_a_certificate_of_the_companys_authority_is_trusted(ca_file: Path) -> None:
    async with (
        serving(answering(token_response()), certified("tokens.example")) as tokens,
        serving(answering(response(b"ok")), certified("api.example")) as api,
        proxy_to(api, tokens, tokens_tls=True, ca_file=ca_file) as proxy,
    ):
        assert [(await ask(proxy)).body for _ in range(2)] == [b"ok", b"ok"]

    assert api.connections == 1


@pytest.mark.parametrize("certificate", ["unknown authority", "another name"])
async def test_an_api_that_can_not_be_trusted_sees_no_request(ca_file: Path, certificate: str) -> None:
    unknown = certificate == "unknown authority"
    tls = certified("api.example", ANOTHER) if unknown else certified("other.example")
    async with (
        serving(answering(token_response())) as tokens,
        serving(answering(response()), tls) as api,
        proxy_to(api, tokens, ca_file=ca_file) as proxy,
    ):
        answer = await ask(proxy)

    assert (answer.status, json.loads(answer.body)["code"]) == (502, "upstream_unreachable")
    assert answer.values(b"Proxy-Status") == [b"shop-auth-proxy; error=tls_certificate_error"]
    assert api.received == []


async def test_a_token_endpoint_that_can_not_be_trusted_sees_no_secret() -> None:
    async with (
        serving(answering(token_response()), certified("tokens.example", ANOTHER)) as tokens,
        serving(answering(response()), certified("api.example")) as api,
        proxy_to(api, tokens, tokens_tls=True, ca_file=None) as proxy,
    ):
        answer = await ask(proxy)

    assert (answer.status, json.loads(answer.body)["code"]) == (502, "token_unavailable")
    assert (tokens.received, api.connections) == ([], 0)


async def test_an_answer_that_is_cut_off_without_an_end_of_tls_is_no_whole_answer(ca_file: Path) -> None:
    relayed = asyncio.Event()

    async def cutting_off(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        await relayed.wait()  # a reset takes along what was not read
        connection.reset()

    async with (
        serving(answering(token_response())) as tokens,
        serving(cutting_off, certified("api.example")) as api,
        proxy_to(api, tokens, ca_file=ca_file) as proxy,
        connected(proxy.port) as client,
    ):
        await client.send(request())
        head = await client.reader.readuntil(b"first")
        relayed.set()
        rest, _ = await client.read_to_end()

    # It is visibly short (RFC 9112 §8).
    assert b"\r\nContent-Length: 10\r\n" in head
    assert rest == b""
