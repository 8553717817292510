"""Where the configuration is: what the command line says, then the environment, then the working directory."""

from pathlib import Path

import pytest

from proxy.config import ConfigError, locate

SHOP = {"SHOP_AUTH_PROXY_SHOP": "demo"}
NAMED = {"SHOP_AUTH_PROXY_CONFIG": "/etc/named.toml"}


@pytest.mark.parametrize(
    ("named", "environ", "there", "expected"),
    [
        (Path("a.toml"), NAMED | SHOP, True, Path("a.toml")),
        (Path("a.toml"), {"SHOP_AUTH_PROXY_CONFIG": ""}, False, Path("a.toml")),
        (None, NAMED | SHOP, True, Path("/etc/named.toml")),
        (None, SHOP, True, None),
        (None, {}, True, Path("config.toml")),
        (None, {"SHOP_AUTH_PROXY_PORT": "1"}, True, Path("config.toml")),
        (None, {}, False, None),
    ],
)
def test_the_first_that_says_where_it_is_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: Path | None,
    environ: dict[str, str],
    there: bool,
    expected: Path | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    if there:
        Path("config.toml").touch()

    assert locate(named, environ) == expected


def test_a_folder_that_may_not_be_looked_into_is_no_folder_without_a_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied", "config.toml")

    monkeypatch.setattr(Path, "lstat", refuse)

    assert locate(None, {}) == Path("config.toml")


def test_a_link_that_leads_nowhere_is_told_of_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").symlink_to("gone.toml")

    assert locate(None, {}) == Path("config.toml")


def test_an_empty_variable_is_a_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        locate(None, {"SHOP_AUTH_PROXY_CONFIG": ""})

    assert caught.value.problems == (
        "SHOP_AUTH_PROXY_CONFIG: is empty: set it to the name of the configuration file, or remove it",
    )
