"""What Linux tells in /proc about a process and all of its descendants: CPU time and memory."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import memory_of

_TICKS = os.sysconf("SC_CLK_TCK")  # a second


class Stat(NamedTuple):
    """One process: whose child it is, and the CPU time it used, with that of the children that it has waited for."""

    pid: int
    parent: int
    ticks: int


def parse_stat(line: str) -> Stat:
    """Return what a /proc/PID/stat says (proc(5)). The name, in parentheses, may itself hold blanks and parentheses."""
    before, _, after = line.rpartition(")")
    fields = after.split()  # from the third on: state, parent, …; utime, stime, cutime and cstime are 14 to 17
    return Stat(int(before.split("(", 1)[0]), int(fields[1]), sum(map(int, fields[11:15])))


def family_of(pid: int, processes: Iterable[Stat]) -> list[Stat]:
    """Return the process and all of its descendants, of all the processes that there are."""
    known = list(processes)
    found = [stat for stat in known if stat.pid == pid]
    for ancestor in found:  # grows while it is read
        found += [stat for stat in known if stat.parent == ancestor.pid]
    return found


def _processes() -> Iterable[Stat]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield parse_stat((entry / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and all of its descendants have used so far; it is known to 10 ms."""
    return sum(stat.ticks for stat in family_of(pid, _processes())) / _TICKS


def parse_core(text: str, core: int) -> int:
    """Return the ticks that a core has spent on programs, and not had when it wanted them, from a /proc/stat (proc(5)).

    These are user, nice, system and steal; not what it does for devices and the network, which no program is charged.
    """
    fields = next(line.split() for line in text.splitlines() if line.startswith(f"cpu{core} "))
    return sum(int(fields[index]) for index in (1, 2, 3, 8))


def core_seconds(core: int) -> float:
    """Return for how long a core has worked for programs so far."""
    return parse_core(Path("/proc/stat").read_text(), core) / _TICKS


def memory(pid: int, field: str) -> float:
    """Return a field of the memory of a process and all of its descendants together, in MiB: `VmRSS` or `VmHWM`.

    Memory that they share is counted for each of them.
    """
    return sum(memory_of(stat.pid, field) for stat in family_of(pid, _processes()))
