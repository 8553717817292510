"""Work in threads: what comes of it, and that nobody waits for what never ends."""

import asyncio
import os
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from proxy.threads import in_thread


async def test_what_is_returned_or_raised_comes_out() -> None:
    def fail() -> None:
        raise FileNotFoundError("gone")

    assert await in_thread(lambda: threading.current_thread().name, name="looking") == "looking"
    with pytest.raises(FileNotFoundError, match="gone"):
        await in_thread(fail, name="looking")


async def test_the_loop_turns_meanwhile_and_each_has_a_thread_of_its_own() -> None:
    together = threading.Barrier(40, timeout=10)

    await asyncio.gather(*(in_thread(together.wait, name="one of many") for _ in range(40)))


async def test_who_leaves_disturbs_nothing() -> None:
    may_end, ended = threading.Event(), threading.Event()

    def work() -> None:
        may_end.wait(10)
        ended.set()
        raise OSError("nobody asks for this any more")

    future = in_thread(work, name="left alone")
    future.cancel()
    with suppress(asyncio.CancelledError):
        await future
    may_end.set()
    assert await in_thread(lambda: ended.wait(10), name="waiting")


async def test_a_system_without_threads_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)

    with pytest.raises(OSError, match="no thread could be started: can't start new thread"):
        in_thread(lambda: None, name="one too many")


def test_the_end_of_the_process_waits_for_no_thread() -> None:
    program = """
import asyncio, threading
from proxy.threads import in_thread

async def main():
    begun = threading.Event()
    in_thread(lambda: begun.set() or threading.Event().wait(), name="for ever")
    await in_thread(begun.wait, name="until then")
    print("done", flush=True)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, env={**os.environ}, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
