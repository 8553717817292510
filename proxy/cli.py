"""The command line: reads the arguments and hands over to one command.

Rules: wrong usage or configuration ends with status 2 and plain sentences on stderr, never with a traceback; a command
imports only what it needs, since the time to start counts in a sidecar.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from proxy import __version__

_DESCRIPTION = """\
Lets old integrations call shop platforms that want OAuth 2.0: a plain request to /<shop>/… goes to the shop's API
with an access token."""

_CONFIG_HELP = "the configuration file; without it, one shop is taken from SHOP_AUTH_PROXY_… environment variables"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 done, 1 not done, 2 wrong usage or configuration."""
    _open_standard_streams()
    options = _parser().parse_args(arguments)
    try:
        status = _run(_command(options))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells have it
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # there, whoever read our output has enough
            print(f"shop-auth-proxy: {error}", file=sys.stderr)
        # Python would complain once more at its own end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _open_standard_streams() -> None:
    """Open what the caller has closed: else the next file or socket would take its number, and get what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - open as long as the process runs
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - likewise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="shop-auth-proxy", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the proxy", allow_abbrev=False)
    check = commands.add_parser("check", help="check the configuration, and ask for a token for each shop")
    check.add_argument("--offline", action="store_true", help="check the configuration only")
    token = commands.add_parser("token", help="print an access token for a shop, for use with curl")
    token.add_argument("shop", metavar="SHOP", help="the shop, as it stands in the path of a request")
    new_client = commands.add_parser(
        "new-client", help="make a secret for a client, and the configuration lines for it"
    )
    new_client.add_argument("name", metavar="NAME", help="what the client is to be called; its user name in HTTP Basic")
    demo = commands.add_parser("demo", help="try the proxy against simulated shops; needs no account")
    demo.add_argument("--port", type=_port, metavar="N", help="where the proxy listens (default: 8080)")
    demo.add_argument("--once", action="store_true", help="make a few calls, show them, and exit")
    for command in (serve, check, token):
        command.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG_HELP)
    return parser


def _port(text: str) -> int:
    if text.isdecimal() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port: write a number from 0 to 65535")


def _command(options: argparse.Namespace) -> Coroutine[Any, Any, int]:
    match options.command:
        case "serve":
            from proxy.commands.serve import serve

            return serve(options.config)
        case "check":
            from proxy.commands.check import check

            return check(options.config, offline=options.offline)
        case "token":
            from proxy.commands.token import token

            return token(options.shop, options.config)
        case "new-client":
            from proxy.commands.new_client import new_client

            return new_client(options.name)
        case _:
            from proxy.commands.demo import demo

            return demo(options.port, once=options.once)


def _run(command: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:  # not on every platform
        loop_factory = None
    else:
        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(command)
