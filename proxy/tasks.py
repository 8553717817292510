"""Background tasks that are not lost.

A bare `asyncio.create_task` keeps no reference to its task, so that it may vanish in the middle, and nobody sees its
error. This is the one place where the proxy starts a task.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class BackgroundTasks:
    """Starts tasks, holds on to them until they end, and ends those that are left."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, _T], *, name: str) -> asyncio.Task[_T]:
        """Start `coroutine` in a task of its own; whoever starts it sees to its error."""
        task = asyncio.create_task(coroutine, name=name)  # noqa: TID251 - the one place
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Cancel the tasks that still run, and those that they start meanwhile, and wait for their end."""
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
