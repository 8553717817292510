"""What the machine has room for, as the system tells it."""

import os
import tempfile
import threading
from pathlib import Path

import pytest

from proxy.app import room as module
from proxy.app.room import find_room, memory_budget, memory_limit, spool_budget, unwritten

MIB = 1 << 20


def system(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "268435456\n"}, 256 * MIB),
        # The process's own group has no limit, the one around it has.
        (
            {
                "proc/self/cgroup": "0::/kube/pod/container\n",
                "sys/fs/cgroup/kube/pod/container/memory.max": "max\n",
                "sys/fs/cgroup/kube/pod/memory.max": "268435456\n",
                "sys/fs/cgroup/kube/memory.max": "999999999999\n",
            },
            256 * MIB,
        ),
        (
            {
                "proc/self/cgroup": "9:cpu,cpuacct:/x\n4:memory:/docker/abc\n1:name=systemd:/\n0::/\n",
                "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "536870912\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            512 * MIB,
        ),
        # A container whose name for its group is that of the machine.
        (
            {
                "proc/self/cgroup": "4:memory:/docker/abc\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
            },
            512 * MIB,
        ),
        (
            {"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"},
            None,
        ),
        ({"proc/self/cgroup": "what is this\n"}, None),
    ],
)
def test_the_smallest_limit_of_the_control_groups_counts(
    tmp_path: Path, files: dict[str, str], limit: int | None
) -> None:
    assert memory_limit(system(tmp_path, files)) == limit


def test_requests_may_hold_a_quarter_of_what_is_bounded_and_else_what_a_machine_can_spare(tmp_path: Path) -> None:
    bounded = system(tmp_path / "a", {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": str(256 * MIB)})

    assert memory_budget(bounded) == unwritten(bounded) == 64 * MIB
    assert unwritten(tmp_path / "b") > 1 << 40
    assert 0 < memory_budget(tmp_path / "b") <= 256 * MIB
    assert memory_budget() > 0


@pytest.mark.parametrize(("kind", "in_memory"), [("tmpfs", True), ("ext4", False), ("overlay", False)])
def test_a_temporary_directory_in_memory_is_part_of_that(tmp_path: Path, kind: str, in_memory: bool) -> None:
    directory = str(tmp_path)
    parent = str(tmp_path.parent)
    root = system(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "4096\n",
            "proc/self/mounts": f"a / tmpfs rw 0 0\nb {parent} {kind} rw 0 0\nc {directory}-not tmpfs rw 0 0\n",
        },
    )
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize // 2

    if in_memory:
        assert spool_budget(root, directory) == 1024
    else:
        assert spool_budget(root, directory) == pytest.approx(free, rel=0.1)


def test_by_default_it_is_the_temporary_directory_of_this_process_that_counts() -> None:
    found = os.statvfs(tempfile.gettempdir())

    assert spool_budget() <= found.f_blocks * found.f_frsize


async def test_a_directory_that_does_not_answer_holds_up_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    found = await find_room()
    assert 0 < found.spool < 1 << 50

    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    monkeypatch.setattr(module, "spool_budget", lambda: answered.wait(20) and 0)
    assert await find_room() == (found.memory, 1 << 50, found.unwritten)
    answered.set()
