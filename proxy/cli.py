"""The command line: reads the arguments and hands over to one command.

Rules: wrong usage or configuration ends with status 2 and plain sentences on stderr, never with a traceback; a command
imports only what it needs, since the time to start counts in a sidecar.
"""

import asyncio
import gc
import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from proxy.commands.arguments import PROGRAM, make_parser, parse

# Of the standard library, but not on every system.
_NEEDED: Final = ("fcntl", "resource", "termios")
_CAN_NOT_RUN: Final = (
    f"{PROGRAM} runs on Linux and macOS (this Python has no {{}}). On Windows, run it in WSL 2 (wsl --install, then"
    " install it there as on Linux) or with Docker; README.md has the commands."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 done, 1 not done, 2 wrong usage or configuration."""
    _open_standard_streams()
    options = parse(make_parser(), sys.argv[1:] if arguments is None else arguments)
    if missing := _missing():
        print(_CAN_NOT_RUN.format(missing), file=sys.stderr)
        return 2
    try:
        gc.disable()  # what is imported stays: to look through it for garbage takes a twentieth of the start
        command = _command(options)
        gc.freeze()
        gc.enable()
        status = _run(command)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells have it
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # there, whoever read our output has enough
            where = f"{error.filename}: " if error.filename else ""
            print(f"{PROGRAM}: {where}{error.strerror or error}", file=sys.stderr)
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
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - open as long as the process runs
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - likewise
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - likewise


def _missing() -> str | None:
    """Return a module that the proxy can't run without and that this Python has not."""
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            return name
    return None


def _command(options: Namespace) -> Coroutine[Any, Any, int]:
    match options.command:
        case "serve":
            from proxy.commands.serve import serve

            return serve(options.config)
        case "init":
            from proxy.commands.init import Answers, init

            answers = Answers(options.platform, options.shop, options.client_id, options.client_secret_file)
            return init(answers, options.config, offline=options.offline)
        case "check":
            from proxy.commands.check import check

            return check(options.config, offline=options.offline, call=options.call)
        case "token":
            from proxy.commands.token import token

            return token(options.shop, options.config)
        case "new-client":
            from proxy.commands.new_client import new_client

            return new_client(options.name, options.config)
        case "completion":
            from proxy.commands.completion import completion

            return completion(options.shell)
        case _:
            from proxy.commands.demo import demo

            return demo(options.host, options.port, once=options.once)


def _run(command: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:  # not on every platform
        loop_factory = None
    else:
        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(command)
