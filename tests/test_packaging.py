"""What is installed: the wheel, in an environment of its own, on this Python. And what it says of itself."""

import email
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody would who has never seen this project: nothing of this process's Python leads there."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE", "SHOP_"))
    }
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd, env=environ)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, *PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", directory, ROOT)
    assert built.returncode == 0, built.stderr
    [wheel] = directory.glob("*.whl")
    return wheel


def test_the_wheel_has_the_whole_program_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "proxy").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert names == tracked
    assert wheel.name.endswith("-py3-none-any.whl")


def test_it_says_where_it_runs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    classifiers = set(metadata.get_all("Classifier", []))

    assert metadata["Requires-Python"] == ">=3.11"
    assert {"Operating System :: POSIX :: Linux", "Operating System :: MacOS"} <= classifiers
    assert not any("Windows" in classifier or "OS Independent" in classifier for classifier in classifiers)
    told = {version[1] for each in classifiers if (version := re.search(r":: (3\.\d+)$", each))}
    assert told == set(re.findall(r'"(3\.\d+)"', (ROOT / ".github" / "workflows" / "ci.yml").read_text()))


def test_installed_into_a_fresh_environment_the_command_runs(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    python = environment / "bin" / "python"
    made = run(sys.executable, "-m", "venv", "--without-pip", environment)
    assert made.returncode == 0, made.stderr
    install = (sys.executable, *PIP, "--python", python, "install")
    fetched = run(*install, "--retries", "0", "--require-hashes", "-r", ROOT / "requirements.lock")
    if fetched.returncode != 0:
        pytest.skip(f"what the wheel needs can't be had here: {fetched.stderr.strip().splitlines()[-1]}")

    installed = run(*install, "--no-deps", "--no-index", wheel)
    checked = run(sys.executable, *PIP, "--python", python, "check")
    command = environment / "bin" / "shop-auth-proxy"
    version, demo = run(command, "--version", cwd=tmp_path), run(command, "demo", "--once", cwd=tmp_path)

    assert (installed.returncode, checked.returncode) == (0, 0), installed.stderr + checked.stdout
    assert version.stdout.startswith("shop-auth-proxy ")
    assert (demo.returncode, demo.stderr) == (0, "")
    assert re.findall(r"^  (\d{3}) ", demo.stdout, re.MULTILINE) == ["200", "200", "201", "401", "200", "404"]


def test_the_checks_before_a_commit_are_those_of_this_environment() -> None:
    hooks = re.findall(r"entry: (\S+)", (ROOT / ".pre-commit-config.yaml").read_text())

    assert hooks
    assert set(hooks) == {".venv/bin/python"}


def test_what_is_built_and_what_builds_it_are_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert project["build-system"]["requires"] == project["dependency-groups"]["build"]
