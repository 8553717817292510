"""What a line costs: reading a catalogue at three requests a second, by workers that ask one thing after the other.

    python -m benchmarks.batches [--products N] [--workers N …] [--scenario NAME …]

Each scenario starts a simulated Shoprenter and the proxy, and prints one line of JSON: how long it took, how many calls
a second that is, what the platform was asked, and how many bodies were other than those of single calls. Alone, with
nothing shared, 2,000 products take eleven minutes; `--products` makes that bearable.

The simulator has a process of its own too: in that of the workers it would now and then see a request later than it
came, and the next ones closer behind it than they were sent.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import aiohttp

from benchmarks.processes import proxy_process
from proxy.simulator import Counts, ShoprenterSimulator, SimulatedClient

_CONFIG = """
[pacing]
max_wait = 900
collapse = {collapse}
[platforms.shoprenter]
token_url = "{token_url}"
api_url = "{api_url}"
allow_private = true
[shops.demo]
client_id = "demo-id"
client_secret = "demo-secret"
batch = {batch}
"""
_HEADERS = {"Accept": "application/json"}
_FORBIDDEN = "orders?limit=1"  # out of the scopes of the client
_SAME = "categories?full=1"
_PAGE = 200
_LEAVES_EACH = 10
_LEAVES_WITHIN = 0.5  # seconds


@dataclass(frozen=True)
class Scenario:
    """What is shared, and what goes wrong."""

    collapse: bool = False
    batch: bool = False
    half_the_same: bool = False
    leaving: bool = False
    forbidden: bool = False
    gives_up_above: int | None = None
    counts_parts: bool = False


SCENARIOS = {
    "alone": Scenario(),
    "collapse": Scenario(collapse=True, half_the_same=True),
    "batch": Scenario(collapse=True, batch=True),
    "batch, every tenth call is given up and made again": Scenario(collapse=True, batch=True, leaving=True),
    "batch, 1 % of the calls are forbidden": Scenario(collapse=True, batch=True, forbidden=True),
    "batch, 504 above 20 parts": Scenario(collapse=True, batch=True, gives_up_above=20),
    "batch, each part counts": Scenario(collapse=True, batch=True, counts_parts=True),
}


@dataclass
class Reading:
    """The work that is left, and what came of it."""

    left: Iterator[str]
    statuses: Counter[int] = field(default_factory=Counter)
    bodies: dict[str, set[bytes]] = field(default_factory=dict)
    left_early: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    async def work(self, session: aiohttp.ClientSession, url: str, *, leaving: bool) -> None:
        """Ask for one thing after the other."""
        for number, path in enumerate(self.left, start=1):
            if leaving and number % _LEAVES_EACH == 0:
                try:
                    async with asyncio.timeout(self.chance.uniform(0.0, _LEAVES_WITHIN)):
                        await self._ask(session, url, path)
                    continue
                except TimeoutError:
                    self.left_early += 1
            await self._ask(session, url, path)

    async def _ask(self, session: aiohttp.ClientSession, url: str, path: str) -> None:
        async with session.get(url + path, headers=_HEADERS) as answer:
            body = await answer.read()
            self.statuses[answer.status] += 1
            self.bodies.setdefault(path, set()).add(body)


async def run(name: str, workers: int, products: int) -> None:
    """Run a scenario and print its figures."""
    scenario = SCENARIOS[name]
    async with (
        ShoprenterSimulator(rate_limit=None, products=products) as reference,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        expected = await _catalogue(reference, products)
        with _simulated(scenario, products) as platform:
            token_url, api_url = platform.recv()
            configuration = _CONFIG.format(
                token_url=token_url,
                api_url=api_url,
                collapse=str(scenario.collapse).lower(),
                batch=str(scenario.batch).lower(),
            )
            async with proxy_process(configuration) as proxy:
                url = f"http://127.0.0.1:{proxy.port}/demo/"
                reading = Reading(_work(scenario, list(expected)))
                began = time.monotonic()
                await asyncio.gather(*(reading.work(session, url, leaving=scenario.leaving) for _ in range(workers)))
                seconds = time.monotonic() - began
            platform.send("enough")
            counts: Counts = platform.recv()
        wrong = _wrong(reading, expected, _links(reference.api_url), _links(url))
        calls = reading.statuses.total()
        print(
            json.dumps(
                {
                    "scenario": name,
                    "workers": workers,
                    "calls": calls,
                    "seconds": round(seconds, 1),
                    "calls_per_second": round(calls / seconds, 1),
                    "left_early": reading.left_early,
                    "statuses": dict(reading.statuses),
                    "wrong_bodies": wrong,
                    "upstream_requests": counts.api_requests,
                    "batches": counts.batches,
                    "parts": counts.batch_parts,
                    "above_the_limit": counts.throttled,
                }
            ),
            flush=True,
        )


@contextmanager
def _simulated(scenario: Scenario, products: int) -> Iterator[Connection]:
    """Run the platform in a process of its own; it sends its URLs, and, told that it's enough, its counts."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_simulate, args=(there, scenario, products), daemon=True)
    process.start()
    try:
        yield here
    finally:
        here.close()
        process.join()


def _simulate(told: Connection, scenario: Scenario, products: int) -> None:
    async def serve() -> None:
        scopes = frozenset({"product:read"}) if scenario.forbidden else None
        clients = {"demo-id": SimulatedClient("demo-secret", scopes=scopes)}
        async with ShoprenterSimulator(clients=clients, products=products) as simulator:
            simulator.batch_gives_up_above = scenario.gives_up_above
            simulator.batch_counts_parts = scenario.counts_parts
            told.send((simulator.token_url, simulator.api_url))
            with suppress(EOFError):  # the benchmark was ended
                await asyncio.to_thread(told.recv)
                told.send(simulator.counts)

    asyncio.run(serve())


async def _catalogue(reference: ShoprenterSimulator, products: int) -> dict[str, bytes]:
    """Return what a single call for each product gives."""
    base = reference.api_url.replace("{shop}", "demo")
    headers = _HEADERS | {"Authorization": f"Bearer {reference.issue_token('demo')}"}
    found: dict[str, bytes] = {}
    async with aiohttp.ClientSession(headers=headers) as session:
        for page in range(-(-products // _PAGE)):
            async with session.get(base + f"products?limit={_PAGE}&page={page}") as answer:
                items = (await answer.json())["items"]
            for path in (item["href"].removeprefix(base) for item in items):
                async with session.get(base + path) as answer:
                    found[path] = await answer.read()
    return found


def _work(scenario: Scenario, paths: list[str]) -> Iterator[str]:
    for number, path in enumerate(paths):
        if scenario.half_the_same and number % 2:
            yield _SAME
        elif scenario.forbidden and number % 100 == 50:
            yield _FORBIDDEN
        else:
            yield path


def _links(url: str) -> bytes:
    """Return how links to the shop begin in its answers."""
    return url.replace("{shop}", "demo").replace("/", "\\/").encode()


def _wrong(reading: Reading, expected: dict[str, bytes], links: bytes, rewritten: bytes) -> int:
    """Count the products whose body differs from that of a single call, but for whom its links lead to."""
    return sum(
        {body.replace(rewritten, links) for body in bodies} != {expected[path]}
        for path, bodies in reading.bodies.items()
        if path in expected
    )


async def _main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--products", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[12, 40])
    parser.add_argument(
        "--scenario", nargs="+", choices=SCENARIOS, default=[name for name in SCENARIOS if name != "alone"]
    )
    chosen = parser.parse_args()
    for name in chosen.scenario:
        for workers in chosen.workers:
            await run(name, workers, chosen.products)


if __name__ == "__main__":
    asyncio.run(_main())
