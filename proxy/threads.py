"""Work that blocks, in threads that nobody waits for at the end.

The threads of `asyncio.to_thread` are few, shared by all kinds of work, and joined when the process ends: what hangs in
one of them, at a name server or a file system, holds up everything else and the end. Here each piece of work has a
thread of its own that is not joined; whoever starts some says how many there may be.
"""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

_T = TypeVar("_T")


def in_thread(work: Callable[[], _T], *, name: str) -> asyncio.Future[_T]:
    """Start `work` in a thread that is called `name`, and return what will come of it.

    The thread goes on if the future is cancelled or left alone; what it raises then is nobody's. Raises `OSError` if
    the system has no thread left.
    """
    outcome: Future[_T] = Future()
    outcome.set_running_or_notify_cancel()  # so that it can't be cancelled under the thread's hands

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    try:
        Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"no thread could be started: {error}") from None
    future = asyncio.wrap_future(outcome)
    future.add_done_callback(lambda done: done.cancelled() or done.exception())  # or it would be told as never seen
    return future
