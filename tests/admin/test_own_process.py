"""What the system says of this process."""

import os
import resource
import time
from pathlib import Path

from proxy.admin.own_process import Usage, usage


def test_it_is_what_the_system_says() -> None:
    used = usage()

    assert used is not None
    assert 0 < used.processor_time <= time.process_time() + 0.1
    assert used.started_at < time.time() + 1
    assert used.open_files >= 3
    assert used.most_files == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_a_name_with_blanks_and_parentheses_and_no_limit_are_read_right(tmp_path: Path) -> None:
    (tmp_path / "self" / "fd").mkdir(parents=True)
    (tmp_path / "self" / "fd" / "0").touch()
    fields = ["S", *map(str, range(4, 53))]  # the third field and those after it, each its own number
    (tmp_path / "self" / "stat").write_text(f"7 (a) b) {' '.join(fields)}")
    (tmp_path / "self" / "limits").write_text("Limit  Soft  Hard  Units\nMax open files  unlimited  unlimited  files\n")
    (tmp_path / "stat").write_text("cpu 1 2\nbtime 1000\n")
    tick, page = 1 / os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")

    assert usage(tmp_path) == Usage(23, 24 * page, (14 + 15) * tick, 1000 + 22 * tick, 1, float("inf"))


def test_where_there_is_no_proc_nothing_is_said(tmp_path: Path) -> None:
    assert usage(tmp_path) is None
