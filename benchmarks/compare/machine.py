"""What it ran on: cores, and versions of what took part."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

_COMMANDS = {
    "nginx": ["nginx", "-v"],
    "HAProxy": ["haproxy", "-v"],
    "wrk": ["wrk", "-v"],
    "OpenSSL": ["openssl", "version"],
}


def two_cores() -> tuple[int, int]:
    """Return one core for what is measured and one for the load; the same one if there is no other."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[-1], cores[0]


def versions(envoy: Path | None) -> dict[str, str]:
    """Return the version of each program and library that is here."""
    commands = {**_COMMANDS, **({"Envoy": [str(envoy), "--version"]} if envoy else {})}
    found = {name: _version_said_by(command) for name, command in commands.items() if shutil.which(command[0])}
    libraries = {name: version(name) for name in ("aiohttp", "uvloop", "msgspec")}
    return {
        "CPU": _cpu(),
        "Linux": platform.release(),
        "Python": platform.python_version(),
        **libraries,
        **found,
    }


def _version_said_by(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    number = re.search(r"\d+\.\d+(?:\.\d+)?", done.stdout + done.stderr)
    return number[0] if number else "unknown"


def _cpu() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores"
