"""A request body is read once, kept, and given out whole as often as needed, whatever is cancelled in between."""

import asyncio
import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.errors import BadRequest, BodyTooLarge
from proxy.wire import body as module
from proxy.wire.body import RequestBody
from tests.streams import body_stream

LIMIT = 1 << 30


async def all_of(body: RequestBody) -> bytes:
    return b"".join([chunk async for chunk in body.chunks()])


async def test_a_small_body_is_read_ahead_and_its_length_known() -> None:
    stream = body_stream()
    body = RequestBody(stream, announced=None, max_size=LIMIT)
    assert (body.length, body.complete) == (None, False)
    stream.feed(b"hello")
    stream.end()

    assert await body.read_ahead() == b"hello"
    assert (body.length, body.complete, body.received) == (5, True, 5)
    assert await all_of(body) == await all_of(body) == b"hello"


async def test_a_body_over_the_memory_limit_streams_and_is_read_again_from_the_file() -> None:
    stream, content = body_stream(), os.urandom(module.MEMORY_LIMIT + 5)
    body = RequestBody(stream, announced=len(content), max_size=LIMIT)
    stream.feed(content)

    assert await body.read_ahead() is None
    assert (body.length, body.complete) == (len(content), False)
    stream.end()
    assert await all_of(body) == content
    assert await all_of(body) == content
    assert body.complete
    body.close()


async def test_a_body_at_the_memory_limit_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_unnamed_file", None)
    stream = body_stream()
    stream.feed(b"x" * module.MEMORY_LIMIT)
    stream.end()

    assert len(await RequestBody(stream, announced=None, max_size=LIMIT).read_ahead() or b"") == module.MEMORY_LIMIT


async def test_the_file_has_no_name_and_nobody_else_may_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stats: list[os.stat_result] = []
    real_pwrite = os.pwrite

    def pwrite(file: int, data: bytes, position: int) -> int:
        stats.append(os.fstat(file))
        return real_pwrite(file, data, position)

    monkeypatch.setattr(os, "pwrite", pwrite)
    stream = body_stream(b"x" * (module.MEMORY_LIMIT + 1))
    body = RequestBody(stream, announced=None, max_size=LIMIT)
    await body.read_ahead()
    body.close()
    body.close()  # once more does no harm

    assert [(each.st_nlink, each.st_mode & 0o777) for each in stats] == [(0, 0o600)]


async def test_an_announced_length_over_the_limit_is_refused_at_once() -> None:
    with pytest.raises(BodyTooLarge):
        RequestBody(body_stream(), announced=11, max_size=10)


async def test_what_is_too_large_stays_so_for_an_attempt_that_begins_later() -> None:
    stream = body_stream()
    body = RequestBody(stream, announced=None, max_size=10)
    stream.feed(b"x" * 8)
    assert await anext(body.chunks()) == b"x" * 8
    stream.feed(b"x" * 8)
    with pytest.raises(BodyTooLarge):
        await all_of(body)
    # The rest alone would fit, and with it the body would have a hole.
    stream.feed(b"y")
    stream.end()
    with pytest.raises(BodyTooLarge):
        await all_of(body)


async def test_a_broken_body_is_a_bad_request_each_time() -> None:
    stream = body_stream()
    body = RequestBody(stream, announced=None, max_size=LIMIT)
    stream.feed(b"hello")
    stream.fail(BadRequest("broken"))
    for _ in range(2):
        with pytest.raises(BadRequest):
            await all_of(body)


# Cancellation


class Threads:
    """Runs the file work of a body in threads that a test can hold back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.writes: list[tuple[int, int]] = []
        self.closed_at: list[int] = []
        self.closed = asyncio.Event()
        real_pwrite, real_close = os.pwrite, os.close
        self.file: int | None = None

        def pwrite(file: int, data: bytes, position: int) -> int:
            self.file = file
            self.started.release()
            assert self.go_on.acquire(timeout=10)
            self.writes.append((position, len(data)))
            return real_pwrite(file, data, position)

        def close(file: int) -> None:
            if file == self.file:
                self.closed_at.append(len(self.writes))
                self.closed.set()
            real_close(file)

        monkeypatch.setattr(os, "pwrite", pwrite)
        monkeypatch.setattr(os, "close", close)

    async def wait_for_start(self) -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, lambda: self.started.acquire(timeout=10))


async def test_a_write_that_was_cancelled_never_touches_a_closed_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, stream = Threads(monkeypatch), body_stream()
    body = RequestBody(stream, announced=None, max_size=LIMIT)
    stream.feed(b"x" * (module.MEMORY_LIMIT + 1))

    # An attempt is cancelled while a thread writes; a second one begins, and is cancelled too; then all is closed.
    for _ in range(2):
        attempt = asyncio.create_task(all_of(body))
        if threads.file is None:
            await threads.wait_for_start()
        else:
            stream.feed(b"y")
            await asyncio.sleep(0)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
    body.close()
    assert threads.closed_at == []
    for _ in range(10):
        threads.go_on.release()
    await threads.closed.wait()

    assert threads.closed_at == [len(threads.writes)]
    assert len(threads.writes) == 1


async def test_a_second_write_waits_for_the_one_that_was_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, stream = Threads(monkeypatch), body_stream()
    body = RequestBody(stream, announced=None, max_size=LIMIT)
    content = os.urandom(module.MEMORY_LIMIT + 1)
    stream.feed(content)
    attempt = asyncio.create_task(all_of(body))
    await threads.wait_for_start()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt

    stream.feed(b"the rest")
    stream.end()
    again = asyncio.create_task(all_of(body))
    await asyncio.sleep(0)
    assert not threads.started.acquire(blocking=False)
    for _ in range(10):
        threads.go_on.release()
    assert await again == content + b"the rest"
    body.close()
    assert threads.closed_at == [len(threads.writes)]


@st.composite
def feedings(draw: st.DrawFn) -> list[bytes]:
    sizes = draw(st.lists(st.integers(0, 40), max_size=12))
    return [bytes((index * 7 + offset) % 256 for offset in range(size)) for index, size in enumerate(sizes)]


@pytest.fixture
def _small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bytes in memory and in one read, so that small bodies go all the ways that large ones go."""
    monkeypatch.setattr(module, "MEMORY_LIMIT", 50)
    monkeypatch.setattr(module, "_FILE_READ_SIZE", 7)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=feedings(), turns=st.lists(st.integers(0, 12), max_size=5), feed_at=st.integers(0, 5))
@pytest.mark.usefixtures("_small_memory")
def test_no_byte_is_lost_wherever_an_attempt_is_cancelled(pieces: list[bytes], turns: list[int], feed_at: int) -> None:
    async def attempts() -> None:
        stream = body_stream()
        body = RequestBody(stream, announced=None, max_size=LIMIT)
        left = list(pieces)

        def feed(count: int) -> None:
            for _ in range(count):
                if left:
                    stream.feed(left.pop(0))

        for number, count in enumerate(turns):
            attempt = asyncio.ensure_future(body.read_ahead() if number % 2 else all_of(body))
            for turn in range(count):
                if turn % 2 == feed_at % 2:
                    feed(1)
                await asyncio.sleep(0)
            attempt.cancel()
            await asyncio.wait([attempt])
        feed(len(left))
        stream.end()
        try:
            assert await all_of(body) == b"".join(pieces)
            assert await all_of(body) == b"".join(pieces)
            assert body.received == body.length == len(b"".join(pieces))
        finally:
            body.close()

    asyncio.run(attempts())
