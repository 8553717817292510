"""Programs that a benchmark starts are ended with all that they have started."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.processes import program

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is Linux that has /proc")


def is_running(pid: int) -> bool:
    """Whether a process is there, and not just waiting for somebody to ask how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_program_and_its_children_are_ended(interrupted: bool) -> None:
    script = ["sh", "-c", "sleep 100 & echo $!; wait"]
    with suppress(KeyboardInterrupt), program(script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with process.stdout:
            child = int(process.stdout.readline())
        assert is_running(child)
        if interrupted:
            raise KeyboardInterrupt

    assert process.returncode is not None
    for _ in range(500):  # a signal takes its time
        if not is_running(child):
            break
        time.sleep(0.01)
    assert not is_running(child)
