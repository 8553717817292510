"""The whole proxy against a simulated Shoprenter: no call fails because of a token, and few are asked for."""

import asyncio
import resource
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from proxy.config import ServerConfig, TokensConfig
from proxy.errors import TokenUnavailable
from proxy.platforms.platform import Credentials, TokenRequestForm
from proxy.platforms.shop import Shop, Shops
from proxy.secret import Secret
from proxy.simulator import Fault, ShoprenterSimulator, SimulatedClient
from tests.peers import Answer, RawClient, connected, request
from tests.proxies import TestedProxy, config, platform, proxying

DEMO = Credentials("demo-id", Secret("demo-secret"))
PRODUCTS, ORDERS = b"/%s/products?limit=1", b"/%s/orders?limit=1"


@dataclass
class Storm:
    """A proxy, the platform behind it, and their clock, which can be moved on."""

    proxy: TestedProxy
    platform: ShoprenterSimulator
    ahead: float = 0.0

    def clock(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead

    @property
    def token_requests(self) -> int:
        return self.platform.counts.token_requests

    async def calls(self, count: int, target: bytes, *, at_once: int = 10) -> list[Answer]:
        """Make calls over a few connections, on each one after the other."""

        async def worker(number: int) -> list[Answer]:
            async with connected(self.proxy.port) as client:
                calls = range(number, count, at_once)
                return [await client.ask(get(target)) for _ in calls]

        answers = await asyncio.gather(*(worker(number) for number in range(at_once)))
        return [answer for each in answers for answer in each]


def get(target: bytes, shop: str = "demo") -> bytes:
    return request(target=target % shop.encode(), fields=b"Accept: application/json\r\n")


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


@asynccontextmanager
async def storm(
    *keys: str,
    scopes: frozenset[str] | None = None,
    token_lifetime: int = 3600,
    wildcard: bool = False,
    tokens: TokensConfig | None = None,
) -> AsyncIterator[Storm]:
    """Run the proxy for these shops. What hangs fails the test after a while."""
    client = SimulatedClient("demo-secret", scopes=scopes)
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        simulator = ShoprenterSimulator(
            clients={"demo-id": client},
            clock=lambda: asyncio.get_running_loop().time() + result.ahead,
            rate_limit=None,
            products=2,
            token_lifetime=token_lifetime,
        )
        await stack.enter_async_context(simulator)
        of = platform(
            1, 1, token_url=simulator.token_url, api_url=simulator.api_url, token_request=TokenRequestForm.JSON
        )
        shops = Shops({key: Shop(key, key, of, DEMO) for key in keys}, wildcard=(of, DEMO) if wildcard else None)
        # A thousand at once, of which a shop may have half and more: it is the tokens that are tested here.
        server = ServerConfig(port=0, drain_timeout=1.0, max_requests=2000)
        settings = config(shops=shops, server=server, tokens=tokens or TokensConfig())
        proxy = await stack.enter_async_context(proxying(settings))
        result = Storm(proxy, simulator)
        proxy.running.tokens._clock = result.clock
        yield result


@pytest.fixture
def many_connections() -> Iterator[None]:
    """Allow for thousands of open sockets; each call takes four of them here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 8192
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip("the system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def cold_calls(here: Storm, keys: list[str]) -> list[Answer]:
    """Make a call for each of these shops, all at once, while the token endpoint holds its answers back."""
    answer_now = asyncio.Event()
    here.platform.token_fault = Fault(delay=answer_now)
    async with AsyncExitStack() as stack:
        clients: list[RawClient] = [await stack.enter_async_context(connected(here.proxy.port)) for _ in keys]
        for key, client in zip(keys, clients, strict=True):
            await client.send(get(PRODUCTS, key))
        await here.platform.wait_until(lambda: here.token_requests >= len(set(keys)))
        answer_now.set()
        return list(await asyncio.gather(*(client.read_answer() for client in clients)))


@pytest.mark.usefixtures("many_connections")
async def test_a_thousand_cold_calls_for_one_shop_cost_one_token_request() -> None:
    async with storm("demo") as here:
        answers = await cold_calls(here, ["demo"] * 1000)

        assert statuses(answers) == {200: 1000}
        assert here.token_requests == 1


@pytest.mark.usefixtures("many_connections")
async def test_a_thousand_cold_calls_for_a_hundred_shops_cost_a_hundred_token_requests() -> None:
    keys = [f"shop-{number}" for number in range(100)]
    async with storm(*keys) as here:
        answers = await cold_calls(here, keys * 10)

        assert statuses(answers) == {200: 1000}
        assert here.token_requests == 100
        assert Counter(recorded.target for recorded in here.platform.token_requests) == {
            f"/{key}/app/token": 1 for key in keys
        }


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_revocation_under_load_costs_one_token_request_and_no_call(method: bytes) -> None:
    async with storm("demo") as here:
        answered = 0

        async def worker(number: int) -> list[int]:
            nonlocal answered
            found = []
            async with connected(here.proxy.port) as client:
                for call in range(20):
                    sku = b'{"sku":"new-%d-%d"}' % (number, call)
                    body = sku if method == b"POST" else None
                    fields = b"Accept: application/json\r\nContent-Type: application/json\r\n"
                    found.append(
                        (await client.ask(request(method, b"/demo/products", fields=fields, body=body))).status
                    )
                    answered += 1
                    if answered == 200:
                        here.platform.revoke_tokens()
            return found

        found = await asyncio.gather(*(worker(number) for number in range(20)))

        assert Counter(status for each in found for status in each) == {200 if method == b"GET" else 201: 400}
        assert here.token_requests == 2
        assert len(here.proxy.logged("token.suspected")) == 1
        assert here.proxy.logged("call.not_permitted") == []


async def test_every_revocation_is_healed_without_a_failed_call() -> None:
    async with storm("demo") as here:
        for revocations in range(6):
            here.platform.revoke_tokens()
            here.ahead += 10.0

            assert statuses(await here.calls(20, PRODUCTS)) == {200: 20}
            assert here.token_requests == revocations + 1


async def test_forbidden_calls_cost_one_token_request_more_and_disturb_no_other() -> None:
    async with storm("demo", scopes=frozenset({"product:read"})) as here:
        async with asyncio.TaskGroup() as group:
            forbidden = group.create_task(here.calls(500, ORDERS))
            allowed = group.create_task(here.calls(500, PRODUCTS))

        assert statuses(forbidden.result()) == {401: 500}
        assert all(b"40101" in answer.body for answer in forbidden.result())
        assert statuses(allowed.result()) == {200: 500}
        forwarded = here.proxy.logged("request.forwarded")
        assert {entry["attempts"] for entry in forwarded if entry["path"] == "/products"} == {1}
        assert here.token_requests == 2
        assert [entry["inner_code"] for entry in here.proxy.logged("call.not_permitted")] == [40101]


async def test_forbidden_calls_cost_one_token_request_in_each_pause() -> None:
    async with storm("demo", scopes=frozenset({"product:read"})) as here:
        for _ in range(10):
            await here.calls(30, ORDERS)
            here.ahead += 10.0

        assert here.token_requests == 1 + 4  # at 0, 30, 60 and 90 s


async def test_a_revocation_beside_forbidden_calls_is_healed_by_the_first_other_call() -> None:
    async with storm("demo", scopes=frozenset({"product:read"})) as here:
        await here.calls(20, ORDERS)
        here.platform.revoke_tokens()
        async with asyncio.TaskGroup() as group:
            group.create_task(here.calls(100, ORDERS))
            allowed = group.create_task(here.calls(100, PRODUCTS))

        assert statuses(allowed.result()) == {200: 100}
        assert here.token_requests == 3


@pytest.mark.parametrize(
    "fault",
    [Fault(down=True), Fault(status=503), Fault(status=429, headers={"Retry-After": "3"}), Fault(body=b"<html>")],
    ids=["no answer", "503", "429", "a web page"],
)
async def test_an_endpoint_in_trouble_while_tokens_are_valid_fails_no_call(fault: Fault) -> None:
    async with storm("demo", token_lifetime=100) as here:
        await here.calls(1, PRODUCTS)
        here.platform.token_fault = fault
        here.ahead += 80.0  # the last fifth: from here on each call would refresh
        while here.ahead < 90.0:  # a busy machine takes seconds for so many calls
            assert statuses(await here.calls(4, PRODUCTS, at_once=2)) == {200: 4}
            here.ahead += 0.25
        attempts = here.token_requests - 1
        assert 2 <= attempts <= 15

        here.ahead += 100.0
        [failed] = await here.calls(1, PRODUCTS, at_once=1)
        assert (failed.status, b'"code": "token_unavailable"' in failed.body) == (TokenUnavailable.status, True)
        here.platform.token_fault = None
        here.ahead += int(failed.values(b"Retry-After")[0])
        assert statuses(await here.calls(1, PRODUCTS)) == {200: 1}


async def test_a_shop_in_trouble_slows_no_other() -> None:
    async with storm("demo", "seoul") as here:
        never = asyncio.Event()
        await here.calls(1, PRODUCTS)
        here.platform.token_fault = Fault(delay=never)
        async with connected(here.proxy.port) as client:
            await client.send(get(PRODUCTS, "seoul"))
            await here.platform.wait_until(lambda: here.token_requests == 2)

            assert statuses(await here.calls(100, PRODUCTS)) == {200: 100}
        never.set()


async def test_wrong_credentials_cost_one_token_request_a_minute_and_one_more_at_first() -> None:
    async with storm("demo") as here:
        here.platform.clients["demo-id"] = SimulatedClient("changed")
        for _ in range(7):
            assert statuses(await here.calls(20, PRODUCTS)) == {502: 20}
            here.ahead += 10.0
        assert here.token_requests == 2
        here.platform.clients["demo-id"] = SimulatedClient("demo-secret")

        assert statuses(await here.calls(20, PRODUCTS)) == {200: 20}


async def test_made_up_shops_are_turned_away_before_they_hammer_the_endpoint() -> None:
    tokens = TokensConfig(first_requests_per_second=1.25, fetch_timeout=2.0)
    async with storm("named", wildcard=True, tokens=tokens) as here:
        here.platform.clients["demo-id"] = SimulatedClient("demo-secret", shops=frozenset({"named"}))
        began = here.clock()
        async with connected(here.proxy.port) as client, asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(one_call(here.proxy.port, f"made-up-{number}"))
            assert (await client.ask(get(PRODUCTS, "named"))).status == 200
        took = here.clock() - began

        assert here.token_requests - 1 <= 1 + took * 1.25
        turned_away = [entry for entry in here.proxy.logged("request.refused") if entry["code"] == "overloaded"]
        assert len(turned_away) >= 45


async def one_call(port: int, key: str) -> Answer:
    async with connected(port) as client:
        return await client.ask(get(PRODUCTS, key))
