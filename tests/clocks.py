"""The event loop's clock, set: how long a healthy part takes on a busy machine is then not measured.

asyncio's own loop goes by it. Of uvloop, only what asks for the time does: its timers ring when they would anyhow.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TURNS = 20  # of the event loop, in which happens what is due


def _set(loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
    loop.time = clock  # type: ignore[method-assign]  # - all that asyncio times goes by it


async def settle() -> None:
    """Let happen what is due."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def pass_time(seconds: float) -> None:
    """Have the event loop's clock go ahead by so much, and let happen what is due by then.

    What was to be read before that has to be read by now. The time-outs of the test itself come nearer too.
    """
    loop = asyncio.get_running_loop()
    now = loop.time
    _set(loop, lambda: now() + seconds)
    await settle()


@contextmanager
def counted_clock(per_turn: float = 0.00002) -> Iterator[None]:
    """Have the event loop's clock go so many seconds ahead with each turn of the loop, and else stand still.

    Where nothing happens that is about as fast as the world's; a machine that does something else costs one turn. With
    0, only `pass_time` moves the clock.
    """
    loop = asyncio.get_running_loop()
    real, now = loop.time, loop.time()
    next_turn: asyncio.Handle | None = None

    def turn() -> None:
        nonlocal now, next_turn
        now += per_turn
        next_turn = loop.call_soon(turn)

    if per_turn:
        next_turn = loop.call_soon(turn)
    _set(loop, lambda: now)
    try:
        yield
    finally:
        if next_turn is not None:
            next_turn.cancel()
        ahead = loop.time() - real()
        _set(loop, lambda: real() + ahead)
