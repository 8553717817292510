"""deploy/systemd: systemd itself checks the unit where it is there."""

import configparser
import re
from pathlib import Path

import pytest

from proxy.config import load_config
from tests.deploy.places import DEPLOY, run, seconds_to_stop, tool

UNIT = DEPLOY / "systemd" / "shop-auth-proxy.service"
PROGRAM = "/opt/shop-auth-proxy/bin/shop-auth-proxy"
MOST_EXPOSED = "1.1"  # of 10: what systemd-analyze may say at the most


def installed(tmp_path: Path, text: str) -> Path:
    """The unit beside a program that exists, since systemd looks for it."""
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(PROGRAM, "/bin/true"), encoding="utf-8")
    return unit


def complaints(unit: Path) -> str:
    """What systemd says of the unit, and not of others on this machine."""
    checked = run(tool("systemd-analyze", "systemd (Debian: the package of that name)"), "verify", "--man=no", unit)
    return "\n".join(line for line in checked.stderr.splitlines() if UNIT.name in line)


def test_systemd_takes_the_unit_without_a_complaint(tmp_path: Path) -> None:
    assert complaints(installed(tmp_path, UNIT.read_text(encoding="utf-8"))) == ""


def test_a_setting_that_systemd_does_not_know_would_be_found(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8").replace("ProtectSystem=", "ProtectSytem=")

    assert "ProtectSytem" in complaints(installed(tmp_path, text))


def test_the_service_is_hardly_exposed(tmp_path: Path) -> None:
    unit = installed(tmp_path, UNIT.read_text(encoding="utf-8"))
    analyze = tool("systemd-analyze", "systemd (Debian: the package of that name)")

    analyzed = run(
        analyze, "security", "--offline=yes", "--no-pager", f"--threshold={float(MOST_EXPOSED) * 10:.0f}", unit
    )

    assert analyzed.returncode == 0, analyzed.stdout + analyzed.stderr


def settings(text: str) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd tells cases apart
    parser.read_string(text)
    return dict(parser["Service"])


@pytest.mark.parametrize("uncommented", [False, True], ids=["as it is", "with all that it offers in comments"])
def test_the_unit_gives_the_proxy_what_it_needs(tmp_path: Path, *, uncommented: bool) -> None:
    text = UNIT.read_text(encoding="utf-8")
    if uncommented:
        lines = [line[1:] if line[:1] == "#" and line[1:2].isupper() else line for line in text.splitlines()]
        text = "\n".join(lines)
        assert complaints(installed(tmp_path, text)) == ""

    service = settings(text)

    assert service["Type"] == "notify"
    assert service["ExecStart"].split() == [PROGRAM, "serve", "--config", "/etc/shop-auth-proxy/config.toml"]
    assert float(service["TimeoutStopSec"]) > seconds_to_stop({})
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} == set(service["RestrictAddressFamilies"].split())
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"]
    assert service["CapabilityBoundingSet"] == ("CAP_NET_BIND_SERVICE" if uncommented else "")
    # In a user namespace of its own the service would not have the capability where ports are counted.
    assert service["PrivateUsers"] == ("no" if uncommented else "yes")


# Several processes


TEMPLATE = DEPLOY / "systemd" / "shop-auth-proxy@.service"
INSTANCE = "shop-auth-proxy@1.service"


def instance(tmp_path: Path) -> Path:
    unit = tmp_path / INSTANCE
    unit.write_text(TEMPLATE.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true"), encoding="utf-8")
    return unit


def test_systemd_takes_the_template_and_its_processes_are_as_hardly_exposed(tmp_path: Path) -> None:
    unit = instance(tmp_path)
    analyze = tool("systemd-analyze", "systemd (Debian: the package of that name)")
    checked = run(analyze, "verify", "--man=no", unit)
    limit = f"--threshold={float(MOST_EXPOSED) * 10:.0f}"
    analyzed = run(analyze, "security", "--offline=yes", "--no-pager", limit, unit)

    assert [line for line in checked.stderr.splitlines() if INSTANCE in line] == []
    assert analyzed.returncode == 0, analyzed.stdout + analyzed.stderr


def test_the_template_differs_from_the_unit_only_where_several_processes_do() -> None:
    one, each = (settings(path.read_text(encoding="utf-8")) for path in (UNIT, TEMPLATE))

    assert {name for name in one.keys() | each.keys() if one.get(name) != each.get(name)} == {
        "Environment",
        "LoadCredential",
        "SupplementaryGroups",
    }


def test_the_configuration_of_the_readme_gives_each_process_its_admin_port(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "README.md").read_text(encoding="utf-8")
    [block] = [each for each in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "reuse_port" in each]
    (tmp_path / "key").write_text("0f" * 32 + "\n", encoding="utf-8")
    file = tmp_path / "config.toml"
    shop = '[shops.demo]\nclient_id = "id"\nclient_secret = "s3cret"\n'
    file.write_text(re.sub(r'"/etc/[^"]*', f'"{tmp_path}/key', block) + shop, encoding="utf-8")
    ports = re.findall(r"^Environment=ADMIN_PORT=(.*)$", TEMPLATE.read_text(encoding="utf-8"), re.MULTILINE)

    configs = [load_config(file, {"ADMIN_PORT": ports[0].replace("%i", number)}) for number in ("1", "4")]

    assert [config.admin.port for config in configs] == [9091, 9094]
    assert all(config.server.reuse_port for config in configs)
    assert all(config.shared.url is not None for config in configs)
