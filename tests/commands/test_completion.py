"""`completion bash`: bash itself completes with it."""

import shutil
import subprocess

import pytest

from proxy.commands.arguments import commands_of, make_parser
from proxy.commands.completion import bash
from tests.commands.processes import ran

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


def completed(*words: str) -> list[str]:
    """What bash offers for the last of these words."""
    line = " ".join(f"'{word}'" for word in ("shop-auth-proxy", *words))
    script = (
        f'{bash(make_parser())}COMP_WORDS=({line}); COMP_CWORD={len(words)}; _shop_auth_proxy; echo "${{COMPREPLY[@]}}"'
    )
    return subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["se"], ["serve"]),
        (["c"], ["check", "completion"]),
        (["--v"], ["--version"]),
        (["check", "--"], ["--call", "--config", "--help", "--offline"]),
        (["init", "--platform", "toss"], ["toss-shopping", "toss-shopping-alpha"]),
        (["completion", "b"], ["bash"]),
        (["serve", "--config", "/etc/host"], None),
        (["nonsense", "--"], []),
    ],
)
def test_bash_offers_what_may_follow(words: list[str], offered: list[str] | None) -> None:
    if offered is None:
        assert "/etc/hosts" in completed(*words)
    else:
        assert completed(*words) == offered


def test_every_command_is_offered() -> None:
    assert set(commands_of(make_parser())) <= set(completed(""))


async def test_it_is_printed_for_the_shell_to_read() -> None:
    ended = await ran("completion", "bash")

    assert (ended.status, ended.stderr, ended.stdout) == (0, "", bash(make_parser()))
