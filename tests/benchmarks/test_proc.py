"""CPU time and memory of a process with all of its descendants, from /proc."""

import os
import sys
import time

import pytest

from benchmarks.compare.proc import Stat, cpu_seconds, family_of, memory, parse_core, parse_stat

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is Linux that has /proc")
FIELDS = "S 1 7 7 0 -1 4194560 900 0 0 0 300 20 4000 5 20 0 3 0 100 1000 200"


@pytest.mark.parametrize("name", ["nginx", "nginx: worker", "a) R 9 (b", "()", ""])
def test_a_line_is_read_whatever_the_process_is_called(name: str) -> None:
    assert parse_stat(f"7 ({name}) {FIELDS}\n") == Stat(pid=7, parent=1, ticks=300 + 20 + 4000 + 5)


def test_children_and_their_children_belong_to_a_process_and_others_do_not() -> None:
    grandchild, other, child, self, parent = Stat(9, 8, 0), Stat(4, 2, 0), Stat(8, 7, 0), Stat(7, 2, 0), Stat(2, 1, 0)

    assert family_of(7, [grandchild, other, child, self, parent]) == [self, child, grandchild]


def test_a_process_that_is_not_there_has_no_family() -> None:
    assert family_of(7, [Stat(8, 7, 0)]) == []


def test_the_work_of_a_core_is_what_programs_were_charged_and_what_others_took() -> None:
    text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu1 9 9 9 9 9 9 9 9 9 9\ncpu12 100 20 3 9999 77 5 6 4000 0 0\nintr 1\n"

    assert parse_core(text, 12) == 100 + 20 + 3 + 4000


@LINUX
def test_cpu_time_of_this_process_is_counted() -> None:
    before, began = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() - began < 0.05:
        pass

    assert cpu_seconds(os.getpid()) - before >= 0.03  # known to 10 ms, at both ends


@LINUX
def test_memory_of_this_process_is_less_than_its_peak() -> None:
    assert 0 < memory(os.getpid(), "VmRSS") <= memory(os.getpid(), "VmHWM")
