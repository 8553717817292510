"""deploy/compose.yaml: the proxy is locked in, finds its files, and its configuration is taken."""

import asyncio
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from proxy import __version__
from proxy.config import load_config
from tests.deploy.places import DEPLOY, ROOT, documents, seconds_to_stop
from tests.peers import answering, response, serving

FILE = DEPLOY / "compose.yaml"
CONFIGURATION = DEPLOY / "compose" / "config.toml"


@pytest.fixture
def composed() -> dict[str, Any]:
    [document] = documents(FILE)
    return document


@pytest.fixture
def service(composed: dict[str, Any]) -> dict[str, Any]:
    assert composed["services"].keys() == {"shop-auth-proxy", "redis"}
    service = composed["services"]["shop-auth-proxy"]
    assert isinstance(service, dict)
    return service


def mounts(service: dict[str, Any]) -> list[tuple[Path, str]]:
    """What is mounted, and where; Compose takes a source as seen from its file."""
    return [((DEPLOY / volume["source"]).resolve(), volume["target"]) for volume in service["volumes"]]


def written_by_hand(pattern: str) -> str:
    """What the commands at the top of the file, which are run from the project's root, name."""
    [found] = re.findall(pattern, FILE.read_text(encoding="utf-8"))
    return str(found)


def test_folders_are_mounted_so_that_a_file_that_is_replaced_is_seen(
    composed: dict[str, Any], service: dict[str, Any]
) -> None:
    """Of a single file the container would keep the old one, as most editors write a new one in its place."""
    *_, read = re.findall(r"^WORKDIR (.+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)

    assert (CONFIGURATION.parent, read) in mounts(service)
    assert ((DEPLOY.parent / written_by_hand(r"#   mkdir (\S+),")), "/run/secrets") in mounts(service)
    assert not {"secrets", "configs"} & (service.keys() | composed.keys())  # these are mounted file by file


def test_the_container_is_locked_in(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"user", "privileged", "cap_add", "devices", "network_mode", "pid", "ipc"} & service.keys()
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]  # noqa: S108
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert all(volume["read_only"] for volume in service["volumes"])


def test_large_bodies_stay_within_the_temporary_directory_and_the_memory(service: dict[str, Any]) -> None:
    [size] = re.findall(r"size=(\d+)m", service["tmpfs"][0])
    server = tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))["server"]

    assert server["spool_budget"] < int(size) << 20
    assert (int(size) << 20) + 4 * server["memory_budget"] <= int(service["mem_limit"].removesuffix("m")) << 20


def test_the_proxy_takes_the_configuration_with_the_secret_that_the_commands_make(
    service: dict[str, Any], tmp_path: Path
) -> None:
    secret = DEPLOY.parent / written_by_hand(r"the shop's client secret into (\S+),")
    [target] = [target for source, target in mounts(service) if secret.parent == source]
    text = CONFIGURATION.read_text(encoding="utf-8")
    assert f'"{target}/{secret.name}"' in text
    (tmp_path / secret.name).write_text("s3cret\n", encoding="utf-8")
    file = tmp_path / "config.toml"
    file.write_text(text.replace(f"{target}/", f"{tmp_path}/"), encoding="utf-8")

    config = load_config(file, {})

    # Both listen on every address of the container, and both are published, on this machine alone.
    assert {config.server.host, config.admin.host} == {""}
    assert service["ports"] == [f"127.0.0.1:{port}:{port}" for port in (config.server.port, config.admin.port)]
    assert float(service["stop_grace_period"].removesuffix("s")) >= seconds_to_stop(tomllib.loads(text)) + 5


def test_the_image_is_built_from_here_and_has_this_version(service: dict[str, Any]) -> None:
    assert service["image"] == f"shop-auth-proxy:{__version__}"
    assert (DEPLOY / service["build"]["context"] / "Dockerfile").is_file()


@pytest.mark.parametrize(("status", "healthy"), [(b"200 OK", True), (b"503 Service Unavailable", False)])
async def test_the_health_check_tells_a_live_proxy_from_a_dead_one(
    service: dict[str, Any], *, status: bytes, healthy: bool
) -> None:
    kind, program, option, code = service["healthcheck"]["test"]
    assert (kind, program, option) == ("CMD", "python", "-c")
    async with serving(answering(response(status=status))) as admin:
        code, replaced = re.subn(r"127\.0\.0\.1:9090", f"127.0.0.1:{admin.port}", code)
        assert replaced == 1
        checking = await asyncio.create_subprocess_exec(sys.executable, option, code, stderr=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(30):
            exit_status = await checking.wait()

    assert (exit_status == 0) is healthy
    assert admin.received[0].request_line == b"GET /livez HTTP/1.1"


def test_the_redis_of_the_profile_is_locked_in_and_what_the_configuration_offers(
    composed: dict[str, Any], tmp_path: Path
) -> None:
    redis = composed["services"]["redis"]
    text = CONFIGURATION.read_text(encoding="utf-8")
    offered = re.sub(r"^#(?=[\[a-z])", "", text, flags=re.MULTILINE)
    for name in ("demo", "redis-password", "shared-key"):
        (tmp_path / name).write_text("0f" * 32 + "\n", encoding="utf-8")
    file = tmp_path / "config.toml"
    file.write_text(offered.replace("/run/secrets/", f"{tmp_path}/"), encoding="utf-8")

    config = load_config(file, {})

    assert config.shared.url is not None
    assert config.shared.url.reveal() == "redis://redis:6379"
    assert redis["profiles"] == ["shared"]
    assert (redis["read_only"], redis["cap_drop"]) == (True, ["ALL"])
    assert "ports" not in redis
    assert "/run/secrets/redis-password" in redis["command"][2]
    assert "noeviction" in redis["command"][2]
