"""Writes the lines of the log, off the path of whoever logs.

A line costs who logs it an addition to a buffer, and one that can wait is not even made: some dozens are made one after
the other, which takes a third of the time that each takes between two requests, where nothing of it is in the caches.
A thread writes what has gathered, and waits where there is something to wait for: a pipe that nobody reads, a disk that
is slow or full. Meanwhile lines gather, up to `MAX_UNWRITTEN` bytes; then they are dropped whole, and counted. As soon
as there is room again, a line in their place says how many they were.

Rules: nothing here raises for what the stream does. The stream's file is shared with whoever started the process, so
that it is not made non-blocking; what may have a reader is written to when it is ready, and then only as much as it is
sure to take. A line is never mixed with another one, nor broken by a write that took a part of it. Somebody may log
while he is logging: the garbage collector runs anywhere, and what it finalizes may have something to say. A stream that
is no file (in tests) is written to at once, and no thread is started.
"""

import math
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Self, TextIO

from proxy.telemetry.metrics import LogMetrics

MAX_UNWRITTEN: Final = 4 << 20  # bytes
# Seconds. Lines gather for so long after those before were written; a reader is waited for, before the thread looks
# whether it is to end; what could not be written is tried again; and the end waits.
_GATHERED_FOR: Final = 0.02
_READER_WAITED_FOR: Final = 0.1
_TRIED_AGAIN_AFTER: Final = 1.0
_END_WAITS_FOR: Final = 1.0
# So many lines are made together at most: what they are made of takes more room than they do.
_MADE_TOGETHER: Final = 64


class LogWriter:
    """Writes lines to `stream` until it is closed, also as a context manager.

    `tell_lost` makes the line that says how many were lost; who makes the other lines sets it.
    """

    def __init__(self, stream: TextIO, *, max_unwritten: int = MAX_UNWRITTEN) -> None:
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self.metrics = LogMetrics()
        self.tell_lost: Callable[[int], bytes] = lambda _: b""
        self._stream = stream
        self._file = _duplicate(stream)
        self._max_unwritten = max_unwritten
        # What is to be written: what the thread has taken, and then what has gathered since.
        self._taken = memoryview(b"")
        self._gathered = bytearray()
        self._unmade: deque[Callable[[], bytes]] = deque()
        self._untold = 0
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        # Tells the thread that something has gathered, and whether to write it at once.
        self._signals: SimpleQueue[bool] = SimpleQueue()
        self._closing = False
        self._ends_at = math.inf

    def write(self, line: bytes, hurry: bool = False) -> None:
        """Write a line, its end included (or several: a traceback). With `hurry` others are not gathered before."""
        if self._file is None:
            self._write_at_once(line)
            return
        with self._lock:
            self._make()
            something = self._gathered or self._untold
            hurry = self._gather(line) or (hurry and not self._untold)
        if hurry or not something or self._thread is None:
            self._wake(hurry)

    def write_later(self, make: Callable[[], bytes]) -> None:
        """Write the line that `make` returns, as `write` does; it is called soon, perhaps by another thread."""
        if self._file is None:
            self._write_at_once(make())
            return
        unmade = self._unmade
        unmade.append(make)
        if len(unmade) >= _MADE_TOGETHER or self._closing:
            with self._lock:
                self._make()
        elif len(unmade) == 1 and not self._gathered and not self._untold:
            self._wake(False)

    def close(self) -> None:
        """Write what is there; wait a second for the reader or the disk, and count what they did not take as lost."""
        if self._file is None or self._closing:
            return
        with self._lock:
            self._make()
            self._max_unwritten = 0
        self._closing, self._ends_at = True, time.monotonic() + _END_WAITS_FOR
        if self._thread is not None:
            self._signals.put(True)
            self._thread.join(_END_WAITS_FOR + _READER_WAITED_FOR)
        if self._thread is None or not self._thread.is_alive():  # else the disk still keeps it
            os.close(self._file)
        self.metrics.lost += bytes(self._taken).count(b"\n") + self._gathered.count(b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self) -> None:
        """Make the lines that are still to be made; they come before what is written next."""
        hurry = False
        while True:
            try:
                make = self._unmade.popleft()
            except IndexError:
                break
            hurry |= self._gather(make())
        if hurry:
            self._wake(hurry)

    def _gather(self, line: bytes) -> bool:
        """Have a line written, or count it as lost; return whether it made so much that there is a hurry now."""
        gathered = len(self._gathered)
        if self._untold or gathered + len(self._taken) + len(line) > self._max_unwritten:
            self._untold += line.count(b"\n")
            self.metrics.lost += line.count(b"\n")
            return False
        self._gathered += line
        return gathered <= self._max_unwritten // 2 < gathered + len(line)

    def _write_at_once(self, line: bytes) -> None:
        buffer = getattr(self._stream, "buffer", None)
        try:
            if buffer is None:
                self._stream.write(line.decode(self.encoding))
            else:
                buffer.write(line)  # past the text layer, which could refuse characters
            self._stream.flush()
        except (OSError, ValueError):  # broken; closed
            self.metrics.lost += line.count(b"\n")
        else:
            self.metrics.written += line.count(b"\n")

    def _wake(self, hurry: bool) -> None:
        """Have the thread write; start it for the first line, and in a process that was forked off."""
        if self._closing:
            return
        with self._lock:
            thread = self._thread
            # One without an identity is just being started, further up in this very thread.
            if thread is None or (thread.ident is not None and not thread.is_alive()):
                thread = self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # there are too many; the next line tries again
                    self._thread = None
                    return
        self._signals.put(hurry)

    def _run(self) -> None:
        while not self._closing or (self._gathered and not self._is_over()):
            if not (self._gathered or self._untold or self._unmade):
                self._signals.get()
            with self._lock:
                self._make()
                if self._untold:
                    count, self._untold = self._untold, 0
                    self._gathered += self.tell_lost(count)
                gathered, self._gathered = self._gathered, bytearray()
                self._taken = memoryview(gathered)
            while self._taken and not self._is_over():
                self._write_some()
            self._wait(_GATHERED_FOR)

    def _write_some(self) -> None:
        assert self._file is not None  # noqa: S101 - for the type checker
        try:
            written = _write(self._file, self._taken)
        except OSError:  # the disk is full, or nobody reads any more: that may change, but not at the end
            if self._closing:
                self._ends_at = 0.0
            self._wait(_TRIED_AGAIN_AFTER)
        else:
            self.metrics.written += bytes(self._taken[:written]).count(b"\n")
            self._taken = self._taken[written:]

    def _wait(self, seconds: float) -> None:
        """Wait for so long, or until there is a hurry or the end."""
        until = min(time.monotonic() + seconds, self._ends_at)
        with suppress(Empty):
            while not self._signals.get(timeout=max(until - time.monotonic(), 0)):
                pass

    def _is_over(self) -> bool:
        return time.monotonic() >= self._ends_at


def _duplicate(stream: TextIO) -> int | None:
    """Return a descriptor of our own for the stream's file, which outlives the stream; `None` if there is no file."""
    try:
        return os.dup(stream.fileno())
    except (OSError, ValueError):
        return None


def _write(file: int, lines: memoryview) -> int:
    """Write what `file` takes without waiting for a reader, in whole lines if possible; return how many bytes it took.

    That is 0 if there is nobody to take anything for a while. A file on a disk always takes all, or fails.
    """
    if not stat.S_ISREG(os.fstat(file).st_mode):
        poll = select.poll()
        poll.register(file, select.POLLOUT)
        if not poll.poll(_READER_WAITED_FOR * 1000):
            return 0
        if len(lines) > select.PIPE_BUF:  # what is ready takes so much at once, and in one piece
            end = bytes(lines[: select.PIPE_BUF]).rfind(b"\n") + 1
            lines = lines[: end or select.PIPE_BUF]
    return os.write(file, lines)
