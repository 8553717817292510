"""The store that replicas share: runs scripts in it, and knows whether it is well.

Rules:
- A command has `timeout` seconds and one try. After one failure the store counts as away: nobody waits for it until a
  probe beside the traffic has found it well. What could not be asked raises `Away`, and whoever asks does without.
- Each replica says once a second that it is there; that is the probe too, and tells how many there are. Right after a
  failure it looks more often, and for `silence` seconds nobody does anything that the others would have to know: most
  failures are over by then.
- Times are Redis's own, in microseconds; `time_at` is what its clock shows at a local moment, as far as is known.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from structlog.typing import FilteringBoundLogger

from proxy.shared.breaker import Breaker
from proxy.shared.client import Argument, Client, Failure
from proxy.shared.scripts import Script, script
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import SharedMetrics

BEAT: Final = 1.0  # seconds between two signs of life, and between two probes
SETTLING: Final = 1.5  # seconds after which all replicas have noticed that a store is back
_HEARD: Final = 1.6  # seconds after its last sign of life that a replica may not be without the store yet, or is silent
_PROBE: Final = 0.2  # seconds between two probes right after a failure
_TOLD_EVERY: Final = 10.0  # seconds; a failure that comes sooner after another one is told of only if it lasts
_DEAF_AFTER: Final = 3  # attempts to listen, each a second after the last one, that fail while the store is well
_LIFETIME: Final = 5.0  # seconds after its last sign of life that a replica counts as there
_ROUNDS: Final = 4  # of the event loop, in which an answer that has arrived comes to who waits for it
_AT_ONCE: Final = 8  # commands, each over a connection of its own
TOUCH: Final = script(Path(__file__).with_name("touch.lua"))
LEAVE: Final = Script("leave", "return {0, redis.call('ZREM', KEYS[1], ARGV[1])}")


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    """Raise `TimeoutError` after so many seconds, unless the answer is here already.

    An event loop that was kept busy runs its timers before it looks what has arrived: that would look like a slow
    store.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as timeout:
        timers: list[asyncio.Handle] = []

        def ring(rounds_left: int) -> None:
            if rounds_left:
                timers[:] = [loop.call_later(0, ring, rounds_left - 1)]
            else:
                timeout.reschedule(loop.time())

        timers.append(loop.call_later(seconds, ring, _ROUNDS))
        try:
            yield
        finally:
            timers[0].cancel()


class Away(Exception):
    """The store can't be asked now; the message says why, for the operator."""


class Said(NamedTuple):
    """What a script answered: its own time in µs, the rest, and the local times between which it ran."""

    time: int
    values: list[Any]
    sent: float
    received: float

    def __repr__(self) -> str:
        return f"Said(time={self.time})"


class SharedStore:
    """Runs scripts. `clock` is monotonic, in seconds; `identity` is this replica's own; `prefix` begins every name."""

    def __init__(  # noqa: PLR0913 - half of them are keywords
        self,
        client: Client,
        metrics: SharedMetrics,
        log: FilteringBoundLogger,
        tasks: BackgroundTasks,
        *,
        prefix: str,
        identity: str,
        timeout: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.timeout = timeout
        self.clock = clock
        self.prefix = prefix
        self.identity = identity
        self.metrics = metrics
        self.breaker = Breaker()
        self.replicas: int | None = None  # as last seen
        self._opening = 0  # from when on slots are booked, in Redis's time
        self._counted_from = float("-inf")  # from when on a smaller number of replicas is believed
        # For so many seconds after a failure nothing is done that others would have to know. It ends with a probe, so
        # that none who is heard of goes its own way while others go on here.
        self.silence = _HEARD + _PROBE + timeout + 0.1
        self.trip = 0.01  # seconds that a command takes, for lack of better knowledge
        self._client = client
        self._log = log
        self._tasks = tasks
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._offset: float | None = None  # of Redis's clock to the local one, in seconds
        self._why = ""
        self._sleep = sleep
        self._told = False  # that it is away
        self._told_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def follow(self, before: "SharedStore") -> None:
        """Be the same replica as with the store before this one, and know what it did on its own."""
        self.identity, self.replicas, self.breaker = before.identity, before.replicas, copy.copy(before.breaker)
        self._offset, self._why, self._told, self._told_at = before._offset, before._why, before._told, before._told_at
        self.metrics.away, self.metrics.why = not self.breaker.closed, "" if self.breaker.closed else self._why
        self.metrics.replicas = before.metrics.replicas

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Said:
        """Run a script. Raises `Away`."""
        if not self.breaker.closed:
            self.metrics.commands["skipped"] += 1
            raise Away(self._why)
        return await self._run(script, keys, arguments)

    def tell(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> asyncio.Task[None] | None:
        """Run a script beside the traffic, whatever comes of it."""
        return self.beside(lambda: self.run(script, keys, arguments)) if self.breaker.closed else None

    def beside(self, ask: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
        """Do what asks the store beside the traffic, whatever comes of it."""

        async def asking() -> None:
            with suppress(Away):
                await ask()

        return self._tasks.start(asking(), name="shared store")

    def time_at(self, moment: float) -> int | None:
        """Return what Redis's clock shows at a local moment, in µs; `None` if it was never seen."""
        return None if self._offset is None else round((moment + self._offset) * 1e6)

    def waits_until(self) -> int:
        """Return what Redis's clock shows when a command that is sent now is not waited for any more; 0: not known."""
        return self.time_at(self.clock() + 1.5 * self.timeout) or 0

    def key(self, kind: str, name: str) -> str:
        """Return the name of an entry."""
        return f"{self.prefix}{kind}:{name}"

    async def keep_in_touch(self) -> None:
        """Say once a second that this replica is there, and find out when a store that was away is back."""
        while True:
            await self.touch()
            await self._sleep(BEAT)

    async def keep_listening(self, kind: str, heard: Callable[[str], None]) -> None:
        """Tell `heard` what others say of this kind of entries, while the store is there; the rest is lost."""
        failed = 0  # times in a row, while the store was well
        while True:
            try:
                async with aclosing(self._client.listen(self.key(kind, "news"))) as news:
                    async for name in news:
                        if name:
                            heard(name)
                        else:
                            failed = 0
                            if self.metrics.deaf:
                                self.metrics.deaf = ""
                                self._log.info("shared.hears")
            except Failure as error:
                failed = failed + 1 if self.breaker.closed else 0
                if failed == _DEAF_AFTER and not self.metrics.deaf:
                    self.metrics.deaf = str(error)
                    self._log.warning("shared.deaf", why=str(error))
            await self._sleep(BEAT)

    async def touch(self) -> None:
        """Say that this replica is there; whether that succeeds is what the breaker goes by."""
        breaker = self.breaker
        away = 0.0 if breaker.closed else max(self.clock() - breaker.opened_at, 0.001)
        keys = (self.key("replicas", "all"), self.key("slots", "from"))
        times = [round(seconds * 1e6) for seconds in (_LIFETIME, away, SETTLING, _HEARD)]
        begins = self.replicas is None and breaker.closed
        try:
            said = await self._run(TOUCH, keys, (self.identity, *times, int(begins), self.waits_until()))
            if not said.values[0]:  # its clock is another one than before, which is known now
                said = await self._run(TOUCH, keys, (self.identity, *times, int(begins), self.waits_until()))
        except Away:
            return
        if breaker.answered(said.received):
            self.metrics.away, self.metrics.why = False, ""
            if self._told:
                self._told = False
                self._log.info("shared.back", away_for=round(said.received - breaker.opened_at, 1))
            await self.touch()  # now that it is known
            return
        count, opening = said.values
        if opening != self._opening:  # it was away, or emptied: not all have said yet that they are there
            self._opening, self._counted_from = opening, said.received + _LIFETIME
        self.replicas = count if said.received >= self._counted_from else max(count, self.replicas or 0)
        self.metrics.replicas = self.replicas

    async def leave(self, *, for_good: bool = True) -> None:
        """Ask nothing from now on; say that this replica is gone, if it is so `for_good`."""
        if for_good:
            with suppress(Away):
                await self.run(LEAVE, (self.key("replicas", "all"),), (self.identity,))
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        self.breaker.failed(self.clock())  # whoever still has it does without

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Said:
        sent = self.clock()
        try:
            async with self._places:  # which whoever is in comes out of within the deadline
                if not self.breaker.closed and script is not TOUCH:
                    raise Away(self._why)
                sent = self.clock()
                async with _deadline(self.timeout):
                    time, *values = await self._client.run(script, keys, arguments)
        except TimeoutError:
            self._failed("timeout", f"no answer in {self.timeout:g} s (shared.command_timeout)", sent)
            raise Away(self._why) from None
        except Failure as error:
            self._failed("error", str(error), sent)
            raise Away(self._why) from None
        received = self.clock()
        self.metrics.ran("ok", received - sent)
        # The shortest of late: what a command takes, without what keeps this process or the server busy for a moment.
        self.trip = min(received - sent, self.trip * 1.02 + 1e-5)
        self._offset = time / 1e6 - sent  # ahead of what its clock shows, by one way of a command at the most
        return Said(time, values, sent, received)

    def _failed(self, outcome: str, why: str, sent: float) -> None:
        now = self.clock()
        self.metrics.ran(outcome, now - sent)
        if self.breaker.failed(now):  # else it follows from what has failed before: connections are closed then
            self._why = self.metrics.why = why
            self.metrics.away = True
            if now - self._told_at >= _TOLD_EVERY:
                self._tell()
            # What is connected may lead to a server that is none any more, or hang. Closing may hang too.
            self._tasks.start(self._client.reset(), name="shared store")
            self._looking = self._tasks.start(self._look_again(), name="shared store")

    async def _look_again(self) -> None:
        while not self.breaker.closed and self.clock() - self.breaker.opened_at < self.silence:
            await self._sleep(_PROBE)
            if not self.breaker.closed:
                await self.touch()
        if not (self.breaker.closed or self._told):
            self._tell()

    def _tell(self) -> None:
        self._told, self._told_at = True, self.clock()
        self._log.warning("shared.away", why=self._why)
