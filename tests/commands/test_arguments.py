"""The arguments: what is understood, what the help says, and what is said of mistakes."""

import re

import pytest

from proxy.commands.arguments import commands_of, make_parser, options_of, parse
from proxy.config.environment import CONFIG, PREFIX, VARIABLES


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said of wrong usage, behind the usage line."""
    with pytest.raises(SystemExit) as caught:
        parse(make_parser(), arguments)
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert err.startswith("usage: shop-auth-proxy ")
    return err[err.index("\nshop-auth-proxy: ") + len("\nshop-auth-proxy: ") :].removesuffix("\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["serv"], "there is no command 'serv': did you mean serve?"),
        (["Serve"], "there is no command 'Serve': did you mean serve?"),
        (["chekc"], "there is no command 'chekc': did you mean check?"),
        (["new_client"], "there is no command 'new_client': did you mean new-client?"),
        (["run"], "there is no command 'run': did you mean serve?"),
        (["strat"], "there is no command 'strat': did you mean serve?"),
        (
            ["stop"],
            "there is no command 'stop': the commands are serve, init, check, token, new-client, demo, completion",
        ),
        (["check", "--shop", "x"], "check has no option '--shop': it is the setting shops.NAME of the configuration"),
        (["help", "chekc"], "there is no command 'chekc': did you mean check?"),
        (
            ["check", "--", "config.toml"],
            "check takes no argument 'config.toml' here: did you mean --config config.toml?",
        ),
        (
            ["demo", "--host", "127.0.0.1:80"],
            "argument --host: '127.0.0.1:80' is not a host: write --host 127.0.0.1 --port 80",
        ),
        (["completion", "fish"], "'fish' is not possible here: write 'bash'"),
        (["version"], "there is no command 'version': did you mean --version?"),
        (["-v"], "there is no option '-v': did you mean --version?"),
        (
            ["--config", "x"],
            "there is no option '--config': options come after the command, such as shop-auth-proxy serve --config",
        ),
        (
            ["frobnicate"],
            "there is no command 'frobnicate': the commands are serve, init, check, token, new-client, demo,"
            " completion",
        ),
        ([""], "there is no command '': the commands are serve, init, check, token, new-client, demo, completion"),
        (["serve", "--conf", "x"], "serve has no option '--conf': did you mean --config?"),
        (["serve", "--cofnig=x"], "serve has no option '--cofnig': did you mean --config?"),
        (["serve", "-config", "x"], "options of several letters begin with two hyphens: write --config"),
        (["check", "-offline"], "options of several letters begin with two hyphens: write --offline"),
        (["serve", "config.toml"], "serve takes no argument 'config.toml' here: did you mean --config config.toml?"),
        (["check", "demo"], "check takes no argument 'demo' here; shop-auth-proxy check --help says more"),
        (["serve", "--port", "80"], "serve has no option '--port': it is the setting server.port of the configuration"),
        (["serve", "--port=80"], "serve has no option '--port': it is the setting server.port of the configuration"),
        (["serve", "--xyzzy"], "serve has no option '--xyzzy': it has --config, --help, -c, -h"),
        (["check", "--config", "a", "--config", "b"], "--config is given twice: remove one of the two"),
        (["check", "-c", "a", "--config=b"], "--config is given twice: remove one of the two"),
        (["check", "--config", ""], "argument -c/--config: the name of the file is empty"),
        (["check", "--config"], "--config needs a value"),
        (["check", "--call"], "--call needs a value"),
        (["token"], "SHOP is missing: shop-auth-proxy token SHOP"),
        (["new-client"], "NAME is missing: shop-auth-proxy new-client NAME"),
        (["completion"], "bash is missing: shop-auth-proxy completion bash"),
        (["demo", "--port", "x"], "argument --port: 'x' is not a port: write a number from 0 to 65535"),
        (["demo", "--port", "70000"], "argument --port: '70000' is not a port: write a number from 0 to 65535"),
    ],
)
def test_a_mistake_is_told_with_what_was_probably_meant(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert mistake(capsys, *arguments) == told


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"], ["-h"]])
def test_without_arguments_there_is_help(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(make_parser(), arguments)

    out, err = capsys.readouterr()
    assert (caught.value.code or 0, err) == (0, "")
    assert out.startswith("usage: shop-auth-proxy ")
    assert [name for name in commands_of(make_parser()) if not re.search(rf"^    {name}\b", out, re.MULTILINE)] == []


def test_the_version_is_told_whatever_follows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(make_parser(), ["--version", "serve"])

    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("shop-auth-proxy ")


@pytest.mark.parametrize("arguments", [["help", "serve"], ["serve", "--help"]])
def test_help_of_serve_names_every_variable(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(make_parser(), arguments)

    out = capsys.readouterr().out
    names = [*VARIABLES, CONFIG]
    assert [name for name in names if not re.search(rf"\b{name}\b|…_{name.removeprefix(PREFIX)}\b", out)] == []


def test_no_line_of_any_help_is_too_wide_for_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in ([], *([name] for name in commands_of(make_parser()))):
        with pytest.raises(SystemExit):
            parse(make_parser(), [*command, "--help"])

    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("option", ["-c", "--config"])
def test_the_configuration_is_named_in_two_ways(option: str) -> None:
    for command in (["serve"], ["check"], ["token", "demo"], ["new-client", "erp"], ["init"]):
        assert str(parse(make_parser(), [*command, option, "a.toml"]).config) == "a.toml"


def test_options_are_told_by_their_names() -> None:
    assert options_of(commands_of(make_parser())["check"]) == ["--call", "--config", "--help", "--offline", "-c", "-h"]
