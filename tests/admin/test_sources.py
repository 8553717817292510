"""What is taken at one moment, from a proxy that runs."""

import asyncio

import pytest

from proxy.platforms.platform import RateLimit
from proxy.telemetry.labels import MAX_WILDCARD_SHOPS
from tests.admin.asking import samples, status_of, with_wildcard
from tests.peers import Connection, answering, closing, connected, request, response, serving, token_response
from tests.proxies import config, platform, proxying, shop, whole_path

REFUSAL = response(b'{"error":"invalid_client"}', status=b"401 Unauthorized")


async def test_shops_are_seen_before_anybody_calls_them() -> None:
    of = platform(1, 1)
    async with proxying(config(shop("a", of), shop("b", of))) as proxy:
        shops = await status_of(proxy)

    assert list(shops) == ["a", "b"]
    assert {seen["token"]["state"] for seen in shops.values()} == {"none"}
    assert shops["a"]["platform"] == "test"


async def test_what_became_of_a_call_is_seen() -> None:
    async with whole_path(answering(response(), response(status=b"503 Service Unavailable"))) as path:
        for _ in range(2):
            await path.ask(request())
        [seen] = (await status_of(path.proxy)).values()

    assert (seen["token"]["state"], seen["in_trouble"]) == ("good", True)
    assert 3590 < seen["token"]["expires_in"] <= 3600
    assert (seen["recent"]["calls"], seen["recent"]["errors"]) == (2, 1)
    assert (seen["last_problem"]["code"], seen["last_problem"]["detail"]) == ("http_503", "The platform answered 503.")


async def test_why_a_call_failed_is_seen_and_not_only_logged() -> None:
    async with whole_path(answering(b"SSH-2.0-OpenSSH\r\n")) as path:
        answer = await path.ask(request())
        [seen] = (await status_of(path.proxy)).values()

    assert answer.status == 502
    assert b"status line" not in answer.body
    assert (seen["last_problem"]["code"], seen["last_problem"]["reason"]) == (
        "upstream_protocol_error",
        "no status line",
    )
    assert seen["problems"][0]["reason"] == "no status line"


async def test_requests_that_wait_for_the_rate_limit_are_seen() -> None:
    async with whole_path(answering(response()), of={"rate_limit": RateLimit(1, per=10.0)}) as path:
        await path.ask(request())
        async with path.connect() as first, path.connect() as second:
            for client in (first, second):
                await client.send(request())
            while (await status_of(path.proxy))["demo"]["pacing_queue"] < 2:
                pass
            counted = await samples(path.proxy)

    assert counted["pacing_queue"] == {("demo",): 2.0}
    assert counted["requests_in_flight"] == {(): 2.0}
    assert counted["client_connections"][()] >= 2.0
    assert counted["client_connections_refused_total"] == {(): 0.0}


async def test_a_shop_of_the_wildcard_entry_is_seen_once_it_got_a_token_and_the_rest_as_one() -> None:
    async def tokens(connection: Connection) -> None:
        received = await connection.read_request()
        assert received is not None
        await connection.send(token_response() if b"/real/" in received.request_line else REFUSAL)

    async with serving(tokens) as token_peer, serving(answering(response())) as api:
        of = platform(token_peer.port, api.port, token_url=f"http://127.0.0.1:{token_peer.port}/{{shop}}/token")
        async with (
            proxying(config(shops=with_wildcard(shop("demo", of)))) as proxy,
            connected(proxy.port) as client,
        ):
            for name in (b"real", b"made-up", b"made-up-too", b"real"):
                await client.ask(request(target=b"/%s/x" % name))
            shops = await status_of(proxy)

    assert set(shops) == {"demo", "real", "*"}
    assert (shops["real"]["token"]["state"], shops["real"]["recent"]["calls"]) == ("good", 2)
    assert shops["*"]["token"] is None
    assert shops["*"]["recent"]["errors"] == 2
    assert shops["*"]["last_problem"]["code"] == "token_refused"


async def test_requests_of_shops_without_a_row_wait_in_the_row_of_all_others() -> None:
    async with serving(answering(token_response())) as tokens, serving(answering(response())) as api:
        url = f"http://127.0.0.1:{tokens.port}/{{shop}}/token"
        of = platform(tokens.port, api.port, token_url=url, rate_limit=RateLimit(1, per=10.0))
        async with asyncio.timeout(10), proxying(config(shops=with_wildcard(shop("demo", of)))) as proxy:
            for number in range(MAX_WILDCARD_SHOPS):  # as if as many had got their tokens before
                proxy.running.tokens._metrics.labels.granted(f"other-{number}", "*")
            async with connected(proxy.port) as served, connected(proxy.port) as waiting:
                await served.ask(request(target=b"/late/x"))
                await waiting.send(request(target=b"/late/x"))
                while (await status_of(proxy))["*"]["pacing_queue"] < 1:
                    pass
                shops = await status_of(proxy)

    assert {name for name, seen in shops.items() if seen["pacing_queue"]} == {"*"}
    assert shops["*"]["pacing_queue"] == 1


class Clock:
    """A clock that a test sets, in place of the `time` that the proxy reads."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("proxy.app.lifecycle.time", made)
    return made


async def test_the_time_that_the_platform_takes_is_not_added_by_the_proxy(clock: Clock) -> None:
    async def slow(connection: Connection) -> None:
        await connection.read_request()
        clock.now += 5.0
        await connection.send(response())

    async with whole_path(slow) as path:
        await path.ask(request())
        counted = await samples(path.proxy)

    assert counted["request_duration_seconds_sum"] == {("demo",): 5.0}
    assert (counted["added_latency_seconds_sum"], counted["added_latency_seconds_count"]) == (
        {("demo",): 0.0},
        {("demo",): 1.0},
    )


async def test_the_time_that_a_token_takes_is_added_by_the_proxy(clock: Clock) -> None:
    async def slow(connection: Connection) -> None:
        await connection.read_request()
        clock.now += 5.0
        await connection.send(token_response())

    async with whole_path(answering(response()), tokens=slow) as path:
        await path.ask(request())
        counted = await samples(path.proxy)

    assert counted["added_latency_seconds_sum"] == {("demo",): 5.0}


async def test_what_the_platform_takes_for_a_401_is_not_added_either(clock: Clock) -> None:
    async def slow(connection: Connection) -> None:
        for answer in (response(status=b"401 Unauthorized"), response()):
            await connection.read_request()
            clock.now += 5.0
            await connection.send(answer)

    async with whole_path(slow, tokens=answering(token_response("a"), token_response("b"))) as path:
        assert (await path.ask(request())).status == 200
        counted = await samples(path.proxy)
        [seen] = (await status_of(path.proxy)).values()

    assert counted["request_duration_seconds_sum"] == {("demo",): 10.0}
    assert counted["added_latency_seconds_sum"] == {("demo",): 0.0}
    assert counted["upstream_attempts_total"] == {("demo",): 2.0}
    assert counted["unauthorized_total"] == {("demo", "replace"): 1.0}
    assert counted["token_waits_total"] == {(): 2.0}  # for the first token, and for the other
    assert (seen["recent"]["unauthorized"], seen["in_trouble"]) == (0, False)  # the client noticed nothing


async def test_a_client_that_leaves_is_no_error() -> None:
    asked = asyncio.Event()

    async def silent(connection: Connection) -> None:
        await connection.read_request()
        asked.set()
        await connection.reader.read()

    async with whole_path(silent) as path:
        async with path.connect() as client:
            await client.send(request())
            await asked.wait()
        await path.proxy.until_logged("request.abandoned")
        counted = await samples(path.proxy)
        [seen] = (await status_of(path.proxy)).values()

    assert counted["requests_total"] == {("demo", "GET", "none"): 1.0}
    assert (seen["recent"]["calls"], seen["recent"]["errors"], seen["last_problem"]) == (1, 0, None)


async def test_an_answer_that_breaks_off_is_an_error() -> None:
    broken = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    async with whole_path(closing(broken)) as path:
        async with path.connect() as client:
            await client.send(request())
            await client.read_to_end()
        await path.proxy.until_logged("request.forwarded")
        counted = await samples(path.proxy)

    assert counted["errors_total"] == {("demo", "upstream_protocol_error"): 1.0}
    assert counted["requests_total"] == {("demo", "GET", "2xx"): 1.0}
