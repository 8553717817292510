"""What sharing does: many proxies, each a process of its own, that share a Redis, against a simulated Shoprenter.

    python -m benchmarks.shared [--scenario NAME …] [--seconds 60]

Each scenario starts what it needs (redis-server has to be in PATH), calls in real time, and prints one line of JSON.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from redis.asyncio import Redis

from benchmarks.processes import ProxyProcess, proxy_process
from proxy.simulator import Fault, ShoprenterSimulator, SimulatedClient

PROXIES = 8
LIMIT = 12  # requests a second, of the scenarios in which something fails
_CONFIG = """
[logging]
level = "warning"
[tokens]
first_requests_per_second = 1000
[platforms.shoprenter]
token_url = "{token_url}"
api_url = "{api_url}"
allow_private = true
rate_limit = {rate_limit}
"""
_SHARED = """
[shared]
url = "{url}"
encryption_key = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"
"""
_SHOP = """
[shops."{name}"]
client_id = "{client_id}"
client_secret = "{secret}"
"""


class RedisProcess:
    """A redis-server on a Unix socket, without anything on the disk."""

    def __init__(self, folder: str) -> None:
        self.socket = Path(folder) / "redis.sock"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    async def start(self) -> None:
        options = ("--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no")
        self._process = await asyncio.create_subprocess_exec(
            "redis-server", *options, stdout=asyncio.subprocess.DEVNULL
        )
        for _ in range(200):
            try:
                _, writer = await asyncio.open_unix_connection(str(self.socket))
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
        raise SystemExit("redis-server did not start")

    async def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        await self.kill()

    async def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    async def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def restart_empty(self) -> None:
        await self.kill()
        await self.start()


class _Recorder:
    """Stands for the simulator's limiter, and keeps when each request came, whether it was let through or not."""

    def __init__(self, limiter: object) -> None:
        self._admit: Callable[[object], bool] = limiter.admit  # type: ignore[attr-defined]
        self.seen: dict[object, list[float]] = defaultdict(list)
        self.longest_stall = 0.0

    async def watch(self) -> None:
        """Measure for how long this process stands still: what arrives meanwhile seems to come at once."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            self.longest_stall = max(self.longest_stall, time.monotonic() - began - 0.005)

    def admit(self, key: object) -> bool:
        self.seen[key].append(time.monotonic())
        return self._admit(key)

    def most_in_a_second(self) -> int:
        """Return the most requests for one shop in any second, wherever it begins."""
        most = 0
        for times in self.seen.values():
            first = 0
            for last, at in enumerate(times):
                while at - times[first] >= 1.0:
                    first += 1
                most = max(most, last - first + 1)
        return most


@dataclass
class Bench:
    """Running proxies, the Redis that they share, the platform behind them, and what came of the calls."""

    platform: ShoprenterSimulator
    redis: RedisProcess
    proxies: list[ProxyProcess]
    session: aiohttp.ClientSession
    recorder: _Recorder
    statuses: Counter[int | str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)

    async def call(self, proxy: int, shop: str = "demo") -> int | str:
        """Make one call to one of the proxies, and count what came of it."""
        url = f"http://127.0.0.1:{self.proxies[proxy % len(self.proxies)].port}/{shop}/products?limit=1"
        began = time.monotonic()
        status: int | str
        try:
            async with self.session.get(url, headers={"Accept": "application/json"}) as response:
                await response.read()
                status = response.status
        except aiohttp.ClientError as error:
            status = type(error).__name__
        self.statuses[status] += 1
        self.waits.append(time.monotonic() - began)
        return status

    async def pull(self, seconds: float, *, lines: int, shops: Sequence[str] = ("demo",)) -> None:
        """Call as fast as answers come, on so many lines over all proxies."""
        end = time.monotonic() + seconds

        async def line(number: int) -> None:
            while time.monotonic() < end:
                await self.call(number, random.choice(shops))

        await asyncio.gather(*map(line, range(lines)))

    def figures(self) -> dict[str, object]:
        """Return how many calls there were, how many failed, and what the platform saw."""
        calls = sum(self.statuses.values())
        counts = self.platform.counts
        return {
            "calls": calls,
            "failed": calls - self.statuses[200],
            "longest_wait": round(max(self.waits, default=0.0), 2),
            "token_requests": counts.token_requests,
            "throttled": counts.throttled,
            "most_in_a_second": self.recorder.most_in_a_second(),
            "longest_stall": round(self.recorder.longest_stall, 3),
        }


@asynccontextmanager
async def _bench(
    shops: Sequence[str] = ("demo",),
    *,
    count: int = PROXIES,
    limit: int | None = None,
    shared: bool = True,
    secrets: Sequence[str] = ("demo-secret",),
    wildcard: bool = False,
    proxy_limit: int | None = None,
) -> AsyncIterator[Bench]:
    clients = {"demo-id": SimulatedClient(secrets[0]), "other-id": SimulatedClient(secrets[-1])}
    with TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            redis = RedisProcess(folder)
            await redis.start()
            stack.push_async_callback(redis.kill)
            platform = await stack.enter_async_context(
                ShoprenterSimulator(clients=clients, rate_limit=limit, products=2)
            )
            recorder = _Recorder(platform._limiter)
            platform._limiter = recorder  # type: ignore[assignment]
            kept = proxy_limit or limit
            rate = f"{{ requests = {kept}, per = 1.0 }}" if kept else "false"
            base = _CONFIG.format(token_url=platform.token_url, api_url=platform.api_url, rate_limit=rate)
            base += _SHARED.format(url=redis.url) if shared else ""
            names = ["*"] if wildcard else shops

            def configuration(number: int) -> str:
                other = number % len(secrets)
                client_id, secret = ("other-id", secrets[-1]) if other else ("demo-id", secrets[0])
                return base + "".join(_SHOP.format(name=name, client_id=client_id, secret=secret) for name in names)

            # One after the other: they would keep each other from starting.
            proxies = [await stack.enter_async_context(proxy_process(configuration(number))) for number in range(count)]
            connector = aiohttp.TCPConnector(limit=0)
            timeout = aiohttp.ClientTimeout(total=60)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, timeout=timeout))
            await asyncio.sleep(1.5)  # all have said that they are there
            watching = asyncio.create_task(recorder.watch())
            stack.callback(watching.cancel)
            yield Bench(platform, redis, proxies, session, recorder)


def _print(scenario: str, **figures: object) -> None:
    print(json.dumps({"scenario": scenario, **figures}), flush=True)


async def cold(_: float) -> None:
    """A thousand calls at once for fifty shops without a token."""
    shops = [f"shop-{number}" for number in range(50)]
    async with _bench(shops) as bench:
        began = time.monotonic()
        await asyncio.gather(*(bench.call(number % PROXIES, shops[number % 50]) for number in range(1000)))
        _print("cold", shops=50, proxies=PROXIES, seconds=round(time.monotonic() - began, 2), **bench.figures())


async def revocation(_: float) -> None:
    """Ten shops are called on all proxies for 5 s; all tokens are revoked after 2 s."""
    shops = [f"shop-{number}" for number in range(10)]
    async with _bench(shops) as bench:
        await asyncio.gather(*(bench.call(number, shop) for number in range(PROXIES) for shop in shops))
        before = bench.platform.counts.token_requests
        asyncio.get_running_loop().call_later(2.0, bench.platform.revoke_tokens)
        await bench.pull(5.0, lines=16, shops=shops)
        after = bench.platform.counts.token_requests
        _print("revocation", shops=10, token_requests_for_it=after - before, **bench.figures())


async def limit(seconds: float) -> None:
    """One shop is pulled by all proxies; Shoprenter's own limit, 3 a second."""
    async with _bench(limit=3) as bench:
        began = time.monotonic()
        await bench.pull(seconds, lines=PROXIES)
        rate = bench.platform.counts.api_requests / (time.monotonic() - began)
        _print("limit", seconds=seconds, calls_a_second=round(rate, 2), **bench.figures())


async def failures(seconds: float) -> None:
    """One shop is pulled by all proxies, and something happens to Redis after a quarter, and again after a half."""
    for what, (first, second) in {
        "nothing": ("", ""),
        "stopped": ("stop", "start"),
        "frozen": ("freeze", "thaw"),
        "restarted empty": ("restart_empty", ""),
        "killed for good": ("kill", ""),
    }.items():
        async with _bench(limit=LIMIT) as bench:

            async def happen(*steps: str, bench: Bench = bench) -> None:
                for step in steps:
                    await asyncio.sleep(seconds / 4)
                    if step:
                        await getattr(bench.redis, step)()

            began = time.monotonic()
            await asyncio.gather(happen(first, second), bench.pull(seconds, lines=2 * PROXIES))
            rate = bench.platform.counts.api_requests / (time.monotonic() - began)
            _print("failures", redis=what, limit=LIMIT, calls_a_second=round(rate, 2), **bench.figures())
            if what == "killed for good":
                await bench.redis.start()  # so that there is something to kill at the end


async def holder(_: float) -> None:
    """The proxy that asks for a token is killed while it waits for the endpoint, which is slow at first."""
    async with _bench(count=3) as bench:
        bench.platform.token_fault = Fault(delay=8.0)
        lost = asyncio.ensure_future(bench.call(0))
        await asyncio.sleep(1.0)
        bench.platform.token_fault = None
        waiting = [asyncio.ensure_future(bench.call(number)) for number in (1, 2)]
        await asyncio.sleep(0.5)
        killed = time.monotonic()
        os.kill(bench.proxies[0].pid, signal.SIGKILL)
        statuses = await asyncio.gather(*waiting)
        took = time.monotonic() - killed
        await lost
        requests = bench.platform.counts.token_requests
        _print("holder", others=statuses, seconds_after_the_kill=round(took, 2), token_requests=requests)


async def secrets(_: float) -> None:
    """Of two proxies each has other credentials for the same shop."""
    async with _bench(count=2, secrets=("demo-secret", "another")) as bench:
        for _round in range(3):
            await asyncio.gather(*(bench.call(number) for number in range(20)))
        _print("secrets", credentials=2, **bench.figures())


async def many(_: float) -> None:
    """Ten thousand shops over four proxies, each shop called once on each."""
    count, shops = 4, [f"shop-{number}" for number in range(10_000)]
    async with _bench(shops, count=count, wildcard=True) as bench:
        redis = Redis.from_url(bench.redis.url)
        before = await redis.info()
        places = asyncio.Semaphore(64)

        async def call(number: int, shop: str) -> None:
            async with places:
                await bench.call(number, shop)

        for number in range(count):  # the first asks for a token, the others find it
            await asyncio.gather(*(call(index + number, shop) for index, shop in enumerate(shops)))
        after = await redis.info()
        commands = await redis.info("commandstats")
        await redis.aclose()
        _print(
            "many",
            shops=len(shops),
            redis_bytes_a_shop=round((after["used_memory"] - before["used_memory"]) / len(shops)),
            commands={name: stats["calls"] for name, stats in commands.items() if "eval" in name},
            microseconds_a_script=commands["cmdstat_evalsha"]["usec_per_call"],
            **bench.figures(),
        )


def _cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def cost(seconds: float) -> None:
    """The CPU of a call, one after the other: alone or shared, without a limit, and with one that is never reached."""
    for shared in (False, True):
        for proxy_limit in (None, 100_000):
            async with _bench(count=1, shared=shared, proxy_limit=proxy_limit) as bench:
                await bench.pull(1.0, lines=1)
                pid, calls, used = bench.proxies[0].pid, len(bench.waits), _cpu(bench.proxies[0].pid)
                await bench.pull(seconds / 6, lines=1)
                made = len(bench.waits) - calls
                microseconds = (_cpu(pid) - used) / made * 1e6
                _print("cost", shared=shared, rate_limit=proxy_limit, calls=made, cpu_us_a_call=round(microseconds))


_SCENARIOS: dict[str, Callable[[float], Awaitable[None]]] = {
    each.__name__: each for each in (cold, revocation, limit, failures, holder, secrets, many, cost)
}


async def main() -> None:
    """Run the scenarios and print the figures of each as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenario", choices=_SCENARIOS, action="append", help="default: all")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long a shop is pulled")
    options = parser.parse_args()
    for name in options.scenario or _SCENARIOS:
        await _SCENARIOS[name](options.seconds)


if __name__ == "__main__":
    asyncio.run(main())
