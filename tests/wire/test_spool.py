"""The files of large bodies: made, written and closed beside everything else, however slow the disk is."""

import asyncio
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.errors import Overloaded
from proxy.guards.descriptors import Descriptors
from proxy.wire.spool import Spool, unnamed_file

UNBOUNDED = 1 << 50


async def test_a_file_has_no_name_and_is_only_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    descriptors = Descriptors()
    spool = Spool(descriptors, UNBOUNDED)
    await spool.admit()
    file = await spool.do(unnamed_file)
    await spool.do(lambda: spool.write(file, [b"ab", b"", b"cde"], 0))
    await spool.do(lambda: spool.write(file, [b"X"], 1))

    found = os.fstat(file)
    assert (found.st_nlink, found.st_mode & 0o777, os.pread(file, 10, 0)) == (0, 0o600, b"aXcde")
    assert list(tmp_path.iterdir()) == []
    assert descriptors.taken == 1
    spool.close(file, 5)
    await spool.do(lambda: None)
    while descriptors.taken:  # noqa: ASYNC110 - nobody is told of it
        await asyncio.sleep(0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)
    spool.end()


async def test_a_file_that_was_not_made_leaves_its_descriptor_to_others() -> None:
    descriptors = Descriptors()
    spool = Spool(descriptors, UNBOUNDED)
    await spool.admit()
    spool.leave()

    assert descriptors.taken == 0


async def test_what_was_closed_no_longer_counts_as_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    spool = Spool(Descriptors(), unwritten=4)
    first, second = unnamed_file(), unnamed_file()
    await spool.admit()
    spool.write(first, [b"abcde"], 0)
    spool.grew(5)
    spool.write(second, [b"x"], 0)
    assert synced == [second]
    spool.close(first, 5)
    while spool._size:  # noqa: ASYNC110 - nobody is told of it
        await asyncio.sleep(0)
    spool.write(second, [b"y"], 0)
    assert synced == [second]
    os.close(second)
    spool.end()


async def test_a_disk_that_stands_still_holds_up_nothing_else() -> None:
    """Neither the loop nor its own threads wait, and of the spool's there are few."""
    may_go_on, begun = threading.Event(), threading.Semaphore(0)
    spool = Spool(Descriptors(), UNBOUNDED)

    def slow() -> str:
        begun.release()
        assert may_go_on.wait(20)
        return "written"

    before = threading.active_count()
    writes = [spool.do(slow) for _ in range(100)]
    assert await asyncio.to_thread(begun.acquire, timeout=10)
    assert threading.active_count() - before <= 8 + 1
    for _ in range(100):
        assert await asyncio.to_thread(lambda: "others") == "others"
    assert not any(each.done() for each in writes)
    may_go_on.set()
    assert set(await asyncio.gather(*writes)) == {"written"}
    spool.end()


async def test_without_a_thread_a_file_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = Descriptors()
    spool = Spool(descriptors, UNBOUNDED)
    await spool.admit()
    file = unnamed_file()

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    spool.close(file, 5)

    assert descriptors.taken == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)


async def test_who_leaves_while_it_waits_for_a_descriptor_takes_none() -> None:
    descriptors = Descriptors()
    descriptors._for_files.limit = 1
    spool = Spool(descriptors, UNBOUNDED)
    await spool.admit()
    waiting = asyncio.ensure_future(spool.admit())
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    spool.leave()
    assert descriptors.taken == 0
    with suppress(Overloaded):
        await spool.admit()
    assert descriptors.taken == 1
