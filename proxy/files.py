"""Reads files whose names come from a configuration, whatever stands under these names.

Rules: nothing here waits for somebody who may never come. A regular file is read; a pipe that the process was started
with (`<(command)`, which the shell passes as /dev/fd/N), for a bounded time. FIFOs, devices and sockets are refused
without opening them, since to open one may have effects, or wait for ever.
"""

import errno
import os
import stat
import time
from pathlib import Path
from select import POLLIN, poll
from typing import Final

_PIPE_WITHIN: Final = 30.0  # seconds; the command may have to ask a vault first
_OF_THE_START: Final = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")
_OTHERS: Final = (
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotAFile(OSError):
    """What stands under the name is something else; `strerror` says what: `is a device, not a file`."""


def read_bounded(path: Path, max_size: int) -> bytes:
    """Return what is in the file, but no more than `max_size` + 1 bytes. Raises `OSError`."""
    _check(path, path.stat().st_mode)
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(opened, "rb") as file:
        mode = os.fstat(opened).st_mode
        _check(path, mode)
        if stat.S_ISFIFO(mode):
            return _read_pipe(path, opened, max_size + 1, time.monotonic() + _PIPE_WITHIN)
        return file.read(max_size + 1)


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory, not a file", str(path))
    for is_one, what in _OTHERS:
        if is_one(mode) and not (stat.S_ISFIFO(mode) and str(path).startswith(_OF_THE_START)):
            raise NotAFile(errno.EINVAL, f"is {what}, not a file", str(path))


def _read_pipe(path: Path, opened: int, most: int, deadline: float) -> bytes:
    content = b""
    poller = poll()
    poller.register(opened, POLLIN)
    while len(content) < most:
        if not poller.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise TimeoutError(errno.ETIMEDOUT, "the program that writes to this pipe does not close it", str(path))
        try:
            piece = os.read(opened, most - len(content))
        except BlockingIOError:  # another reader was quicker
            continue
        if not piece:
            break
        content += piece
    return content
