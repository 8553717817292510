"""A world for the pacer: its clock, its timers and its event loop move only when a test says so."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

from proxy.errors import PacedOut
from proxy.guards.office import PacingPolicy
from proxy.guards.pacing import Pacer, Turn
from proxy.platforms.platform import RateLimit
from proxy.telemetry.metrics import PacingMetrics

THREE = RateLimit(3, per=1.0)


class Alarm:
    """A timer that rings when the world's time has come."""

    def __init__(self, at: float, ring: Callable[[], None]) -> None:
        self.at = at
        self.ring = ring
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """A pacer, and the requests that want to pass."""

    def __init__(self, loop: asyncio.AbstractEventLoop, policy: PacingPolicy) -> None:
        self.now = 1000.0
        self.metrics = PacingMetrics()
        self.pacer = Pacer(policy, self.metrics, clock=lambda: self.now, call_later=self._call_later)
        self.requests: list[Request] = []
        self.loop = loop
        self.hurries = False
        self._alarms: list[Alarm] = []

    def _call_later(self, delay: float, ring: Callable[[], None]) -> Alarm:
        assert delay > 0
        alarm = Alarm(self.now + delay, ring)
        self._alarms.append(alarm)
        return alarm

    @property
    def timers(self) -> list[float]:
        """In how many seconds the timers ring that are running."""
        self._alarms = [alarm for alarm in self._alarms if not alarm.cancelled]
        return sorted(alarm.at - self.now for alarm in self._alarms)

    def settle(self) -> None:
        """Let everything happen that happens without time."""
        for _ in range(8):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(coroutine)
        self.settle()
        return task

    def ask(self, client: str = "erp", *, key: bytes = b"demo", limit: RateLimit | None = THREE) -> "Request":
        """Let a request come in; it sends as soon as it may, and is left then."""
        return Request(self, client, key, limit).start()

    def pass_time(self, seconds: float) -> None:
        """Let time pass; every timer rings when its time has come."""
        end = self.now + seconds
        while self.timers and self.now + self.timers[0] <= end:
            alarm = min(self._alarms, key=lambda alarm: alarm.at)
            self.now = max(self.now, alarm.at)
            self._alarms.remove(alarm)
            alarm.ring()
            self.settle()
        self.now = end
        self.settle()

    def hurry(self) -> None:
        """Let all send that hold their slots, and from now on as soon as they have one; all are answered at once."""
        self.hurries = True
        for request in self.requests:
            if request.inside:
                request.send()
                request.leave()
            if request.is_sent():
                request.turn.answered()

    def order(self) -> list[str]:
        """The clients whose requests were sent, in that order."""
        sent = [(time, request) for request in self.requests for _, time in request.seen]
        return [request.client for _, request in sorted(sent, key=lambda each: (each[0], each[1].sent_as))]


class Request:
    """A request that takes its turn; what it does with its slot is for the test to say."""

    def __init__(self, world: World, client: str, key: bytes, limit: RateLimit | None) -> None:
        self.world = world
        self.client = client
        self.came_at = world.now
        self.turn: Turn = world.pacer.turn(key, client, limit)
        self.inside = self.was_inside = False
        self.refused: PacedOut | None = None
        self.sent_as = -1  # the how many-th of all
        self.seen: list[tuple[float, float]] = []  # from when to when the upstream may have seen it
        self.begun_at: float | None = None
        self.going_on: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None]
        world.requests.append(self)

    def start(self, *, hold: bool = False) -> "Request":
        """Enter the turn; with `hold` the slot is kept until the test says what to do with it."""
        self.task = self.world.start(self._pass(hold))
        return self

    async def _pass(self, hold: bool) -> None:
        self.going_on = self.world.loop.create_future()
        try:
            async with self.turn:
                self.inside = self.was_inside = True
                if hold and not self.world.hurries:
                    await self.going_on
                else:
                    self.send()
                    if self.world.hurries:
                        self.turn.answered()
        except PacedOut as error:
            self.refused = error
        finally:
            self.inside = False
            if self.begun_at is not None:  # left without a word that it was sent
                self.seen.append((self.begun_at, self.world.now))
                self.begun_at = None

    def begin(self) -> None:
        self.turn.begun()
        self.begun_at = self.world.now

    def send(self) -> None:
        self.turn.sent()
        self.seen.append((self.world.now if self.begun_at is None else self.begun_at, self.world.now))
        self.begun_at = None
        self.sent_as = sum(len(request.seen) for request in self.world.requests)

    def leave(self) -> None:
        """End what the request does inside; without `send` the slot goes back."""
        assert self.going_on is not None
        if not self.going_on.done():
            self.going_on.set_result(None)
        self.world.settle()

    def cancel(self) -> None:
        self.task.cancel()

    def is_sent(self) -> bool:
        return bool(self.seen)

    def is_refused(self) -> bool:
        return self.refused is not None


@contextmanager
def world(*, max_wait: float = 30.0, max_queue: int = 1000) -> Generator[World]:
    """Provide a world; at its end, nothing may go on in it."""
    loop = asyncio.new_event_loop()
    try:
        made = World(loop, PacingPolicy(max_wait, max_queue))
        try:
            yield made
        finally:
            for request in made.requests:
                request.cancel()
            made.settle()
        assert made.timers == []
        assert made.metrics.waiting == 0
        for request in made.requests:
            assert request.task.cancelled() or request.task.exception() is None
    finally:
        loop.close()
