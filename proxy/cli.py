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
Lets old integrations call shop platforms that want OAuth 2.0: a plain request
to /<shop>/… goes to the shop's API with an access token."""

# What each command does, and how it is used; the terminal is taken to be 80 characters wide.
_EPILOG = """\
first steps:
  shop-auth-proxy demo                          try it, with no account
  shop-auth-proxy check --config config.toml    is the configuration right?
  shop-auth-proxy serve --config config.toml    run it"""
_SERVE = """\
Runs the proxy until SIGTERM or Ctrl-C; requests in flight are finished. SIGHUP
reads the configuration anew, and so does a change of one of its files. The log
is on stdout; health, metrics and the status page are on the admin port, by
default http://localhost:9090/status."""
_CHECK = """\
Tells all that is wrong with the configuration, with its place and what to do;
then asks each shop's token endpoint, and shows a line per shop. The exit status
is 0 if all is well, 1 if a shop gets no token, 2 if the configuration is wrong."""
_TOKEN = """\
Asks for an access token and prints it, and nothing else:
  curl -H "Authorization: Bearer $(shop-auth-proxy token demo)" https://…"""
_NEW_CLIENT = """\
Makes a random secret for somebody who may call the proxy. The lines for the
configuration, which hold only its digest, are on stdout; the secret itself is
shown once, on stderr:
  shop-auth-proxy new-client erp >> config.toml"""
_DEMO = """\
Runs simulated shops with the proxy in front of them, and tells what to try."""

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
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="shop-auth-proxy", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, title="commands", metavar="COMMAND")

    def command(name: str, summary: str, description: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=description, formatter_class=raw, allow_abbrev=False)

    serve = command("serve", "run the proxy", _SERVE)
    check = command("check", "check the configuration, and ask for a token for each shop", _CHECK)
    check.add_argument("--offline", action="store_true", help="check the configuration only")
    token = command("token", "print an access token for a shop, for use with curl", _TOKEN)
    token.add_argument("shop", metavar="SHOP", help="the shop, as it stands in the path of a request")
    new_client = command("new-client", "make a secret for a client, and the configuration lines for it", _NEW_CLIENT)
    new_client.add_argument("name", metavar="NAME", help="what the client is to be called; its user name in HTTP Basic")
    demo = command("demo", "try the proxy against simulated shops; needs no account", _DEMO)
    demo.add_argument("--port", type=_port, metavar="N", help="where the proxy listens (default: 8080)")
    demo.add_argument("--once", action="store_true", help="make a few calls, show them, and exit")
    for with_file in (serve, check, token):
        with_file.add_argument("--config", type=Path, metavar="FILE", help=_CONFIG_HELP)
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
