"""Paces the first token requests of shops that only the wildcard entry serves.

Whoever can call the proxy can make up shop names, each of which would cost a token request: so the first ones, for
shops that have no token yet, are spread over time. Known shops are not touched by this.

Rules: callers have their turns one after the other, whatever number of shops each of them waits for: who scans names
holds up another caller by one turn. A shop has one turn for all who wait for it, as soon as any of them has one. Who
would wait for too long is refused.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from proxy.errors import Overloaded
from proxy.guards.rotation import Rotation
from proxy.tasks import BackgroundTasks

TOO_MANY: Final = "Too many shops are called for the first time at once (tokens.first_requests_per_second)."


@dataclass(slots=True, eq=False)
class Turn:
    """The turn that a shop waits for; `callers` do, each with its number in line, and none of them after `until`.

    `came` tells whether it came, and `came_at` when, in seconds on the clock.
    """

    key: bytes
    until: float
    came: asyncio.Future[bool]
    came_at: float | None = None
    callers: dict[str, int] = field(default_factory=dict)


class FirstRequests:
    """Gives out turns, `per_second` of them at the most. `clock` is monotonic, in seconds; `sleep` waits on it."""

    def __init__(
        self,
        per_second: float,
        *,
        longest_wait: float,
        tasks: BackgroundTasks,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.keep_to(per_second, longest_wait=longest_wait)
        self._tasks = tasks
        self._clock = clock
        self._sleep = sleep
        self._line: Rotation[Turn] = Rotation()
        self._turns: dict[bytes, Turn] = {}  # that have not come yet
        self._joined = 0
        self._next_at = float("-inf")

    def keep_to(self, per_second: float, *, longest_wait: float) -> None:
        """Set the pace, and how many seconds a caller waits at the most."""
        self._interval = 1 / per_second
        self._longest_wait = longest_wait

    def line_up(self, key: bytes, caller: str) -> Turn | None:
        """Return the turn that the shop with this key has to wait for, if any. Raises `Overloaded`."""
        now = self._clock()
        if not self._turns and self._next_at <= now:
            self._next_at = now + self._interval
            return None
        wait = self._wait_of(caller, now)
        if wait > self._longest_wait:
            raise Overloaded(TOO_MANY, retry_after=wait - self._longest_wait)
        turn = self._turns[key] = Turn(key, now, asyncio.get_running_loop().create_future())
        self._join(turn, caller, now)
        if len(self._turns) == 1:
            self._tasks.start(self._give_out(), name="first token requests")
        return turn

    def wait_too(self, key: bytes, caller: str) -> Turn | None:
        """Return the turn that the shop with this key waits for already, if it does, with another caller in line."""
        turn = self._turns.get(key)
        if turn is not None and caller not in turn.callers:
            now = self._clock()
            if self._wait_of(caller, now) <= self._longest_wait:
                self._join(turn, caller, now)
        return turn

    def _wait_of(self, caller: str, now: float) -> float:
        """Return in how many seconds a caller that joins now has its turn, if nobody else does."""
        return max(self._next_at - now, 0.0) + self._line.ahead_of(caller, self._joined + 1) * self._interval

    def _join(self, turn: Turn, caller: str, now: float) -> None:
        self._joined += 1
        turn.callers[caller] = self._joined
        turn.until = now + self._longest_wait
        self._line.join(caller, self._joined, turn)

    async def _give_out(self) -> None:
        """Give out the turns one after the other, until nobody waits."""
        while self._turns:
            wait = self._next_at - self._clock()
            if wait > 0:
                await self._sleep(wait)
            self._next_at = max(self._next_at, self._clock())
            if self._give_one():
                self._next_at += self._interval

    def _give_one(self) -> bool:
        """Give out the next turn, unless all who wait for it have given up; tell which."""
        turn, now = self._line.first(), self._clock()
        came = now <= turn.until
        if came:
            self._line.advance()
            turn.came_at = now
        for caller, number in turn.callers.items():
            self._line.leave(caller, number)
        del self._turns[turn.key]
        if not turn.came.done():  # or its fetch was cancelled
            turn.came.set_result(came)
        return came
