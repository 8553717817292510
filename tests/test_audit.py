"""The audit of the locks fails on a vulnerability, and on nothing else; that it could not ask is said."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
judge: Callable[[str], tuple[bool, str]] = runpy.run_path(str(ROOT / ".ci" / "audit.py"))["judge"]

CLEAN = {"name": "yarl", "version": "1.25.1", "vulns": []}
SKIPPED = {"name": "structlog", "skip_reason": "Dependency not found on PyPI and could not be audited"}
HIT = {"name": "aiohttp", "version": "3.9.1", "vulns": [{"id": "PYSEC-2024-24", "fix_versions": ["3.9.2"]}]}


@pytest.mark.parametrize(
    ("dependencies", "clean", "sentence"),
    [
        ([CLEAN, CLEAN], True, "2 of 2 packages asked for"),
        ([CLEAN, SKIPPED], True, "1 of 2 packages asked for"),
        ([SKIPPED, SKIPPED], True, "can't be reached"),
        ([CLEAN, SKIPPED, HIT], False, "aiohttp 3.9.1: PYSEC-2024-24, fixed in 3.9.2"),
    ],
)
def test_a_known_vulnerability_alone_is_a_failure(
    dependencies: list[dict[str, Any]], clean: bool, sentence: str
) -> None:
    told = judge(json.dumps({"dependencies": dependencies, "fixes": []}))

    assert told[0] is clean
    assert sentence in told[1]


@pytest.mark.parametrize("report", ["", "Traceback (most recent call last):", "[]", "{}"])
def test_a_report_that_did_not_come_is_said_and_is_no_failure(report: str) -> None:
    assert judge(report) == (True, "not asked: the advisories of PyPI can't be reached from here")
