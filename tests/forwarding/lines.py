"""A line for slots whose time is set: nothing comes up before all are in line; then it goes faster than the world's.

So nobody waits in real time for a window to pass, however busy the machine is.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.peers import Answer
from tests.proxies import WholePath

_SPEED = 10.0


@dataclass
class _Alarm:
    at: float
    ring: Callable[[], None]
    handle: asyncio.TimerHandle | None = None
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True
        if self.handle is not None:
            self.handle.cancel()


class LineClock:
    """The time of slots and batches. It stands still until it is told to go, and then goes at this speed."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._at = time.monotonic()
        self._gone_since: float | None = None
        self._alarms: list[_Alarm] = []

    def __call__(self) -> float:
        if self._gone_since is None:
            return self._at
        return self._at + (time.monotonic() - self._gone_since) * self._speed

    def call_later(self, delay: float, ring: Callable[[], None]) -> _Alarm:
        alarm = _Alarm(self() + delay, ring)
        if self._gone_since is None:
            self._alarms.append(alarm)
        else:
            self._set(alarm)
        return alarm

    def go(self) -> None:
        """Let time pass from now on."""
        if self._gone_since is None:
            self._gone_since = time.monotonic()
            alarms, self._alarms = self._alarms, []
            for alarm in alarms:
                if not alarm.cancelled:
                    self._set(alarm)

    def stand(self) -> None:
        """Let no time pass from now on."""
        self._at, self._gone_since = self(), None

    def skip(self, seconds: float) -> None:
        """Stand still, so much later."""
        self.stand()
        self._at += seconds

    def _set(self, alarm: _Alarm) -> None:
        # What rings although time stands still again finds nothing to do, and is set anew.
        alarm.handle = asyncio.get_running_loop().call_later(max(alarm.at - self(), 0) / self._speed, alarm.ring)


def set_clock(path: WholePath, speed: float = _SPEED) -> None:
    """Have the slots and batches of a proxy go by a clock that stands still."""
    running = path.proxy.running
    clock = LineClock(speed)
    running.pacer._office.clock = clock
    running.pacer._office.call_later = clock.call_later
    running.forwarder._errands._batching.clock = clock


def clock_of(path: WholePath) -> LineClock:
    clock = path.proxy.running.pacer._office.clock
    assert isinstance(clock, LineClock)
    return clock


async def take_slot(path: WholePath, data: bytes) -> None:
    """Have a request take a slot at once, and let no time pass from then on."""
    pacer, route = path.proxy.running.pacer, path.proxy.running.forwarder.site.routes.find("demo")
    assert route is not None
    clock_of(path).skip(pacer.expected_wait(route.token_request.application))
    assert (await path.ask(data)).status == 200


async def waiting(path: WholePath, count: int) -> None:
    """Wait until so many are in line."""
    while path.proxy.running._pacing_metrics.waiting < count:  # noqa: ASYNC110 - who joins the line tells nobody
        await asyncio.sleep(0.001)


async def in_line(path: WholePath, count: int) -> None:
    """Wait until so many are in line, and let time pass from then on."""
    await waiting(path, count)
    clock_of(path).go()


async def ask_in_line(path: WholePath, *requests: bytes, wait: int | None = None) -> list[Answer]:
    """Have all of them come before time passes; return the answers. So many of them `wait` for a slot."""
    asked = asyncio.gather(*(path.ask(each) for each in requests))
    await in_line(path, len(requests) if wait is None else wait)
    return list(await asked)
