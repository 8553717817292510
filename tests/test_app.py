"""The proxy as a whole: it starts, says why it can't, serves a request, and stops on a signal."""

import asyncio
import os
import signal
import socket
from dataclasses import replace

import pytest
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_parser import HttpRequestParserPy

from proxy import app
from proxy.app import Outside, StartError, serve
from proxy.config import ServerConfig
from tests.peers import Connection, answering, connected, request, response, serving, token_response
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
    monkeypatch.setattr(app, "HttpRequestParser", HttpRequestParserPy)
    with pytest.raises(StartError, match="C parser"):
        async with proxying(config()):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_after_the_request_in_flight(number: signal.Signals) -> None:
    asked, answer_now = asyncio.Event(), asyncio.Event()
    events: list[str] = []
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        asked.set()
        await answer_now.wait()
        await connection.send(response(b"in time"))

    def keep(_: object, __: str, event: structlog.typing.EventDict) -> str:
        events.append(event["event"])
        if event["event"] == "proxy.started":
            started.set_result(event["port"])
        if event["event"] == "proxy.stopping":
            answer_now.set()
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.make_filtering_bound_logger("debug"))
    async with asyncio.timeout(20), serving(answering(token_response())) as tokens, serving(api) as peer:
        settings = config(shop("demo", platform(tokens.port, peer.port)))
        serving_it = asyncio.create_task(serve(settings, Outside(log=log, conceal=lambda _: None, redact=str)))
        async with connected(await started) as client:
            await client.send(request())
            await asked.wait()
            os.kill(os.getpid(), number)
            assert (await client.read_answer()).body == b"in time"
        await serving_it

    assert events[-3:] == ["proxy.stopping", "request.forwarded", "proxy.stopped"]


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
