"""Work in threads: what comes of it, and that nobody waits for what never ends."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from contextlib import suppress

import pytest

from proxy.threads import Crew, in_thread


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


# A crew


async def test_a_crew_does_all_that_it_is_given_with_as_many_threads_as_it_may_have() -> None:
    crew, together = Crew("crew", 3), threading.Barrier(3, timeout=10)
    before = threading.active_count()

    done = [crew.do(lambda: (together.wait(), threading.current_thread().name)[1]) for _ in range(30)]
    assert set(await asyncio.gather(*done)) == {"crew"}
    assert threading.active_count() - before <= 3
    crew.dismiss()
    assert await in_thread(lambda: gone(before), name="looking")


def gone(before: int) -> bool:
    """Wait until there are no more threads than before, but for this one."""
    while threading.active_count() > before + 1:
        threading.Event().wait(0.001)
    return True


async def test_one_at_a_time_needs_one_thread_of_a_crew() -> None:
    crew, before = Crew("crew", 3), threading.active_count()
    for number in range(10):
        assert await crew.do(lambda number=number: number) == number  # type: ignore[misc]
    assert threading.active_count() - before == 1
    crew.dismiss()


async def test_a_crew_hands_out_errors_and_goes_on() -> None:
    def fail() -> None:
        raise FileNotFoundError("gone")

    crew = Crew("crew", 1)
    with pytest.raises(FileNotFoundError, match="gone"):
        await crew.do(fail)
    assert await crew.do(lambda: "on") == "on"
    crew.dismiss()


async def test_a_crew_keeps_nothing_of_what_it_has_done() -> None:
    class Large:
        pass

    crew, large = Crew("crew", 1), Large()
    left = weakref.ref(large)
    await crew.do(lambda large=large: None)  # type: ignore[misc]
    del large
    await crew.do(lambda: None)
    gc.collect()
    assert left() is None
    crew.dismiss()


async def test_a_crew_makes_do_with_the_threads_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, may_end = Crew("crew", 3), threading.Event()
    held = crew.do(may_end.wait)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    later = crew.do(lambda: "later")
    with pytest.raises(OSError, match="no thread could be started"):
        Crew("another", 1).do(lambda: None)
    may_end.set()
    await held
    assert await later == "later"
    crew.dismiss()


@pytest.mark.parametrize("start", ["in_thread(%s, name='for ever')", "Crew('for ever', 1).do(%s)"])
def test_the_end_of_the_process_waits_for_no_thread(start: str) -> None:
    program = """
import asyncio, threading
from proxy.threads import Crew, in_thread

async def main():
    begun = threading.Event()
    START
    await in_thread(begun.wait, name="until then")
    print("done", flush=True)

asyncio.run(main())
"""
    program = program.replace("START", start % "lambda: begun.set() or threading.Event().wait()")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, env={**os.environ}, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
