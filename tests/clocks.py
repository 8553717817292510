"""The event loop's clock, set: what a healthy part has to do in time is then not measured, however busy the machine is."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

_TURNS = 20  # of the event loop, in which happens what is due


def _set(loop: asyncio.AbstractEventLoop, clock: object) -> None:
    loop.time = clock  # type: ignore[method-assign,assignment]  # - all that asyncio times goes by it


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
def standing_clock() -> Iterator[None]:
    """Have the event loop's clock stand still; only `pass_time` moves it. Who sleeps meanwhile, sleeps on."""
    loop = asyncio.get_running_loop()
    real, began = loop.time, loop.time()
    _set(loop, lambda: began)
    try:
        yield
    finally:
        ahead = loop.time() - real()
        _set(loop, lambda: real() + ahead)
