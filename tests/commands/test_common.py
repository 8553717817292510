"""What the commands share."""

import io
import json
from pathlib import Path

import pytest

from proxy.commands.common import concealer, read_config, redactor_for
from proxy.telemetry.logs import make_logger
from proxy.telemetry.redaction import Redactor
from proxy.telemetry.writing import LogWriter
from tests.commands.configurations import SECRET, written


def test_every_problem_is_told_in_a_line_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[server]\nprot = 1\n[shops.demo]\nclient_id = "x"\n')

    assert read_config(file) is None

    first, *problems = capsys.readouterr().err.splitlines()
    assert first == f"shop-auth-proxy: the configuration has 2 problems (file {file}):"
    assert [problem.split(":")[:2] for problem in problems] == [
        ["  line 2", " server.prot"],
        ["  line 3", " shops.demo.client_secret"],
    ]


def test_of_a_file_that_is_not_toml_the_line_is_shown_without_the_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[shops.demo]\nclient_secret = s3cret\n")

    assert read_config(file) is None

    assert capsys.readouterr().err.splitlines()[1:] == [
        '  line 2: not TOML: a string needs quotes around it: client_secret = "…"',
        "      2 | client_secret = ······",
        "        |                 ^",
    ]


def test_a_file_that_the_environment_names_is_told_with_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none.toml"
    monkeypatch.setenv("SHOP_AUTH_PROXY_CONFIG", str(file))

    assert read_config(None) is None

    assert capsys.readouterr().err.splitlines() == [
        f"shop-auth-proxy: the configuration has a problem (file {file}, named by SHOP_AUTH_PROXY_CONFIG):",
        f"  the file {file} does not exist; shop-auth-proxy init makes one",
    ]


@pytest.mark.parametrize("name", ["config.toml.txt", "Config.toml", "config.tom.toml"])
def test_a_file_that_is_nearly_called_as_the_configuration_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    assert read_config(None) is None

    assert capsys.readouterr().err.splitlines()[-1] == (
        f"  {name} is here, but only config.toml is read: rename it, or name it with --config"
    )


def test_a_file_that_is_not_read_for_the_environment_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").touch()
    for name, value in (("SHOP", "demo"), ("CLIENT_ID", "an-id"), ("CLIENT_SECRET", SECRET)):
        monkeypatch.setenv(f"SHOP_AUTH_PROXY_{name}", value)

    assert read_config(None) is not None

    assert capsys.readouterr().err == (
        "shop-auth-proxy: warning: config.toml is not read, because SHOP_AUTH_PROXY_SHOP is set; to use it, name it"
        " with --config\n"
    )


def test_the_secrets_of_all_shops_and_clients_are_kept_out_of_the_log(tmp_path: Path) -> None:
    file = written(
        tmp_path / "config.toml",
        shops='[shops."*"]\nclient_id = "app"\nclient_secret = "another-secret"\n'
        '[clients.erp]\nsecret = "secret-of-erp"\n[clients.feed]\nsecret_sha256 = "' + "0a" * 32 + '"\n',
        token_url="http://127.0.0.1:9/",
        api_url="http://127.0.0.1:9/",
    )
    config = read_config(file)
    assert config is not None

    assert redactor_for(config).redact(f"{SECRET}, another-secret, secret-of-erp") == ", ".join(["[hidden]"] * 3)


def test_a_mistyped_variable_beside_a_file_is_told_of_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHOP_AUTH_PROXY_CLEINT_SECRET", "s3cret-of-somebody")
    monkeypatch.setenv("SHOP_AUTH_PROXY_CLIENT_SECRE", SECRET)
    file = tmp_path / "config.toml"
    file.write_text('[shops.demo]\nclient_id = "id"\nclient_secret = { env = "SHOP_AUTH_PROXY_CLIENT_SECRE" }\n')

    assert read_config(file) is not None
    assert capsys.readouterr().err == (
        "shop-auth-proxy: warning: SHOP_AUTH_PROXY_CLEINT_SECRET is set, but there is no such variable: did you mean"
        " SHOP_AUTH_PROXY_CLIENT_SECRET?\n"
    )


def test_the_passwords_of_egress_proxies_are_kept_out_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pw%2Fenviron@a.internal:3128")
    file = written(
        tmp_path / "config.toml",
        shops='[upstream]\ntrust_env = true\n[platforms.shoprenter]\nproxy = "http://me:pw-own@b.internal:3128"\n',
        token_url="https://a.example/",
        api_url="https://a.example/",
    )
    config = read_config(file)
    assert config is not None

    redacted = redactor_for(config).redact("pw-own pw/environ pw%2Fenviron bWU6cHctb3du a.internal")

    assert redacted == "[hidden] [hidden] [hidden] bWU6[hidden] a.internal"


def test_tokens_are_kept_out_of_the_log_and_it_warns_once_of_those_that_are_too_short() -> None:
    stream, redactor = io.StringIO(), Redactor()
    log = make_logger(log_format="json", level="info", redactor=redactor, writer=LogWriter(stream))
    conceal = concealer(redactor, log)

    conceal("a-token-of-the-shop", 60.0)
    conceal("another-token-of-it")
    for token in ("e", "token", "test"):
        conceal(token, 60.0)
    log.info("token.fetched", path="/a-token-of-the-shop/another-token-of-it/test")

    warned, fetched = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (warned["level"], warned["event"], warned["characters"]) == ("warning", "token.not_hidden", 1)
    assert "fewer than 16 characters" in warned["why"]
    assert (fetched["event"], fetched["path"]) == ("token.fetched", "/[hidden]/[hidden]/test")


def test_files_of_others_are_not_taken_for_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").touch()
    (tmp_path / "config.toml.d").mkdir()
    monkeypatch.chdir(tmp_path)

    assert read_config(None) is None

    assert "rename it" not in capsys.readouterr().err
