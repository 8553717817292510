"""What tokens cost: calls that fail and token requests while things go wrong, and memory for each idle shop.

    python -m benchmarks.tokens [--scenario NAME …]

Each scenario starts a simulated Shoprenter and the proxy as a process of its own, calls it in real time, and prints
one line of JSON. The whole takes about two minutes, most of it waiting for a token to come near its end.
"""

import argparse
import asyncio
import json
import random
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import aiohttp

from benchmarks.processes import proxy_process
from proxy.forwarding.route import Routes
from proxy.platforms.platform import Credentials
from proxy.platforms.shop import Shops
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.secret import Secret
from proxy.simulator import Fault, ShoprenterSimulator, SimulatedClient
from proxy.simulator.tokens import TokenBook
from proxy.tasks import BackgroundTasks
from proxy.telemetry.logs import make_logger
from proxy.telemetry.metrics import TokenMetrics
from proxy.telemetry.redaction import Redactor
from proxy.telemetry.writing import LogWriter
from proxy.tokens.cache import TokenCache, TokenPolicy
from proxy.tokens.endpoint import TokenEndpoint, TokenGrant, TokenRequest

_CONFIG = """
[platforms.shoprenter]
rate_limit = false
token_url = "{token_url}"
api_url = "{api_url}"
allow_private = true
"""
_SHOP = """
[shops.{name}]
client_id = "demo-id"
client_secret = "demo-secret"
"""
_ALLOWED, _FORBIDDEN = "products?limit=1", "orders?limit=1"
_SHOPS = 10_000


@dataclass
class Bench:
    """A running proxy, the platform behind it, and what came of the calls."""

    platform: ShoprenterSimulator
    session: aiohttp.ClientSession
    port: int
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)

    async def call(self, shop: str = "demo", path: str = _ALLOWED) -> None:
        """Make one call and count its status."""
        url = f"http://127.0.0.1:{self.port}/{shop}/{path}"
        async with self.session.get(url, headers={"Accept": "application/json"}) as response:
            await response.read()
            self.statuses[path, response.status] += 1

    async def rate(self, per_second: int, seconds: float, path: str = _ALLOWED) -> None:
        """Make calls at a steady rate, whether or not they are answered."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(round(per_second * seconds)):
                await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
                group.create_task(self.call(path=path))

    def figures(self, path: str = _ALLOWED) -> dict[str, int]:
        """Return how many calls of a kind there were, and how many of them failed."""
        found = {status: count for (called, status), count in self.statuses.items() if called == path}
        return {"calls": sum(found.values()), "failed": sum(found.values()) - found.get(200, 0)}


@asynccontextmanager
async def _bench(*shops: str, scopes: frozenset[str] | None = None, lifetime: int = 3600) -> AsyncIterator[Bench]:
    clients = {"demo-id": SimulatedClient("demo-secret", scopes=scopes)}
    async with ShoprenterSimulator(clients=clients, rate_limit=None, products=2, token_lifetime=lifetime) as simulator:
        platform = _CONFIG.format(token_url=simulator.token_url, api_url=simulator.api_url)
        configuration = platform + "".join(_SHOP.format(name=name) for name in shops)
        connector = aiohttp.TCPConnector(limit=0)
        async with proxy_process(configuration) as proxy, aiohttp.ClientSession(connector=connector) as session:
            yield Bench(simulator, session, proxy.port)


def _print(scenario: str, **figures: object) -> None:
    print(json.dumps({"scenario": scenario, **figures}), flush=True)


async def cold() -> None:
    """A thousand calls at once for one shop without a token, then for a hundred."""
    for count in (1, 100):
        names = [f"shop-{number}" for number in range(count)]
        async with _bench(*names) as bench:
            began = time.monotonic()
            await asyncio.gather(*(bench.call(names[number % count]) for number in range(1000)))
            seconds = round(time.monotonic() - began, 2)
            figures = bench.figures()
            requests = bench.platform.counts.token_requests
            _print("cold", shops=count, **figures, token_requests=requests, seconds=seconds)


async def revocation() -> None:
    """200 calls a second for 5 s; all tokens are revoked after 2.5 s."""
    async with _bench("demo") as bench:
        asyncio.get_running_loop().call_later(2.5, bench.platform.revoke_tokens)
        await bench.rate(200, 5.0)
        _print("revocation", **bench.figures(), token_requests=bench.platform.counts.token_requests)


async def forbidden() -> None:
    """100 forbidden calls a second for 10 s, beside as many that are allowed."""
    async with _bench("demo", scopes=frozenset({"product:read"})) as bench:
        await asyncio.gather(bench.rate(100, 10.0), bench.rate(100, 10.0, _FORBIDDEN))
        counts = bench.platform.counts
        _print(
            "forbidden",
            **bench.figures(),
            forbidden_calls=bench.figures(_FORBIDDEN)["calls"],
            forbidden_answered_401=bench.statuses[_FORBIDDEN, 401],
            token_requests=counts.token_requests,
            api_calls=counts.api_requests,
        )


async def outage() -> None:
    """The token endpoint is down for 20 s, in which the token is in its refresh window all the while."""
    lifetime = 120
    async with _bench("demo", lifetime=lifetime) as bench:
        await bench.call()
        await asyncio.sleep(lifetime * 0.8 + 2.5)  # chance shortens the window by up to a tenth
        before = bench.platform.counts.token_requests
        bench.platform.token_fault = Fault(down=True)
        await bench.rate(100, 20.0)
        down = bench.platform.counts.token_requests - before
        bench.platform.token_fault = None
        await bench.rate(100, 5.0)
        requests = bench.platform.counts.token_requests
        _print("outage", **bench.figures(), token_requests=requests, of_these_while_down=down)


class _Granting(TokenEndpoint):
    """Stands for the token endpoint: grants what it was given."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = iter(tokens)

    async def fetch(self, request: TokenRequest) -> TokenGrant:
        return TokenGrant(next(self._tokens), 3600.0, None)


async def memory() -> None:
    """The memory that an idle shop of the wildcard entry holds, by the parts that hold it."""
    # The platform's own length and form; made before anything is measured.
    book = TokenBook(time.monotonic, random.Random(1))
    tokens = [book.issue("demo-id", f"shop-{number}", None, 3600) for number in range(_SHOPS)]
    redactor, tasks = Redactor(), BackgroundTasks()
    log = make_logger(log_format="json", level="error", redactor=redactor, writer=LogWriter(sys.stderr))
    policy = TokenPolicy(60.0, 86400.0, 10.0, 30.0, 20_000, 1e9)
    cache = TokenCache(
        _Granting(tokens), policy, tasks, log, TokenMetrics(), clock=time.monotonic, chance=random.random
    )
    routes = Routes(Shops({}, wildcard=(SHOPRENTER, Credentials("demo-id", Secret("demo-secret")))))
    tracemalloc.start()
    sizes = [tracemalloc.get_traced_memory()[0]]
    for number in range(_SHOPS):
        routes.find(f"shop-{number}")
    sizes.append(tracemalloc.get_traced_memory()[0])
    for number in range(_SHOPS):
        route = routes.find(f"shop-{number}")
        assert route is not None
        await cache.get(route.token_request)
    await tasks.close()
    sizes.append(tracemalloc.get_traced_memory()[0])
    for token in tokens:
        redactor.add_transient(token)
    sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    in_route, in_cache, in_redactor = ((after - before) / _SHOPS for before, after in pairwise(sizes))
    # The cache holds a token as bytes; the redactor holds the text that the endpoint gave, which is not counted here.
    itself = sum(sys.getsizeof(b"Bearer " + token.encode()) for token in tokens) / _SHOPS
    _print(
        "memory",
        shops=_SHOPS,
        route_bytes=round(in_route),
        cache_bytes=round(in_cache - itself),
        redactor_bytes=round(in_redactor),
        bytes_beyond_the_token=round(in_route + in_cache + in_redactor - itself),
        token_itself_bytes=round(itself),
        token_as_text_bytes=round(sum(map(sys.getsizeof, tokens)) / _SHOPS),
    )


_SCENARIOS: dict[str, Callable[[], Awaitable[None]]] = {
    each.__name__: each for each in (cold, revocation, forbidden, outage, memory)
}


async def main() -> None:
    """Run the scenarios and print the figures of each as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenario", choices=_SCENARIOS, action="append", help="default: all")
    options = parser.parse_args()
    for name in options.scenario or _SCENARIOS:
        await _SCENARIOS[name]()


if __name__ == "__main__":
    asyncio.run(main())
