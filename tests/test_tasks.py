"""Background tasks are held on to until they end, and ended when the proxy stops."""

import asyncio
import gc
import weakref

import pytest

from proxy.tasks import BackgroundTasks


async def test_a_task_gives_back_what_its_coroutine_returns() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    task = BackgroundTasks().start(answer(), name="the answer")

    assert await task == 42
    assert task.get_name() == "the answer"


async def test_a_task_that_nobody_else_holds_runs_to_its_end() -> None:
    ended = asyncio.Event()
    outcomes = []

    async def wait() -> None:
        # Only this coroutine's own frame knows the future that it waits for.
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(set_result, weakref.ref(future))
        await future
        outcomes.append("ran to its end")
        ended.set()

    def set_result(reference: "weakref.ref[asyncio.Future[None]]") -> None:
        gc.collect()
        future = reference()
        if future is None:
            outcomes.append("vanished")
            ended.set()
        else:
            future.set_result(None)

    tasks = BackgroundTasks()
    tasks.start(wait(), name="unheld")
    await ended.wait()

    assert outcomes == ["ran to its end"]


async def test_an_error_is_left_to_who_started_the_task() -> None:
    async def fail() -> None:
        raise LookupError("its own error")

    task = BackgroundTasks().start(fail(), name="fails")

    with pytest.raises(LookupError, match="its own error"):
        await task


async def test_closing_ends_the_tasks_that_still_run_and_waits_for_their_end() -> None:
    started, log = asyncio.Event(), []
    tasks = BackgroundTasks()

    async def wait_for_ever() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.append("tidied up")

    task = tasks.start(wait_for_ever(), name="endless")
    await started.wait()
    await tasks.close()

    assert task.cancelled()
    assert log == ["tidied up"]


async def test_closing_ends_what_is_started_meanwhile() -> None:
    tasks = BackgroundTasks()
    later: list[asyncio.Task[None]] = []

    async def start_another_at_the_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            later.append(tasks.start(asyncio.sleep(3600), name="started at the end"))

    tasks.start(start_another_at_the_end(), name="starts another")
    await asyncio.sleep(0)
    await tasks.close()

    assert [task.cancelled() for task in later] == [True]


async def test_closing_is_not_disturbed_by_a_task_that_fails_at_its_end() -> None:
    started = asyncio.Event()
    tasks = BackgroundTasks()

    async def fail_at_the_end() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            raise LookupError

    task = tasks.start(fail_at_the_end(), name="fails at its end")
    await started.wait()
    await tasks.close()

    assert isinstance(task.exception(), LookupError)


async def test_a_task_that_has_ended_is_forgotten() -> None:
    tasks = BackgroundTasks()

    async def nothing() -> None:
        pass

    task = tasks.start(nothing(), name="short")
    await task
    held = weakref.ref(task)
    del task
    await asyncio.sleep(0)
    gc.collect()

    assert held() is None
    await tasks.close()
