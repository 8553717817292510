"""What becomes of large uploads, and of all others, where the disk is full, fails, or is slow; over real sockets."""

import errno
import json
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from proxy.app import room
from proxy.wire import body as module
from tests.peers import CHUNKED, answering, chunked, request, response
from tests.test_shares import CLIENTS, ERP, FEED, house, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and /proc are Linux's")
LARGE = os.urandom(1_500_000)


@contextmanager
def full_device() -> Iterator[None]:
    """Files lie on a device that has no room, which the kernel says itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "unnamed_file", lambda: os.open("/dev/full", os.O_RDWR))
        yield


@contextmanager
def file_size_limit() -> Iterator[None]:
    """No file may be larger than a part of the body; a part of a write is taken."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def no_directory() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", "/nowhere/at/all")
        yield


@contextmanager
def directory_that_takes_no_file() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", "/proc")
        yield


def failing(name: str, number: int) -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def fault() -> Iterator[None]:
        def fail(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, name, fail)
            yield

    return fault


FAULTS = {
    "full": (full_device, "No space left on device"),
    "limit": (file_size_limit, "File too large"),
    "no directory": (no_directory, "No such file or directory"),
    "closed directory": (directory_that_takes_no_file, ""),
    "quota": (failing("pwrite", errno.EDQUOT), "quota"),
    "read-only": (failing("pwrite", errno.EROFS), "Read-only file system"),
    "broken": (failing("pwrite", errno.EIO), "Input/output error"),
    "too slow a mount": (failing("pwrite", errno.ETIMEDOUT), "timed out"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("framing", ["length", "chunked", "expect"])
async def test_a_disk_that_takes_no_file_refuses_large_uploads_alone_and_says_why(fault: str, framing: str) -> None:
    broken, words = FAULTS[fault]
    sent = {
        "length": request(b"POST", fields=ERP, body=LARGE),
        "chunked": request(b"POST", fields=ERP + CHUNKED) + chunked(LARGE[:700_000], LARGE[700_000:]),
        "expect": request(b"POST", fields=ERP + b"Expect: 100-continue\r\nContent-Length: 1500000\r\n"),
    }[framing]
    async with house(clients=CLIENTS) as here:
        running = here.proxy.running
        with broken():
            for _ in range(3):
                client = await here.client()
                await client.send(sent)
                if framing == "expect":
                    assert (await client.read_answer()).status == 100
                    await client.send(LARGE)
                refused = await client.read_answer()
                assert (refused.status, refused.values(b"Retry-After")) == (500, [b"10"])
                assert json.loads(refused.body)["code"] == "storage_unavailable"
                assert (await here.ask(b"/demo/x", FEED, body=b"small")).body == b"ok"
            assert (await here.live()).status == 200
        assert not any(received.body == LARGE for received in here.well.received)
        told = here.proxy.logged("request.refused")
        assert [(entry["level"], entry["code"]) for entry in told] == [("warning", "storage_unavailable")] * 3
        assert all(words in entry["reason"] and "TMPDIR" in entry["reason"] for entry in told)
        assert running.budgets.places.taken == running.budgets.spool.taken == running.budgets.memory.taken == 0
        assert (await here.ask(b"/demo/x", ERP, body=LARGE)).body == b"ok"
        assert here.well.received[-1].body == LARGE


async def test_a_body_that_can_not_be_read_again_is_not_sent_in_part() -> None:
    """After a 401 it is needed a second time."""
    unauthorized = response(b"no", status=b"401 Unauthorized")
    async with house(clients=CLIENTS) as here:
        here.well.script = answering(unauthorized, response(b"ok"))
        with failing("pread", errno.EIO)():
            refused = await here.ask(b"/demo/x", ERP, body=LARGE)
        assert json.loads(refused.body)["code"] == "storage_unavailable"
        assert (await here.ask(b"/demo/x", ERP, body=LARGE)).body == b"ok"
        await until(here, lambda: not here.proxy.running.budgets.spool.taken)


async def test_files_that_take_long_to_close_slow_large_uploads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file held is let go of when it is closed, and a slow disk takes its time for that."""
    files, closing, goes_on = set[int](), threading.Semaphore(0), threading.Event()
    pwrite, close = os.pwrite, os.close

    def note(file: int, data: bytes, position: int) -> int:
        files.add(file)
        return pwrite(file, data, position)

    def slow(file: int) -> None:
        if file in files:
            closing.release()
            assert goes_on.wait(20)
            files.discard(file)
        close(file)

    monkeypatch.setattr(os, "pwrite", note)
    monkeypatch.setattr(os, "close", slow)
    try:
        async with house(clients=CLIENTS) as here:
            for _ in range(3):  # each answered before its file is closed
                assert (await here.ask(b"/demo/x", ERP, body=LARGE)).body == b"ok"
            for _ in range(3):
                await until(here, lambda: closing.acquire(blocking=False))
            for _ in range(20):
                assert (await here.ask(b"/demo/x", FEED, body=b"hello")).body == b"ok"
            assert (await here.live()).status == 200
            # The end of the proxy, with files that are not closed yet.
    finally:
        goes_on.set()


async def test_where_much_lies_in_files_each_write_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would wait in the memory of the control group, and who asks for memory then waits for the disk."""
    synced: list[int] = []
    fdatasync = os.fdatasync

    def sync(file: int) -> None:
        synced.append(os.fstat(file).st_size)
        fdatasync(file)

    monkeypatch.setattr(os, "fdatasync", sync)
    monkeypatch.setattr(room, "unwritten", lambda: 2_000_000)
    async with house(clients=CLIENTS) as here:
        assert (await here.ask(b"/demo/x", ERP, body=LARGE)).body == b"ok"
        assert synced == []
        assert (await here.ask(b"/demo/x", ERP, body=LARGE * 2)).body == b"ok"
        assert synced
        assert min(synced) > 2_000_000
        assert here.well.received[-1].body == LARGE * 2
