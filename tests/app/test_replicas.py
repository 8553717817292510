"""Proxies that share what they know, from a client's call to what the platform sees."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import replace

import msgspec
import pytest

from proxy.app.replicas import _place
from proxy.config import Config, SharedConfig
from proxy.guards.shared_pace import SharedPace
from proxy.platforms.batch import Batch
from proxy.platforms.platform import RateLimit
from proxy.secret import Secret
from proxy.shared.client import RedisClient
from tests.admin.asking import samples, status_json
from tests.forwarding.test_batching import JSON, TYPE, good, single, uris_of
from tests.peers import Connection, answering, connected, request, response, serving, token_response
from tests.proxies import TestedProxy, config, platform, proxying, shop
from tests.redis_servers import each_server, serving_redis

KEY = Secret("a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleSE=")
OK = response(b"ok")


def shared(url: str) -> SharedConfig:
    return SharedConfig(url=Secret(url), encryption_key=(KEY,))


def shop_of(token_port: int, api_port: int, url: str | None, **changes: object) -> Config:
    settings = config(shop("demo", platform(token_port, api_port, **changes)))
    return settings if url is None else msgspec.structs.replace(settings, shared=shared(url))


async def asked(proxy: TestedProxy) -> int:
    async with connected(proxy.port) as client:
        answer = await client.ask(request())
    assert answer.body == b"ok", json.loads(answer.body)
    return answer.status


@pytest.mark.parametrize("program", each_server())
async def test_proxies_share_a_token_and_show_it(program: str) -> None:
    async with (
        serving_redis(program) as server,
        serving(answering(token_response())) as tokens,
        serving(answering(OK)) as api,
        AsyncExitStack() as stack,
    ):
        settings = shop_of(tokens.port, api.port, server.url)
        proxies = [await stack.enter_async_context(proxying(settings)) for _ in range(3)]
        await asyncio.gather(*(asked(proxy) for proxy in proxies for _ in range(5)))
        await asyncio.sleep(1.1)  # all have said that they are there
        counted = [await samples(proxy) for proxy in proxies]
        shown = [(await status_json(proxy))["shared"] for proxy in proxies]

    assert len(tokens.received) == 1
    assert len(api.received) == 15
    assert sum(each["shared_tokens_taken_total"][()] for each in counted) == 2
    assert [each["replicas"][()] for each in counted] == [3.0] * 3
    assert all(each["shared_commands_total"]["ok",] >= 2 for each in counted)
    assert shown == [{"replicas": 3, "away": False, "why": None, "deaf": None}] * 3


@pytest.mark.parametrize("program", each_server())
async def test_a_redis_that_dies_fails_no_call_and_is_taken_back(program: str) -> None:
    async with (
        serving_redis(program) as server,
        serving(answering(token_response())) as tokens,
        serving(answering(OK)) as api,
        proxying(shop_of(tokens.port, api.port, server.url, rate_limit=RateLimit(50, per=0.1))) as proxy,
    ):
        await asked(proxy)
        server.kill()
        for _ in range(10):
            await asked(proxy)
        shown = (await status_json(proxy))["shared"]
        assert (shown["away"], shown["why"]) == (True, "can't be reached")
        await server.start()
        await proxy.until_logged("shared.back")
        await asked(proxy)
        away = [entry["event"] for entry in proxy.events if entry["event"].startswith("shared.")]

    assert away == ["shared.away", "shared.back"]
    assert len(tokens.received) == 1


async def test_a_redis_that_takes_connections_and_says_nothing_costs_one_wait() -> None:
    async def silent(connection: Connection) -> None:
        await connection.reader.read()

    async with (
        serving(silent) as hole,
        serving(answering(token_response())) as tokens,
        serving(answering(OK)) as api,
        proxying(shop_of(tokens.port, api.port, f"redis://127.0.0.1:{hole.port}")) as proxy,
    ):
        started = time.monotonic()
        for _ in range(5):
            await asked(proxy)
        took = time.monotonic() - started

    assert took < 1.0
    assert len(proxy.logged("shared.away")) == 1


@pytest.mark.parametrize("program", each_server())
async def test_sharing_is_switched_on_and_off_while_the_proxy_runs(program: str) -> None:
    async with (
        serving_redis(program) as server,
        serving(answering(token_response())) as tokens,
        serving(answering(OK)) as api,
        proxying(shop_of(tokens.port, api.port, server.url, rate_limit=RateLimit(9, per=0.1))) as other,
        proxying(shop_of(tokens.port, api.port, None, rate_limit=RateLimit(9, per=0.1))) as proxy,
    ):
        await asked(other)
        await asked(proxy)
        assert len(tokens.received) == 2  # each its own
        assert "shared" not in await status_json(proxy)
        with_sharing = shop_of(tokens.port, api.port, server.url, rate_limit=RateLimit(9, per=0.1))
        assert await proxy.running.take(with_sharing) == ()
        await asked(proxy)
        assert (await status_json(proxy))["shared"]["away"] is False
        assert await proxy.running.take(shop_of(tokens.port, api.port, None, rate_limit=RateLimit(9, per=0.1))) == ()
        await asked(proxy)

    assert len(tokens.received) == 2


@pytest.mark.parametrize("program", each_server())
async def test_a_password_that_is_changed_while_redis_refuses_the_old_one_changes_nothing_else(program: str) -> None:
    """The process is the same replica as before, and the limit holds in the window in which it comes back."""
    seen: list[float] = []
    called, limit = asyncio.Event(), RateLimit(6, per=0.5)

    async def api(connection: Connection) -> None:
        while await connection.read_request() is not None:
            seen.append(time.monotonic())
            called.set()
            await connection.send(OK)

    async def more(calls: int) -> None:
        wanted = len(seen) + calls
        while len(seen) < wanted:
            called.clear()
            await called.wait()

    async def pull(proxy: TestedProxy) -> None:
        while pulling:
            await asked(proxy)

    async with (
        asyncio.timeout(30),
        serving_redis(program, "--requirepass", "the-old-one") as server,
        serving(answering(token_response())) as tokens,
        serving(api) as api_peer,
        AsyncExitStack() as stack,
    ):
        old = shop_of(tokens.port, api_peer.port, server.url, rate_limit=limit)
        old = msgspec.structs.replace(old, shared=msgspec.structs.replace(old.shared, password=Secret("the-old-one")))
        new = msgspec.structs.replace(old, shared=msgspec.structs.replace(old.shared, password=Secret("the-new-one")))
        proxies = [await stack.enter_async_context(proxying(old)) for _ in range(2)]
        for _ in range(80):  # until it has said again that it is there, the first one thinks that it is alone
            if (await status_json(proxies[0]))["shared"]["replicas"] == 2:
                break
            await asyncio.sleep(0.1)
        pulling = True
        clients = [asyncio.ensure_future(pull(proxy)) for proxy in proxies]
        admin = RedisClient(server.url, "the-old-one")
        stack.push_async_callback(admin.close)
        await admin._command("CONFIG", "SET", "requirepass", "the-new-one")
        await admin._command("CLIENT", "KILL", "TYPE", "normal")
        for proxy in proxies:
            await proxy.until_logged("shared.away")
        await more(12)  # by shares
        for proxy in proxies:
            assert await proxy.running.take(new) == ()
        for proxy in proxies:
            await proxy.until_logged("shared.back")
        await more(18)
        pulling = False
        await asyncio.gather(*clients)
        replicas = [(await status_json(proxy))["shared"]["replicas"] for proxy in proxies]

    assert replicas == [2, 2]
    assert max(sum(at <= other < at + limit.per for other in seen) for at in seen) <= limit.requests


@pytest.mark.parametrize(
    ("url", "prefix", "same"),
    [
        ("redis://me:old@redis:6379", "shops:", True),
        ("redis://redis:6379?ssl_cert_reqs=none", "shops:", True),
        ("redis://redis:6379", "other:", False),
        ("redis://redis:6379?db=1", "shops:", False),
        ("redis://redis:6379/1", "shops:", False),
        ("redis://elsewhere:6379", "shops:", False),
    ],
)
def test_replicas_meet_where_store_database_and_prefix_are_the_same(url: str, prefix: str, same: bool) -> None:
    one = SharedConfig(url=Secret("redis://redis:6379"), prefix="shops:")

    assert (_place(SharedConfig(url=Secret(url), prefix=prefix)) == _place(one)) is same


@pytest.mark.parametrize("program", each_server())
async def test_a_replica_that_may_not_listen_says_so_once_and_serves(program: str) -> None:
    async with (
        asyncio.timeout(30),
        serving_redis(program) as server,
        serving(answering(token_response())) as tokens,
        serving(answering(OK)) as api,
        proxying(shop_of(tokens.port, api.port, server.url)) as proxy,
    ):
        admin = RedisClient(server.url)
        await asked(proxy)
        await admin._command("ACL", "SETUSER", "default", "-subscribe")
        await admin._command("CLIENT", "KILL", "TYPE", "pubsub")
        await proxy.until_logged("shared.deaf")
        await asked(proxy)
        shown = (await status_json(proxy))["shared"]
        counted = await samples(proxy)
        await admin._command("ACL", "SETUSER", "default", "+subscribe")
        await proxy.until_logged("shared.hears")
        assert (await status_json(proxy))["shared"]["deaf"] is None
        told = [entry["event"] for entry in proxy.events if entry["event"].startswith("shared.")]
        await admin.close()

    assert (shown["away"], shown["deaf"]) == (False, "the user is not allowed to do that")
    assert counted["shared_deaf"] == {(): 1.0}
    assert told == ["shared.deaf", "shared.hears"]


@pytest.mark.parametrize("program", each_server())
async def test_a_proxy_that_stops_does_not_count_any_more(program: str) -> None:
    async with (
        serving_redis(program) as server,
        serving(answering(token_response())) as tokens,
        serving(answering(OK)) as api,
        proxying(shop_of(tokens.port, api.port, server.url)) as staying,
    ):
        async with proxying(shop_of(tokens.port, api.port, server.url)):
            await asyncio.sleep(1.1)
            assert (await status_json(staying))["shared"]["replicas"] == 2
        for _ in range(80):
            if (await status_json(staying))["shared"]["replicas"] == 1:
                break
            await asyncio.sleep(0.1)
        assert (await status_json(staying))["shared"]["replicas"] == 1


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("program", each_server())
async def test_a_proxy_that_stops_while_it_begins_to_share_otherwise_leaves_no_connection(
    program: str, turns: int
) -> None:
    async with serving_redis(program) as server:
        before = shop_of(1, 1, server.url)
        async with proxying(before) as proxy:
            assert await proxy.running.take(msgspec.structs.replace(before, shared=SharedConfig())) == ()
            for _ in range(turns):
                await asyncio.sleep(0)
        admin = RedisClient(server.url)
        try:
            connected_to_it = bytes(await admin._command("CLIENT", "LIST")).splitlines()
            replicas: object = await admin._command("ZCARD", "shop-auth-proxy:replicas:all")
        finally:
            await admin.close()

    assert len(connected_to_it) == 1
    assert replicas == 0


@pytest.mark.parametrize("program", each_server())
async def test_a_request_that_is_held_up_between_its_slot_and_the_wire_books_another(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([True, True])
    monkeypatch.setattr(SharedPace, "lapsed", lambda *_: next(told, False))
    async with (
        serving_redis(program) as server,
        serving(answering(token_response())) as tokens,
        serving(answering(OK)) as api,
        proxying(shop_of(tokens.port, api.port, server.url, rate_limit=RateLimit(9, per=0.1))) as proxy,
    ):
        await asked(proxy)
        counted = await samples(proxy)

    assert counted["shared_slots_booked_total"][()] >= 1
    assert len(api.received) == 1
    assert next(told, None) is None  # it was asked until it was good


@pytest.mark.parametrize("program", each_server())
async def test_batches_of_several_proxies_go_one_after_the_other_within_the_limit(program: str) -> None:
    under_way = most = 0
    seen: list[tuple[float, int]] = []  # when, and how many calls in one request
    limit = RateLimit(4, per=0.4)

    async def api(connection: Connection) -> None:
        nonlocal under_way, most
        while (received := await connection.read_request()) is not None:
            target = received.request_line.split(b" ")[1]
            uris = uris_of(received) if target == b"/api/batch" else []
            seen.append((time.monotonic(), len(uris) or 1))
            if uris:
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0.25)  # longer than until the next slot
                under_way -= 1
            await connection.send(good(uris) if uris else response(single(target), fields=TYPE))

    async def work(proxy: TestedProxy, name: str) -> None:
        async with connected(proxy.port) as client:
            for number in range(4):
                answer = await client.ask(request(target=f"/demo/{name}/{number}".encode(), fields=JSON))
                assert (answer.status, answer.body) == (200, single(f"/api/{name}/{number}".encode()))

    async with (
        asyncio.timeout(30),
        serving_redis(program) as server,
        serving(answering(token_response())) as tokens,
        serving(api) as api_peer,
        AsyncExitStack() as stack,
    ):
        of = platform(tokens.port, api_peer.port, batch=Batch("batch", most=50), rate_limit=limit)
        settings = config(replace(shop("demo", of), batch=True), shared=shared(server.url))
        proxies = [await stack.enter_async_context(proxying(settings)) for _ in range(2)]
        await asyncio.gather(*(work(proxies[number % 2], str(number)) for number in range(12)))
        batches = [proxy.running._errand_metrics.batches for proxy in proxies]

    assert most == 1
    assert min(batches) > 0
    assert sum(calls for _, calls in seen) == 48
    assert len(seen) < 24
    times = [at for at, _ in seen]
    assert max(sum(at <= other < at + limit.per for other in times) for at in times) <= limit.requests
