"""Replicas for tests: some caches that share a store, or one that all of them use; both have to do the same.

The time is set by hand, for the replicas and for what Redis tells of its own.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from proxy.shared.client import Argument, Client, Failure, RedisClient
from proxy.shared.scripts import Script
from proxy.shared.sealing import Sealed
from proxy.shared.store import SharedStore
from proxy.telemetry.metrics import SharedMetrics
from proxy.tokens.endpoint import TokenRequest
from proxy.tokens.shared_leases import SharedLeases
from proxy.tokens.token import AccessToken, known_token
from tests.redis_servers import Server, serving_redis, settled
from tests.tokens.desk import START, Desk, Office, office

ALONE = "one process"
_numbers = itertools.count()


@dataclass
class Time:
    """The time for all, and who sleeps until when."""

    now: float = START
    sleepers: list[tuple[float, asyncio.Future[None]]] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.now + seconds, woken))
        await woken

    def move_on(self, seconds: float) -> None:
        self.now += seconds
        for entry in [entry for entry in self.sleepers if entry[0] <= self.now]:
            self.sleepers.remove(entry)
            if not entry[1].done():
                entry[1].set_result(None)


class TimedClient:
    """A client of a real server whose clock is set by hand, and that fails to order."""

    def __init__(self, client: Client, time: Time) -> None:
        self._client = client
        self._time = time
        self.ahead = 1_700_000_000.0  # seconds, of Redis's clock
        self.fails: Callable[[], str] = lambda: ""  # "before" the server got a command, or "after" it
        self.commands = 0
        self.in_flight = 0

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> list[Any]:
        self.commands += 1
        failure = self.fails()
        if failure == "before":
            raise Failure("ordered")
        self.in_flight += 1
        try:
            _, *values = await self._client.run(script, keys, arguments)
        finally:
            self.in_flight -= 1
        if failure == "after":
            raise Failure("ordered")
        return [round((self._time.now + self.ahead) * 1e6), *values]

    def listen(self, channel: str) -> AsyncGenerator[str]:
        return self._client.listen(channel)

    async def reset(self) -> None:
        pass


@dataclass
class Replica:
    """A cache, and its way to the store if there is one."""

    office: Office
    client: TimedClient | None = None
    store: SharedStore | None = None
    told: list[str] = field(default_factory=list)

    @property
    def cache(self) -> Any:
        return self.office.cache


@dataclass
class Replicas:
    """Replicas that share what they know, and the endpoint that all of them ask."""

    each: list[Replica]
    desk: Desk
    time: Time
    redis: RedisClient | None = None
    concealed: list[str] = field(default_factory=list)

    def __getitem__(self, number: int) -> Replica:
        return self.each[number % len(self.each)]

    def request(self, key: str = "demo", **changes: Any) -> TokenRequest:
        return self.each[0].office.request(key, **changes)

    def move_on(self, seconds: float) -> None:
        self.time.move_on(seconds)
        for replica in self.each:
            replica.office.now = self.time.now

    async def settle(self) -> None:
        """Let everything happen that happens without time."""
        await settled(lambda: any(each.client is not None and each.client.in_flight for each in self.each))

    async def until(self, awaited: Awaitable[Any], step: float = 0.05) -> Any:
        """Let time pass until this has come to its end."""
        task = asyncio.ensure_future(awaited)
        await self.settle()
        while not task.done():
            self.move_on(step)
            await self.settle()
        return await task


def _maker(here: Replicas, policy: dict[str, Any]) -> Callable[..., AccessToken]:
    def make(request: TokenRequest, authorization: bytes, *times: float) -> AccessToken:
        here.concealed.append(authorization.decode().rpartition(" ")[2])
        settings = {"max_age": policy.get("max_age", 86400.0), "refresh_margin": 60.0, "chance": 1.0}
        header = request.shop.platform.token_header
        return known_token(authorization, *times, **settings, header=header)

    return make


@asynccontextmanager
async def replicas(
    kind: str | Server,
    *,
    count: int = 3,
    desk: Desk | None = None,
    keys: Sequence[bytes] = (b"k" * 32,),
    **policy: Any,
) -> AsyncIterator[Replicas]:
    """Run replicas: `count` that share a server, or one of this kind; or, if that is `ALONE`, one in place of all."""
    desk, time = desk or Desk(), Time()
    here = Replicas([], desk, time)
    async with AsyncExitStack() as stack:
        if kind == ALONE:
            here.each = [Replica(await stack.enter_async_context(office(desk=desk, **policy)))]
            yield here
            return
        server = kind if isinstance(kind, Server) else await stack.enter_async_context(serving_redis(kind))
        here.redis = RedisClient(server.url)
        stack.push_async_callback(here.redis.close)
        prefix = f"test{next(_numbers)}:"
        for number in range(count):
            client = TimedClient(here.redis, time)
            of_it = await stack.enter_async_context(office(desk=desk, **policy))
            store = SharedStore(
                client,
                SharedMetrics(),
                of_it.log,
                of_it.tasks,
                prefix=prefix,
                identity=str(number),
                timeout=5.0,
                clock=partial(getattr, time, "now"),
            )
            replica = Replica(of_it, client, store)
            of_it.cache.leases = SharedLeases(
                store, Sealed(keys), _maker(here, policy), replica.told.append, sleep=time.sleep
            )
            here.each.append(replica)
            await store.touch()
        yield here
