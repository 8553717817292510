"""deploy/systemd: systemd itself checks the unit where it is there."""

import configparser
from pathlib import Path

import pytest

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
