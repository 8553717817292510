"""A name server that is silent about some names: the process starts, serves the others, and ends as if it were not."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
UNSHARE = ["unshare", "--map-root-user", "--mount", "--net"]


def can_unshare() -> bool:
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not can_unshare(), reason="a name server of the test's own needs namespaces: unshare -rmn")
async def test_names_without_an_answer_hold_up_neither_the_start_nor_others_nor_the_end(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *UNSHARE, sys.executable, "-m", "tests.silent_dns", str(tmp_path), cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    seen = json.loads(printed)

    assert seen["meanwhile"] == [200] * 20
    assert seen["late"] == [502] * 4
    assert seen["told"] >= 4
    assert seen["status"] == 0
