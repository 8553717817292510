"""Where the files for deployment are, how they are read, and how the tools that check them are run."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config import ServerConfig, load_config

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# Where the containers find the secrets.
SECRETS = "/run/secrets/shop-auth-proxy/"


def documents(path: Path) -> list[dict[str, Any]]:
    """Every document of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document is not None]


def tool(name: str, origin: str) -> str:
    """Return where a program is; without it the test is skipped, and says where to get it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here; it comes with {origin}")
    return found


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


def load(path: Path, made: set[str], directory: Path) -> None:
    """Load a configuration as the proxy would in its container. Raises `ConfigError` with every problem.

    `made` names the secrets that are there; they, and no others, are made in `directory`.
    """
    secrets = directory / "secrets"
    secrets.mkdir()
    for name in made:
        (secrets / name).write_text(
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", encoding="utf-8"
        )
    file = directory / "config.toml"
    file.write_text(path.read_text(encoding="utf-8").replace(SECRETS, f"{secrets}/"), encoding="utf-8")
    load_config(file, {})


def seconds_to_stop(tables: dict[str, Any]) -> float:
    """How long the proxy takes at most to stop: `server.drain_delay` and then `server.drain_timeout`."""
    server = tables.get("server", {})
    return float(server.get("drain_delay", 0.0) + server.get("drain_timeout", ServerConfig().drain_timeout))
