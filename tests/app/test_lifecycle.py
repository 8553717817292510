"""The proxy as a whole: it starts, says why it can't, and serves a request."""

import socket
from dataclasses import replace

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_parser import HttpRequestParserPy

from proxy.app import StartError
from proxy.config import ServerConfig
from tests.peers import answering, connected, request, response, serving, token_response
from tests.proxies import config, platform, proxying, shop, whole_path


async def test_a_plain_request_reaches_the_api_with_a_token_and_its_answer_the_client() -> None:
    async with whole_path(answering(response(b'{"items":[]}'))) as path:
        answer = await path.ask(
            request(target=b"/demo/products?full=1", fields=b"Authorization: Basic b2xkOm9sZA==\r\n")
        )

    assert (answer.status, answer.body) == (200, b'{"items":[]}')
    assert path.api.received[0].request_line == b"GET /api/products?full=1 HTTP/1.1"
    assert path.api.received[0].values(b"Authorization") == [b"Bearer token-1"]
    assert len(path.tokens.received) == 1


async def test_each_shop_has_its_own_token() -> None:
    async with (
        serving(answering(token_response("token-a"), token_response("token-b"))) as tokens,
        serving(answering(response())) as api,
        proxying(
            config(*(shop(name, platform(tokens.port, api.port), secret=f"secret-{name}") for name in ("a", "b")))
        ) as proxy,
        connected(proxy.port) as client,
    ):
        for name in (b"a", b"b", b"a"):
            await client.ask(request(target=b"/%s/" % name))

    assert [each.values(b"Authorization")[0][-1:] for each in api.received] == [b"a", b"b", b"a"]
    assert [b"secret-a" in each.body for each in tokens.received] == [True, False]


async def test_it_says_where_it_listens() -> None:
    async with whole_path(answering(response())) as path:
        [started] = path.proxy.logged("proxy.started")

    assert (started["host"], started["port"], started["shops"]) == ("127.0.0.1", path.proxy.port, 1)


async def test_a_port_in_use_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            StartError, match=rf"^server\.host, server\.port: can't listen on 127\.0\.0\.1 port {port}: "
        ):
            async with proxying(config(server=ServerConfig(port=port))):
                pass


async def test_without_the_strict_parser_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.app.lifecycle.HttpRequestParser", HttpRequestParserPy)
    with pytest.raises(StartError, match="C parser"):
        async with proxying(config()):
            pass


async def test_a_platform_without_private_addresses_is_not_reached_on_loopback() -> None:
    class Loopback(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            return [
                ResolveResult(
                    hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
                )
            ]

        async def close(self) -> None:
            pass

    async with serving(answering(response())) as peer:
        public = replace(
            platform(peer.port, peer.port),
            token_url=f"http://token.example:{peer.port}/",
            api_url=f"http://api.example:{peer.port}/",
            allow_private=False,
        )
        async with (
            proxying(config(shop("demo", public)), resolver=Loopback()) as proxy,
            connected(proxy.port) as client,
        ):
            answer = await client.ask(request())

    assert answer.status == 502
    assert peer.connections == 0
