"""The platform's rate limit, kept by the proxy: what the API sees, and what its clients notice."""

import asyncio
import json
from contextlib import suppress
from itertools import pairwise

import aiohttp
import pytest

from proxy.config import PacingConfig
from proxy.guards.pace import Pace
from proxy.platforms.platform import Credentials, Platform, RateLimit, TokenRequestForm
from proxy.platforms.shop import Shop
from proxy.secret import Secret
from proxy.simulator import ShoprenterSimulator
from tests.peers import Connection, answering, request, response
from tests.proxies import config, proxying, whole_path

SLOW = {"rate_limit": RateLimit(1, per=1000.0)}
TOO_MANY = response(b"slow down", status=b"429 Too Many Requests", fields=b"Retry-After: 0\r\n")


async def test_a_request_above_the_limit_that_can_not_be_served_in_time_is_paced_out() -> None:
    async with whole_path(answering(response(b"ok")), of=SLOW) as path:
        first = await path.ask(request())
        second = await path.ask(request())

    assert (first.status, first.body) == (200, b"ok")
    assert (second.status, json.loads(second.body)["code"]) == (503, "paced_out")
    assert int(second.values(b"Retry-After")[0]) > 900
    assert len(path.api.received) == 1
    assert [(entry["code"], entry["status"]) for entry in path.proxy.logged("request.refused")] == [("paced_out", 503)]


async def test_a_request_above_the_limit_waits_its_turn() -> None:
    async with whole_path(answering(response(b"ok")), of={"rate_limit": RateLimit(1, per=0.1)}) as path:
        answers = await asyncio.gather(*(path.ask(request(target=b"/demo/%d" % number)) for number in range(4)))

    assert [answer.status for answer in answers] == [200] * 4
    assert len(path.api.received) == 4


async def test_a_client_that_leaves_the_line_costs_no_slot() -> None:
    async with whole_path(
        answering(response(b"ok")), of={"rate_limit": RateLimit(1, per=0.3)}, pacing=PacingConfig(max_wait=5.0)
    ) as path:
        await path.ask(request())
        async with path.connect() as leaving:
            await leaving.send(request(target=b"/demo/leaving"))
            waiting = asyncio.ensure_future(path.ask(request(target=b"/demo/staying")))
            await asyncio.sleep(0)
        answer = await waiting
        await path.proxy.until_logged("request.abandoned")

    assert answer.status == 200
    assert [each.request_line for each in path.api.received][1:] == [b"GET /api/staying HTTP/1.1"]


async def test_a_429_all_the_same_is_waited_out_and_the_request_sent_again_with_its_body() -> None:
    script = answering(TOO_MANY, response(b"done"))
    async with whole_path(script, of={"rate_limit": RateLimit(100, per=0.01)}) as path:
        answer = await path.ask(request(b"POST", body=b"the body"))

    assert (answer.status, answer.body) == (200, b"done")
    assert [each.body for each in path.api.received] == [b"the body", b"the body"]
    assert [entry["attempts"] for entry in path.proxy.logged("request.forwarded")] == [2]


async def test_a_429_for_longer_than_a_request_may_wait_is_the_clients() -> None:
    patient = response(b"slow down", status=b"429 Too Many Requests", fields=b"Retry-After: 3000\r\n")
    async with whole_path(answering(patient), of={"rate_limit": RateLimit(100, per=0.01)}) as path:
        answer = await path.ask(request())

    assert (answer.status, answer.body, answer.values(b"Retry-After")) == (429, b"slow down", [b"3000"])
    assert len(path.api.received) == 1


async def test_a_client_that_leaves_while_a_429_is_waited_out_leaves_no_connection_open() -> None:
    first = response(b"slow down", status=b"429 Too Many Requests", fields=b"Retry-After: 0\r\n")
    later = response(b"slow down", status=b"429 Too Many Requests", fields=b"Retry-After: 9\r\n")
    waits, ended = asyncio.Event(), asyncio.Event()

    async def api(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(first)
        await connection.read_request()
        await connection.send(later.replace(b"Content-Length: 9", b"Content-Length: 99"))  # open until it is let go
        waits.set()
        with suppress(ConnectionError):
            assert await connection.read_request() is None
        ended.set()

    async with whole_path(api, of={"rate_limit": RateLimit(100, per=0.01)}) as path:
        async with path.connect() as client:
            await client.send(request())
            await waits.wait()
        await path.proxy.until_logged("request.abandoned")
        await ended.wait()


async def test_without_a_limit_a_429_is_an_answer_like_any_other() -> None:
    async with whole_path(answering(TOO_MANY, response(b"not asked for"))) as path:
        answer = await path.ask(request())

    assert (answer.status, answer.body) == (429, b"slow down")
    assert len(path.api.received) == 1


async def test_a_slot_whose_request_never_went_out_goes_to_the_next() -> None:
    async def refusing(connection: Connection) -> None:
        connection.close()

    async with whole_path(refusing, of={**SLOW, "api_url": "http://127.0.0.1:1/"}) as path:
        for _ in range(2):
            answer = await path.ask(request())
            assert json.loads(answer.body)["code"] == "upstream_unreachable"


@pytest.mark.parametrize("clients", [12])
async def test_clients_of_a_shop_share_its_limit_without_a_429(clients: int) -> None:
    async with ShoprenterSimulator() as simulator:
        shoprenter = Platform(
            name="shoprenter",
            token_url=simulator.token_url,
            token_request=TokenRequestForm.JSON,
            api_url=simulator.api_url,
            rate_limit=RateLimit(3, per=1.0),
            allow_private=True,
        )
        shop = Shop("demo", "demo", shoprenter, Credentials("demo-id", Secret("demo-secret")))
        async with proxying(config(shop)) as proxy, aiohttp.ClientSession() as session:

            async def pull() -> int:
                async with session.get(f"http://127.0.0.1:{proxy.port}/demo/products?limit=1") as answer:
                    return answer.status

            statuses = await asyncio.gather(*(pull() for _ in range(clients)))

        assert statuses == [200] * clients
        assert simulator.counts.throttled == 0


async def test_a_request_that_is_sent_again_on_a_new_connection_takes_a_slot_of_its_own() -> None:
    arrivals: list[float] = []

    async def closing_late(connection: Connection) -> None:
        """Answer once, then read a request and close as if it had not been seen."""
        await connection.read_request()
        arrivals.append(asyncio.get_running_loop().time())
        await connection.send(response(b"ok"))
        if await connection.read_request():
            arrivals.append(asyncio.get_running_loop().time())

    async with whole_path(closing_late, of={"rate_limit": RateLimit(1, per=0.2)}) as path, path.connect() as client:
        assert [(await client.ask(request())).body for _ in range(2)] == [b"ok", b"ok"]

    assert len(arrivals) == 3
    assert min(later - earlier for earlier, later in pairwise(arrivals)) >= 0.2


async def test_a_request_that_came_to_be_seen_late_counts_from_then() -> None:
    seen: list[float] = []

    async def late_at_first(connection: Connection) -> None:
        while await connection.read_request():
            if not seen:
                await asyncio.sleep(0.15)
            seen.append(asyncio.get_running_loop().time())
            await connection.send(response(b"ok"))

    async with whole_path(late_at_first, of={"rate_limit": RateLimit(1, per=0.4)}) as path, path.connect() as client:
        asked_at = asyncio.get_running_loop().time()
        assert [(await client.ask(request())).body for _ in range(2)] == [b"ok", b"ok"]

    # More than half of the window is not believed; that matters where this machine was slow.
    assert seen[1] >= min(seen[0] + 0.4, asked_at + 0.6)


async def test_a_slot_that_was_lent_while_a_connection_was_made_is_waited_for_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lapsed = iter([True])
    monkeypatch.setattr(Pace, "lapsed", lambda *_: next(lapsed, False))
    async with whole_path(answering(response(b"ok")), of={"rate_limit": RateLimit(9, per=0.1)}) as path:
        assert (await path.ask(request())).body == b"ok"

    assert next(lapsed, None) is None
    assert (len(path.api.received), path.api.connections) == (1, 1)


async def test_an_upload_that_stands_still_does_not_hold_up_the_shop() -> None:
    uploading = asyncio.Event()

    async def api(connection: Connection) -> None:
        while (asked := await connection.read_request(body=False)) is not None:
            if asked.request_line.startswith(b"POST"):
                uploading.set()
                await connection.reader.read()
            else:
                await connection.send(response(b"ok"))

    async with whole_path(api, of={"rate_limit": RateLimit(1, per=0.05)}) as path, path.connect() as slow:
        await slow.send(request(b"POST", fields=b"Content-Length: 3000000\r\n") + b"x" * 2_000_000)
        await uploading.wait()
        async with asyncio.timeout(5):
            assert (await path.ask(request())).body == b"ok"


@pytest.mark.parametrize(
    "answers",
    [[401, 429, 200], [429, 401, 200], [429, 401, 429, 200]],
    ids=lambda statuses: "-".join(map(str, statuses)),
)
async def test_a_dead_token_and_too_many_requests_may_come_in_any_order(answers: list[int]) -> None:
    fields = b"Retry-After: 0\r\n"
    script = answering(*(response(b"%d" % status, status=b"%d X" % status, fields=fields) for status in answers))
    async with whole_path(script, of={"rate_limit": RateLimit(100, per=0.01)}) as path:
        answer = await path.ask(request(b"PUT", body=b"the body"))

    assert (answer.status, answer.body) == (200, b"200")
    assert [each.body for each in path.api.received] == [b"the body"] * len(answers)
