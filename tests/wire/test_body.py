"""A request body is read once, kept, and given out whole as often as needed, whatever is cancelled in between."""

import asyncio
import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.errors import BadRequest, BodyTooLarge, ClientOverloaded
from proxy.wire import body as module
from proxy.wire.body import RequestBody
from tests.streams import Held, body_stream, request_body


async def all_of(body: RequestBody) -> bytes:
    return b"".join([chunk async for chunk in body.chunks()])


async def test_a_small_body_is_read_ahead_and_its_length_known() -> None:
    stream = body_stream()
    body = request_body(stream)
    assert (body.length, body.complete) == (None, False)
    stream.feed(b"hello")
    stream.end()

    assert await body.read_ahead() == b"hello"
    assert (body.length, body.complete, body.received) == (5, True, 5)
    assert await all_of(body) == await all_of(body) == b"hello"


async def test_a_body_over_the_memory_limit_streams_and_is_read_again_from_the_file() -> None:
    stream, content = body_stream(), os.urandom(module.MEMORY_LIMIT + 5)
    body = request_body(stream, announced=len(content))
    stream.feed(content)

    assert await body.read_ahead() is None
    assert (body.length, body.complete) == (len(content), False)
    stream.end()
    assert await all_of(body) == content
    assert await all_of(body) == content
    assert body.complete
    body.close()


async def test_a_body_at_the_memory_limit_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "unnamed_file", None)
    stream = body_stream()
    stream.feed(b"x" * module.MEMORY_LIMIT)
    stream.end()

    assert len(await request_body(stream).read_ahead() or b"") == module.MEMORY_LIMIT


async def test_the_file_has_no_name_and_nobody_else_may_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stats: list[os.stat_result] = []
    real_pwrite = os.pwrite

    def pwrite(file: int, data: bytes, position: int) -> int:
        stats.append(os.fstat(file))
        return real_pwrite(file, data, position)

    monkeypatch.setattr(os, "pwrite", pwrite)
    stream = body_stream(b"x" * (module.MEMORY_LIMIT + 1))
    body = request_body(stream)
    await body.read_ahead()
    body.close()
    body.close()  # once more does no harm

    assert [(each.st_nlink, each.st_mode & 0o777) for each in stats] == [(0, 0o600)]


async def test_an_announced_length_over_the_limit_is_refused_at_once() -> None:
    with pytest.raises(BodyTooLarge):
        request_body(body_stream(), announced=11, max_size=10)


async def test_what_is_too_large_stays_so_for_an_attempt_that_begins_later() -> None:
    stream = body_stream()
    body = request_body(stream, max_size=10)
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
    body = request_body(stream)
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
        self.closed, loop = asyncio.Event(), asyncio.get_running_loop()
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
                loop.call_soon_threadsafe(self.closed.set)
            real_close(file)

        monkeypatch.setattr(os, "pwrite", pwrite)
        monkeypatch.setattr(os, "close", close)

    async def wait_for_start(self) -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, lambda: self.started.acquire(timeout=10))


async def test_a_write_that_was_cancelled_never_touches_a_closed_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, stream = Threads(monkeypatch), body_stream()
    body = request_body(stream)
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
    body = request_body(stream)
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
    await threads.closed.wait()
    assert threads.closed_at == [len(threads.writes)]


# What it holds


class Bounded(Held):
    """Room for so many bytes."""

    def __init__(self, *, memory: int = 1 << 30, spool: int = 1 << 30) -> None:
        super().__init__()
        self.most_in_memory, self.most_on_disk = memory, spool

    def memory(self, more: int) -> None:
        if self.in_memory + more > self.most_in_memory:
            raise ClientOverloaded("no memory")
        super().memory(more)

    def spool(self, more: int) -> None:
        if self.on_disk + more > self.most_on_disk:
            raise ClientOverloaded("no disk")
        super().spool(more)


async def test_a_small_body_holds_what_it_may_take_on_its_way_and_then_what_it_is() -> None:
    held, stream = Held(), body_stream()
    body = request_body(stream, held=held)
    assert held.in_memory == module.LEAST_MEMORY
    stream.feed(b"x" * 50_000)
    assert await body._receive()
    assert held.in_memory == 50_000 + module.LEAST_MEMORY
    stream.feed(b"x" * 50_000)
    stream.end()
    await body.read_ahead()
    assert (held.in_memory, held.on_disk, stream.wide) == (100_000, 0, False)
    body.close()
    body.close()
    assert (held.in_memory, held.on_disk) == (0, 0)


async def test_an_announced_body_holds_no_more_than_it_may_become() -> None:
    held, stream = Held(), body_stream()
    body = request_body(stream, announced=10, held=held)
    assert held.in_memory == 10
    stream.feed(
        b"x" * 10,
    )
    stream.end()
    await body.read_ahead()
    assert held.in_memory == 10
    body.close()


@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_body_holds_its_buffers_in_memory_and_itself_on_the_disk(announced: bool) -> None:
    held, size = Held(), 2 * module.MEMORY_LIMIT
    stream = body_stream()
    body = request_body(stream, announced=size if announced else None, held=held)
    assert (held.in_memory, held.on_disk) == (module.LEAST_MEMORY, size * announced)
    reading = asyncio.create_task(all_of(body))
    most_in_memory = 0
    for _ in range(32):
        stream.feed(b"x" * (size // 32))
        received = body.received
        while body.received == received or body._in_memory:
            most_in_memory = max(most_in_memory, held.in_memory)
            await asyncio.sleep(0)
            if not announced and body.received <= module.MEMORY_LIMIT:
                break
    stream.end()
    await reading
    assert held.on_disk == size
    assert stream.wide
    assert held.in_memory == (0 if announced else module._WIDE)
    assert most_in_memory <= (module._WIDE if announced else module.MEMORY_LIMIT + module.LEAST_MEMORY)
    body.close()
    assert (held.in_memory, held.on_disk) == (0, 0)


async def test_a_large_body_for_which_there_is_little_room_streams_on_in_small_pieces() -> None:
    held, content = Bounded(memory=200_000), os.urandom(2 * module.MEMORY_LIMIT)
    stream = body_stream(content[:1_000_000])
    body = request_body(stream, announced=len(content), held=held)
    assert await body._receive() == content[:1_000_000]
    assert (stream.wide, held.in_memory) == (False, module.LEAST_MEMORY)
    stream.feed(content[1_000_000:])
    stream.end()
    assert await all_of(body) == content
    assert held.on_disk == len(content)
    body.close()


async def test_where_there_is_no_room_in_memory_a_small_body_goes_to_the_disk_and_is_whole() -> None:
    held, stream, content = Bounded(memory=200_000), body_stream(), os.urandom(200_000)
    body = request_body(stream, held=held)
    stream.feed(content[:60_000])
    assert await body._receive() == content[:60_000]
    assert held.on_disk == 0
    stream.feed(content[60_000:])
    stream.end()

    assert await body.read_ahead() is None
    assert (body.length, body.complete) == (200_000, True)
    assert (held.in_memory, held.on_disk) == (module.LEAST_MEMORY, 200_000)
    assert await all_of(body) == await all_of(body) == content
    body.close()


async def test_who_has_no_room_at_all_is_told_so() -> None:
    with pytest.raises(ClientOverloaded, match="no memory"):
        request_body(body_stream(), announced=100, held=Bounded(memory=99))
    with pytest.raises(ClientOverloaded, match="no disk"):
        request_body(body_stream(), announced=2_000_000, held=Bounded(spool=1_999_999))

    held = Bounded(spool=module.MEMORY_LIMIT)
    body = request_body(body_stream(b"x" * (module.MEMORY_LIMIT + 1), end=True), held=held)
    with pytest.raises(ClientOverloaded, match="no disk"):
        await all_of(body)
    body.close()
    assert (held.in_memory, held.on_disk) == (0, 0)


@st.composite
def feedings(draw: st.DrawFn) -> list[bytes]:
    sizes = draw(st.lists(st.integers(0, 40), max_size=12))
    return [bytes((index * 7 + offset) % 256 for offset in range(size)) for index, size in enumerate(sizes)]


@pytest.fixture
def _small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bytes in memory and in one read, so that small bodies go all the ways that large ones go."""
    monkeypatch.setattr(module, "MEMORY_LIMIT", 50)
    monkeypatch.setattr(module, "_FILE_READ_SIZE", 7)
    monkeypatch.setattr(module, "LEAST_MEMORY", 20)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=feedings(), turns=st.lists(st.integers(0, 12), max_size=5), feed_at=st.integers(0, 5))
@pytest.mark.usefixtures("_small_memory")
def test_no_byte_is_lost_wherever_an_attempt_is_cancelled(pieces: list[bytes], turns: list[int], feed_at: int) -> None:
    async def attempts() -> None:
        stream, held = body_stream(), Held()
        body = request_body(stream, held=held)
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
        assert (held.in_memory, held.on_disk) == (0, 0)

    asyncio.run(attempts())
