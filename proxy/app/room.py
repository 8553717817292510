"""How much memory, and room on the disk, requests may take where no setting says so: what this machine can spare.

Rules: it is looked at once, at the start, and in a thread, since a file system may hang. The memory is that of the
control group, which is what a container or a pod has, if it is bounded. A temporary directory may be in memory itself
(tmpfs); then it is part of that. What can't be found out counts as not bounded.
"""

import asyncio
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from proxy.config import Config
from proxy.guards.budgets import Budgets
from proxy.threads import in_thread
from proxy.wire.body import LEAST_MEMORY, MEMORY_LIMIT

_PART: Final = 4  # of the memory, for what requests hold there; and so much again for bodies in a temporary directory
_MOST: Final = 256 << 20  # bytes, where a whole machine is there
_UNBOUNDED: Final = 1 << 50  # bytes; version 1 has a huge number for no limit
_IN_MEMORY: Final = frozenset(("tmpfs", "ramfs"))
_PATIENCE: Final = 2.0  # seconds


class Room(NamedTuple):
    """How many bytes requests may take where no setting says so, and how many may wait for the disk in memory."""

    memory: int
    spool: int
    unwritten: int


async def find_room() -> Room:
    """Return what there is room for. A temporary directory that does not answer counts as not bounded."""
    try:
        async with asyncio.timeout(_PATIENCE):
            spool = await in_thread(spool_budget, name="room")
    except (TimeoutError, OSError):
        spool = _UNBOUNDED
    return Room(memory_budget(), spool, unwritten())


class Short(NamedTuple):
    """A budget of which one alone can't have enough: its setting, how many bytes it can have, and a sentence."""

    setting: str
    of_one: int
    reason: str


def too_little(config: Config, budgets: Budgets) -> list[Short]:
    """Return of which budgets one client can never have what a request needs that the settings let through."""
    found = []
    of_one, largest = budgets.spool.of_one, config.upstream.max_body_size
    if of_one < largest > MEMORY_LIMIT:
        found.append(
            Short(
                "server.spool_budget",
                of_one,
                f"one client can use at most {of_one} bytes of disk space (server.spool_budget, server.max_share),"
                f" so larger bodies are refused although upstream.max_body_size is {largest}: raise one of the"
                " former, or lower the latter",
            )
        )
    of_one = budgets.memory.of_one
    if of_one < LEAST_MEMORY:
        found.append(
            Short(
                "server.memory_budget",
                of_one,
                f"one client can use at most {of_one} bytes of the memory for requests (server.memory_budget,"
                f" server.max_share), but a body needs {LEAST_MEMORY}: raise one of the two",
            )
        )
    return found


def memory_budget(root: Path = Path("/")) -> int:
    """Return how many bytes of memory requests may hold; `root` is where the system shows itself."""
    bounded = memory_limit(root)
    if bounded is not None:
        return bounded // _PART
    return min(_MOST, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _PART)


def spool_budget(root: Path = Path("/"), directory: str | None = None) -> int:
    """Return how many bytes of request bodies may lie in the temporary directory: half of what is free there."""
    try:
        directory = directory or tempfile.gettempdir()
        found = os.statvfs(directory)
    except OSError:  # there is none; who wants to write there is told
        return _UNBOUNDED
    free = found.f_bavail * found.f_frsize // 2
    bounded = memory_limit(root)
    if bounded is not None and _kind(root, directory) in _IN_MEMORY:
        return min(free, bounded // _PART)
    return free


def unwritten(root: Path = Path("/")) -> int:
    """Return how many bytes of large bodies may be in memory on their way to the disk."""
    bounded = memory_limit(root)
    return _UNBOUNDED if bounded is None else bounded // _PART


def memory_limit(root: Path) -> int | None:
    """Return the smallest limit in bytes of the control groups that this process is in, `None` if there is none."""
    limits = [limit for file in _limit_files(root) if (limit := _number(file)) is not None and limit < _UNBOUNDED]
    return min(limits, default=None)


def _limit_files(root: Path) -> list[Path]:
    """Return where limits stand: of this process's group, and of those around it (cgroups(7))."""
    files = []
    with suppress(OSError, ValueError):  # not there; in another form
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            hierarchy, name = ("memory", "memory.limit_in_bytes") if controllers else ("", "memory.max")
            group = Path(path.lstrip("/"))
            files += [root / "sys/fs/cgroup" / hierarchy / each / name for each in (group, *group.parents)]
    return files


def _number(file: Path) -> int | None:
    with suppress(OSError, ValueError):  # not there; the word "max"
        return int(file.read_text())
    return None


def _kind(root: Path, directory: str) -> str:
    """Return the kind of file system that a directory is on, as far as the system says."""
    best, kind = "", ""
    with suppress(OSError):
        for line in (root / "proc/self/mounts").read_text().splitlines():
            _, where, of_kind, *_ = line.split(" ")
            inside = directory == where or directory.startswith(where.rstrip("/") + "/")
            if inside and len(where) >= len(best):
                best, kind = where, of_kind
    return kind
