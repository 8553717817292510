"""`completion bash`: prints what makes bash complete commands, options and the names of files."""

import argparse
import sys

from proxy.commands.arguments import commands_of, make_parser, options_of

_BASH = """\
_shop_auth_proxy() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    case $before in
        -c|--config|--client-secret-file) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --platform) COMPREPLY=($(compgen -W "shoprenter toss-shopping toss-shopping-alpha" -- "$word")); return ;;
    esac
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
}}
complete -o filenames -F _shop_auth_proxy shop-auth-proxy
"""


async def completion(_shell: str) -> int:
    """Print the completion for a shell; there is bash alone, which zsh reads too after `bashcompinit`."""
    sys.stdout.write(bash(make_parser()))
    return 0


def bash(parser: argparse.ArgumentParser) -> str:
    """Return the completion for bash."""
    commands = commands_of(parser)
    words = {
        name: [*options_of(command), *(["bash"] if name == "completion" else [])] for name, command in commands.items()
    }
    cases = [
        f'        {name}) COMPREPLY=($(compgen -W "{" ".join(options)}" -- "$word")) ;;'
        for name, options in words.items()
    ]
    return _BASH.format(commands=" ".join([*commands, "--help", "--version"]), cases="\n".join(cases))
