"""What the system says of this process: its memory, processor time and open files, from /proc.

Where there is no /proc, nothing is said.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")


class Usage(NamedTuple):
    """What the process uses: bytes, seconds, seconds since 1970, numbers of files."""

    virtual_memory: int
    resident_memory: int
    processor_time: float
    started_at: float
    open_files: int
    most_files: float


def usage(proc: Path = _PROC) -> Usage | None:
    """Return what the process uses, if that can be found out."""
    try:
        # proc_pid_stat(5). The second field is in parentheses, and may hold blanks and parentheses itself.
        stat = (proc / "self" / "stat").read_text().rpartition(")")[2].split()
        limits, system = (proc / "self" / "limits").read_text(), (proc / "stat").read_text()
        open_files = len(os.listdir(proc / "self" / "fd"))
    except OSError:
        return None
    tick, page = 1 / os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    user_time, system_time, started_at, virtual, resident = (int(stat[field]) for field in (11, 12, 19, 20, 21))
    return Usage(
        virtual,
        resident * page,
        (user_time + system_time) * tick,
        float(_after("btime", system)) + started_at * tick,
        open_files,
        float(_after("Max open files", limits).replace("unlimited", "inf")),
    )


def _after(words: str, text: str) -> str:
    """Return the word that follows `words` at the beginning of a line."""
    line = next(line for line in text.splitlines() if line.startswith(words))
    return line.removeprefix(words).split()[0]
