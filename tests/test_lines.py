"""Whatever waits in line together, each request gets what a single call gives."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import aiohttp
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.platforms.platform import Credentials, RateLimit
from proxy.platforms.shop import Shop
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.secret import Secret
from proxy.simulator import ShoprenterSimulator, SimulatedClient
from tests.proxies import TestedProxy, config, proxying

PATHS = st.sampled_from(
    [
        "products?limit=2",
        "products?limit=2&page=1",
        "products?full=1&limit=3",
        "categories",
        "currencies?full=1",
        "products/nothing",
        "products?limit=nonsense",
        "orders?limit=1",  # out of the scopes
        "nothing",
        "batch",
    ]
)
ACCEPTS = st.sampled_from(["application/json"] * 3 + ["*/*", "application/xml"])
MIXES = st.lists(st.tuples(st.sampled_from(["GET"] * 5 + ["HEAD", "OPTIONS"]), PATHS, ACCEPTS), min_size=2, max_size=12)

LINE = [("GET", f"products?limit=1&page={page}", "application/json") for page in range(8)]


@dataclass
class Here:
    """A proxy whose line becomes batches, the platform behind it, and a client of both."""

    simulator: ShoprenterSimulator
    proxy: TestedProxy
    session: aiohttp.ClientSession

    async def play(self, mix: list[tuple[str, str, str]]) -> None:
        """Ask for everything at once; then for each alone, without the proxy."""
        own = {"Authorization": f"Bearer {self.simulator.issue_token('demo')}"}
        direct = self.simulator.api_url.replace("{shop}", "demo")
        got = await asyncio.gather(*(self._ask(f"http://127.0.0.1:{self.proxy.port}/demo/", each) for each in mix))
        expected = [await self._ask(direct, each, **own) for each in mix]
        assert got == expected

    async def _ask(self, base: str, what: tuple[str, str, str], **fields: str) -> tuple[int, str, bytes]:
        method, path, accept = what
        async with self.session.request(method, base + path, headers={"Accept": accept, **fields}) as answer:
            return answer.status, answer.content_type, await answer.read()


async def _started(stack: AsyncExitStack) -> Here:
    scopes = frozenset({"product:read", "category:read", "currency:read"})
    clients = {"demo-id": SimulatedClient("demo-secret", scopes=scopes)}
    simulator = await stack.enter_async_context(ShoprenterSimulator(clients=clients, rate_limit=None, products=9))
    platform = replace(
        SHOPRENTER,
        token_url=simulator.token_url,
        api_url=simulator.api_url,
        rate_limit=RateLimit(2, per=0.05),
        rewrite_links=False,
        hosts=(),
        allow_private=True,
    )
    shop = Shop("demo", "demo", platform, Credentials("demo-id", Secret("demo-secret")), batch=True)
    proxy = await stack.enter_async_context(proxying(config(shop)))
    return Here(simulator, proxy, await stack.enter_async_context(aiohttp.ClientSession()))


def test_for_any_mix_of_requests_each_gets_what_a_single_call_gives() -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        here = runner.run(_started(stack))

        @settings(max_examples=30)
        @given(MIXES)
        def each_gets_its_own(mix: list[tuple[str, str, str]]) -> None:
            runner.run(here.play(mix))

        try:
            for _ in range(6):  # so that there are lines, whatever is chosen
                runner.run(here.play([*LINE, *LINE]))
                runner.run(here.play(LINE[:1] * 16))
            each_gets_its_own()
            assert here.simulator.counts.batches > 5
            assert here.proxy.running._errand_metrics.collapsed > 5
            assert here.proxy.logged("batch.given_up") == []
        finally:
            runner.run(stack.aclose())
