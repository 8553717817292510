"""The proxy as a whole: it starts, says why it can't, and serves a request."""

import asyncio
import json
import socket
from dataclasses import replace

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.app import StartError
from proxy.config import PacingConfig, ServerConfig, TokensConfig
from proxy.platforms.platform import RateLimit
from tests.peers import Connection, answering, connected, request, response, serving, token_response
from tests.proxies import TestedProxy as Proxy
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
    monkeypatch.setenv("AIOHTTP_NO_EXTENSIONS", "1")
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


# The end


async def readiness(proxy: Proxy) -> int:
    assert proxy.running.admin is not None
    async with connected(proxy.running.admin[1]) as probe:
        return (await probe.ask(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")).status


@pytest.mark.usefixtures("counted")
async def test_during_the_drain_delay_all_are_served_but_sent_elsewhere_for_the_next_request() -> None:
    server = ServerConfig(port=0, drain_delay=0.5, drain_timeout=3600.0)
    async with whole_path(answering(response(b"ok")), server=server) as path, path.connect() as kept:
        before = await kept.ask(request())
        ready = [await readiness(path.proxy)]
        stopping = asyncio.ensure_future(path.stop())
        await path.proxy.until_logged("proxy.stopping")
        ready.append(await readiness(path.proxy))
        answers = [await kept.ask(request()), await path.ask(request()), await path.ask(request())]
        assert await kept.at_end()
        assert not stopping.done()
        await stopping
        with pytest.raises(ConnectionRefusedError):
            await path.ask(request())

    assert ready == [200, 503]
    assert [(answer.status, answer.body) for answer in (before, *answers)] == [(200, b"ok")] * 4
    assert [answer.values(b"Connection") for answer in (before, *answers)] == [[], *[[b"close"]] * 3]


@pytest.mark.usefixtures("counted")
async def test_nobody_is_waited_for_where_nobody_is() -> None:
    server = ServerConfig(port=0, drain_timeout=3600.0)
    async with whole_path(answering(response()), server=server) as path:
        await path.ask(request(fields=b"Connection: close\r\n"))
        started = asyncio.get_running_loop().time()
        await path.stop()
        assert asyncio.get_running_loop().time() - started < 0.5  # not the second that kept connections get


async def test_who_waits_for_a_slot_at_the_end_is_told_so() -> None:
    async with (
        whole_path(
            answering(response()),
            of={"rate_limit": RateLimit(1, 3600.0)},
            server=ServerConfig(port=0, drain_timeout=0.1),
            pacing=PacingConfig(max_wait=7200.0),
        ) as path,
        path.connect() as waiting,
    ):
        assert (await path.ask(request())).status == 200
        await waiting.send(request())
        assert (await path.ask(request(target=b"/nobody/"))).status == 404  # that request is read by now
        assert path.proxy.running.pacer.waiting(demo_key(path.proxy)) == 1
        await path.stop()
        answer = await waiting.read_answer()

    assert (answer.status, json.loads(answer.body)["code"]) == (503, "draining")
    assert answer.values(b"Retry-After") == [b"1"]
    assert len(path.api.received) == 1
    assert path.proxy.running.pacer.waiting(demo_key(path.proxy)) == 0


def demo_key(proxy: Proxy) -> bytes:
    route = proxy.running.forwarder.site.routes.find("demo")
    assert route is not None
    return route.token_request.application


async def test_a_fetch_beside_the_traffic_holds_up_nothing() -> None:
    asked_again = asyncio.Event()

    async def endpoint(connection: Connection) -> None:
        await connection.read_request()
        if len(path.tokens.received) > 1:
            asked_again.set()
            await asyncio.Event().wait()
        await connection.send(token_response(expires_in=1))

    timeouts = TokensConfig(refresh_margin=3600.0, fetch_timeout=3600.0)
    async with whole_path(answering(response()), tokens=endpoint, timeouts=timeouts) as path:
        while not asked_again.is_set():  # which is a while before the end of its second
            assert (await path.ask(request(fields=b"Connection: close\r\n"))).status == 200
        await path.stop()
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "token fetch"]
