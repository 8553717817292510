"""Pacers of several replicas that share a real server, or one in place of all, in a world whose time is set by hand.

What the scripts take for the server's clock is the world's too: the tests have them read it from an entry.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from proxy.errors import PacedOut
from proxy.guards.booking import KIND, SlotBook
from proxy.guards.office import PacingPolicy
from proxy.guards.pacing import Pacer
from proxy.guards.shared_pace import SharedPace
from proxy.platforms.platform import RateLimit
from proxy.shared.client import Argument, Failure, RedisClient
from proxy.shared.scripts import Script
from proxy.shared.store import BEAT, SharedStore
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import PacingMetrics, SharedMetrics
from tests.redis_servers import Server, serving_redis, settled

ALONE = "one process"
LIMIT = RateLimit(3, per=1.0)
_numbers = itertools.count()


@dataclass
class Alarm:
    at: float
    ring: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class TimedClient:
    """A client of a real server; the scripts read the time that is set, and it fails to order."""

    def __init__(self, client: RedisClient, world: "World") -> None:
        self._client = client
        self._world = world
        self.away = False
        self.deaf = False  # what it asks is done, but it does not hear of it
        self.commands: list[str] = []
        self.heard = 0
        self.in_flight = 0

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> list[Any]:
        self.commands.append(script.name)
        if self.away:
            raise Failure("ordered")
        time = round((self._world.now + 1_700_000_000) * 1e6)
        text = script.text.replace("redis.call('TIME')", f"{{{time // 1_000_000}, {time % 1_000_000}}}")
        self.in_flight += 1
        try:
            answer = await self._client._command("EVAL", text, len(keys), *keys, *arguments)
        finally:
            self.in_flight -= 1
        if self.deaf:
            raise Failure("ordered")
        return answer

    async def listen(self, channel: str) -> AsyncGenerator[str]:
        async with aclosing(self._client.listen(channel)) as news:
            async for name in news:
                yield name
                self.heard += bool(name)

    async def reset(self) -> None:
        pass


@dataclass
class Replica:
    pacer: Pacer
    metrics: PacingMetrics
    store: SharedStore | None = None
    client: TimedClient | None = None


@dataclass(eq=False)
class Request:
    """A request, the times at which it was sent, and what became of it."""

    client: str
    replica: int
    came_at: float
    sent: list[float] = field(default_factory=list)
    refused: PacedOut | None = None
    task: asyncio.Task[None] | None = None
    slow: float = 0.0  # seconds that a connection takes
    lapses: int = 0
    leaves: bool = False


class World:
    """The replicas, their requests and the platform."""

    def __init__(self, limit: RateLimit) -> None:
        self.now = 1000.0
        self.limit = limit
        self.each: list[Replica] = []
        self.requests: list[Request] = []
        self.alarms: list[Alarm] = []
        self.too_fast_until = float("-inf")  # the platform answers 429
        self.retry_after: float | None = None
        self.key = b"demo"
        self.server: Server | None = None
        self.redis: RedisClient | None = None

    def call_later(self, delay: float, ring: Callable[[], None]) -> Alarm:
        alarm = Alarm(self.now + delay, ring)
        self.alarms.append(alarm)
        return alarm

    def ask(self, replica: int = 0, client: str = "erp", *, slow: float = 0.0, leaves: bool = False) -> Request:
        """Let a request come in to a replica; it sends as soon as it may, and is answered at once."""
        request = Request(client, replica, self.now, slow=slow, leaves=leaves)
        self.requests.append(request)
        request.task = asyncio.get_running_loop().create_task(self._pass(request))
        return request

    async def _pass(self, request: Request) -> None:
        turn = self.each[request.replica % len(self.each)].pacer.turn(self.key, request.client, self.limit)
        try:
            while True:
                async with turn:
                    if request.leaves:
                        return
                    if request.slow:
                        await self.sleep(request.slow)
                    while turn.lapsed:
                        request.lapses += 1
                        await turn.again()
                    turn.begun()
                    turn.sent()
                    request.sent.append(self.now)
                if self.now >= self.too_fast_until:
                    turn.answered()
                    return
                if not turn.throttled(self.retry_after):
                    return
        except PacedOut as error:
            request.refused = error

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        alarm = self.call_later(seconds, partial(woken.set_result, None))
        try:
            await woken
        finally:
            alarm.cancel()

    async def settle(self) -> None:
        """Let everything happen that happens without time."""
        await settled(lambda: any(each.client is not None and each.client.in_flight for each in self.each))

    async def pass_time(self, seconds: float) -> None:
        """Let time pass; every timer rings when its time has come."""
        await self.settle()
        end = self.now + seconds
        while True:
            self.alarms = [alarm for alarm in self.alarms if not alarm.cancelled]
            alarm = min(self.alarms, key=lambda alarm: alarm.at, default=None)
            if alarm is None or alarm.at > end:
                break
            self.now = max(self.now, alarm.at)
            self.alarms.remove(alarm)
            alarm.ring()
            await self.settle()
        self.now = end
        await self.settle()

    def seen(self) -> list[float]:
        """When the platform saw requests."""
        return sorted(time for request in self.requests for time in request.sent)

    def most_in_any_window(self) -> int:
        seen = self.seen()
        return max((sum(start <= time < start + self.limit.per for time in seen) for start in seen), default=0)

    def beat(self, replica: int) -> None:
        """Let a replica say once a second that it is there."""
        store = self.each[replica].store
        if store is not None:
            self._beats.append(asyncio.ensure_future(store.touch()))
            self.call_later(BEAT, partial(self.beat, replica))

    _beats: list[asyncio.Future[None]]


@asynccontextmanager
async def replicas(
    kind: str, *, count: int = 3, limit: RateLimit = LIMIT, share: float | None = None, **policy: Any
) -> AsyncIterator[World]:
    """Run pacers: `count` that share a server of this kind; or, if that is `ALONE`, one in place of all."""
    world = World(limit)
    world._beats = []
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        if kind != ALONE:
            world.server = await stack.enter_async_context(serving_redis(kind))
            world.redis = RedisClient(world.server.url)
            stack.push_async_callback(world.redis.close)
        prefix = f"test{next(_numbers)}:"
        for number in range(1 if kind == ALONE else count):
            metrics, tasks = PacingMetrics(), BackgroundTasks()
            stack.push_async_callback(tasks.close)
            pacer = Pacer(PacingPolicy(**policy), metrics, clock=lambda: world.now, call_later=world.call_later)
            replica = Replica(pacer, metrics)
            if world.redis is not None:
                replica.client = TimedClient(world.redis, world)
                replica.store = SharedStore(
                    replica.client,
                    SharedMetrics(),
                    structlog.wrap_logger(None, processors=[_dropped]),
                    tasks,
                    prefix=prefix,
                    identity=str(number),
                    timeout=10.0,
                    clock=lambda: world.now,
                    sleep=world.sleep,
                )
                replica.store.silence = 2.0  # as with a timeout of 0.1 s: a busy machine needs longer for a command
                book = SlotBook(replica.store, share, world.call_later)
                pacer.share_by(partial(SharedPace, book))
                tasks.start(replica.store.keep_listening(KIND, book.heard), name="listening")
            world.each.append(replica)
            world.beat(number)
            await world.pass_time(BEAT / count)  # so that they do not notice all at once what becomes of the store
        await world.pass_time(1.1)
        try:
            yield world
        finally:
            for request in world.requests:
                assert request.task is not None
                if not request.task.done():
                    request.task.cancel()
            await asyncio.gather(*(request.task for request in world.requests if request.task), return_exceptions=True)
            await asyncio.gather(*world._beats)
            assert loop is asyncio.get_running_loop()
    for request in world.requests:
        assert request.task is not None
        assert request.task.cancelled() or request.task.exception() is None


def _dropped(*_: Any) -> str:
    raise structlog.DropEvent
