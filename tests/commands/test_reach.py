"""One call of a platform: its answer, or in words why there is none. Over real connections."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from proxy.app import open_connections
from proxy.certificate import Authorities
from proxy.commands.reach import Answer, Unreachable, reach
from proxy.config import UpstreamConfig
from proxy.platforms.egress_proxy import EgressProxy
from tests.commands.processes import free_port
from tests.peers import Connection, Script, answering, response, serving
from tests.proxies import platform


async def reached(
    url: str, *, within: float = 5.0, headers: dict[str, str] | None = None, config: UpstreamConfig | None = None
) -> Answer:
    async with open_connections(config or UpstreamConfig()) as connections:
        return await reach(connections.client, platform(1, 2), url, headers or {}, within=within)


async def refusal(url: str, *, within: float = 5.0, config: UpstreamConfig | None = None) -> str:
    with pytest.raises(Unreachable) as caught:
        await reached(url, within=within, config=config)
    return str(caught.value)


async def test_an_answer_is_an_answer_whatever_its_status_and_redirects_are_not_followed() -> None:
    moved = response(
        b"gone", status=b"308 Permanent Redirect", fields=b"Location: http://127.0.0.1:9/\r\nContent-Type: a/b; c\r\n"
    )
    async with serving(answering(moved)) as peer:
        answer = await reached(f"http://127.0.0.1:{peer.port}/api/a%2Fb?c=%20", headers={"Authorization": "Bearer t"})

    assert (answer.status, answer.media_type, answer.body) == (308, "a/b", b"gone")
    assert peer.received[0].request_line == b"GET /api/a%2Fb?c=%20 HTTP/1.1"
    assert b"\r\nauthorization: bearer t\r\n" in peer.received[0].head.lower()


async def test_a_port_where_nobody_listens_is_told_of() -> None:
    port = free_port()

    assert (await refusal(f"http://127.0.0.1:{port}/")).startswith(f"nothing listens on 127.0.0.1:{port}: ")


async def test_a_certificate_of_an_unknown_authority() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with serving(answering(response()), tls=context) as peer:
        sentence = await refusal(f"https://127.0.0.1:{peer.port}/")

    assert sentence.startswith(f"the certificate of 127.0.0.1:{peer.port} is signed by an authority that this machine")
    assert "upstream.ca_file" in sentence


@pytest.mark.parametrize(
    ("host", "days", "told"),
    [
        ("127.0.0.1", -1, "has expired"),
        ("other.example", 1, "is not for this address"),
    ],
)
async def test_a_certificate_that_is_trusted_but_not_right(host: str, days: int, told: str) -> None:
    authority, now = trustme.CA(), datetime.now(UTC)
    leaf = authority.issue_cert(host, not_before=now - timedelta(days=2), not_after=now + timedelta(days=days))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    trusting = UpstreamConfig(ca_file=Authorities(Path("ca.pem"), authority.cert_pem.bytes().decode()))
    async with serving(answering(response()), tls=context) as peer:
        sentence = await refusal(f"https://127.0.0.1:{peer.port}/", config=trusting)

    assert sentence.startswith(f"the certificate of 127.0.0.1:{peer.port} {told}")


async def test_a_port_without_tls() -> None:
    async def plain(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with serving(plain) as peer:
        sentence = await refusal(f"https://127.0.0.1:{peer.port}/")

    assert sentence.startswith(f"127.0.0.1:{peer.port} is not a TLS port")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (answering(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not speak HTTP"),
        (answering(b""), "does not answer within 0.3 s"),
    ],
)
async def test_something_else_than_http(script: Script, told: str) -> None:
    async with serving(script) as peer:
        assert told in await refusal(f"http://127.0.0.1:{peer.port}/", within=0.3)


async def test_a_name_that_is_none() -> None:
    assert (await refusal("http://no-such-host.invalid/")).startswith("no-such-host.invalid can't be resolved")


async def test_an_egress_proxy_that_does_not_run() -> None:
    port = free_port()
    behind = platform(1, 2, proxy=EgressProxy("127.0.0.1", port))

    async with open_connections(UpstreamConfig()) as connections:
        with pytest.raises(Unreachable) as caught:
            await reach(connections.client, behind, "https://api.example/", {}, within=5.0)

    assert str(caught.value).startswith(f"nothing listens on 127.0.0.1:{port}, the egress proxy")
