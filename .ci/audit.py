"""Asks whether the locked versions have known vulnerabilities, where that can be asked: `python .ci/audit.py LOCK…`.

pip-audit takes the advisories from PyPI. Behind a mirror, or without a network, there are none to be had: that is said
in one line and is no failure, or nobody could work there. A vulnerability is one.
"""

import json
import subprocess
import sys
from typing import Final

_SECONDS: Final = 120  # for each lock
_OPTIONS: Final = ("--require-hashes", "--disable-pip", "--progress-spinner=off", "--timeout=10", "--format=json")


def judge(report: str) -> tuple[bool, str]:
    """Tell from pip-audit's report (JSON, or nothing if it failed) whether the lock may stay, and say why."""
    try:
        dependencies = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return True, "not asked: the advisories of PyPI can't be reached from here"
    found = [(each["name"], each["version"], vuln) for each in dependencies for vuln in each.get("vulns", ())]
    if found:
        lines = [
            f"{name} {version}: {vuln['id']}, fixed in {', '.join(vuln['fix_versions']) or 'no version yet'}"
            for name, version, vuln in found
        ]
        return False, "\n  ".join(["has known vulnerabilities:", *lines])
    asked = sum("vulns" in each for each in dependencies)
    if not asked:
        return True, "not asked: the advisories of PyPI can't be reached from here"
    return True, f"{asked} of {len(dependencies)} packages asked for, no known vulnerability"


def report_on(lock: str) -> str:
    """Return pip-audit's report, empty if there is none in time."""
    command = [sys.executable, "-m", "pip_audit", *_OPTIONS, "--requirement", lock]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False).stdout  # noqa: S603
    except subprocess.TimeoutExpired:
        return ""


def main(locks: list[str]) -> int:
    """Ask for each lock, and return the exit status."""
    verdicts = [(lock, *judge(report_on(lock))) for lock in locks]
    for lock, _, sentence in verdicts:
        print(f"  {lock}: {sentence}")
    return 0 if all(clean for _, clean, _ in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
