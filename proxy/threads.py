"""Work that blocks, in threads that nobody waits for at the end.

The threads of `asyncio.to_thread` are few, shared by all kinds of work, and joined when the process ends: what hangs in
one of them, at a name server or a file system, holds up everything else and the end. Here no thread is joined. Each
piece of work has one of its own, and whoever starts some says how many there may be; or work of one kind that comes
often has a crew of a few, so that what hangs holds up its own kind alone.
"""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

_T = TypeVar("_T")


def in_thread(work: Callable[[], _T], *, name: str) -> asyncio.Future[_T]:
    """Start `work` in a thread that is called `name`, and return what will come of it.

    The thread goes on if the future is cancelled or left alone; what it raises then is nobody's. Raises `OSError` if
    the system has no thread left.
    """
    run, future = _prepared(work)
    _start(run, name)
    return future


class Crew:
    """Threads for one kind of work, all called `name`: as many as are needed at once, up to `most`.

    They stay until the process ends, or `dismiss` is called.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads = 0
        self._under_way = 0

    def do(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        """Have `work` done when its turn comes; as `in_thread` all else."""
        if self._under_way >= self._threads < self._most:
            try:
                _start(self._serve, self._name)
            except OSError:
                if not self._threads:
                    raise
            else:
                self._threads += 1
        run, future = _prepared(work)
        self._under_way += 1
        future.add_done_callback(self._done)
        self._work.put(run)
        return future

    def dismiss(self) -> None:
        """Have the threads end when all has been done that was asked for; nobody waits for that."""
        for _ in range(self._threads):
            self._work.put(None)
        self._threads = 0

    def _serve(self) -> None:
        while (run := self._work.get()) is not None:
            run()
            del run  # it holds what it worked on, and the next may come late

    def _done(self, _: "asyncio.Future[Any]") -> None:
        self._under_way -= 1


def _prepared(work: Callable[[], _T]) -> tuple[Callable[[], None], asyncio.Future[_T]]:
    """Return what does the work in a thread, and what will come of it."""
    outcome: Future[_T] = Future()
    outcome.set_running_or_notify_cancel()  # so that it can't be cancelled under the thread's hands
    future = asyncio.wrap_future(outcome)
    future.add_done_callback(lambda done: done.cancelled() or done.exception())  # or it would be told as never seen
    return partial(_run, work, outcome), future


def _run(work: Callable[[], _T], outcome: Future[_T]) -> None:
    try:
        outcome.set_result(work())
    except BaseException as error:
        outcome.set_exception(error)


def _start(run: Callable[[], None], name: str) -> None:
    try:
        Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"no thread could be started: {error}") from None
