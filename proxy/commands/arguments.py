"""The command line's arguments: what there is, what it says in its help, and what to say of mistakes.

Rules: imports little but argparse, since every start comes through here. Wrong usage ends with status 2, the usage,
and a sentence that says what was probably meant. The terminal is taken to be 80 characters wide.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from proxy import __version__

PROGRAM: Final = "shop-auth-proxy"

_DESCRIPTION = """\
Lets old integrations call shop platforms that require OAuth 2.0: a plain
request to /<shop>/… is sent on to the shop's API with an access token."""
_EPILOG = """\
first steps:
  shop-auth-proxy demo     try it, without an account
  shop-auth-proxy init     create a configuration, and see whether it works
  shop-auth-proxy serve    run it

  shop-auth-proxy COMMAND --help says more about a command."""
_WHERE = """\
The configuration is the file named by --config, or else by the environment
variable SHOP_AUTH_PROXY_CONFIG, or else config.toml in the working directory."""
_SERVE = f"""\
Runs the proxy until SIGTERM or Ctrl-C; requests in flight are finished. SIGHUP
reads the configuration again, and so does a change of one of its files. The log
is on stdout; health, metrics and the status page are on the admin port, by
default http://localhost:9090/status.

{_WHERE}"""
_SERVE_EPILOG = """\
environment variables, for one shop and no file:
  SHOP_AUTH_PROXY_SHOP                 the shop's name; with it, no file is read
                                       unless one is named
  SHOP_AUTH_PROXY_CLIENT_ID            from the platform
  SHOP_AUTH_PROXY_CLIENT_SECRET        from the platform, or the name of a file
                                       with it in …_CLIENT_SECRET_FILE
  SHOP_AUTH_PROXY_PLATFORM             shoprenter unless set
  SHOP_AUTH_PROXY_HOST, …_PORT         where to listen; an empty host is every
                                       address
  SHOP_AUTH_PROXY_ADMIN_HOST, …_ADMIN_PORT
  SHOP_AUTH_PROXY_CLIENT_NAME          who may call, with …_CLIENT_PASSWORD or
                                       …_CLIENT_PASSWORD_FILE
  SHOP_AUTH_PROXY_ALLOW_ANONYMOUS      true: anyone who can reach it may call
  SHOP_AUTH_PROXY_LOG_FORMAT           auto, json or console
  SHOP_AUTH_PROXY_LOG_LEVEL            debug, info, warning or error"""
_INIT = """\
Asks for a shop's platform, name and API client, writes config.toml and, next to
it, a file with the secret that only you can read; then checks whether it works.
Existing files are left as they are.

Without a terminal, give the answers as options, and the secret on stdin:
  shop-auth-proxy init --shop demo --client-id 4f2a… < file-with-the-secret"""
_CHECK = f"""\
Reports everything that is wrong with the configuration: where, and what to do.
Then asks each shop's token endpoint for a token, and its API for any answer.
The exit status is 0 if all is well, 1 if a shop gets no token or a call fails,
2 if the configuration is wrong.

{_WHERE}"""
_TOKEN = """\
Requests an access token and prints it, and nothing else:
  curl -H "Authorization: Bearer $(shop-auth-proxy token demo)" https://…"""
_NEW_CLIENT = """\
Makes a random secret for a new client of the proxy. The lines for the
configuration, with only its digest, go to stdout; the secret itself is
shown once, on stderr:
  shop-auth-proxy new-client erp >> config.toml"""
_DEMO = """\
Runs simulated shops with the proxy in front of them, and says what to try. In
a container, --host "" lets other machines call it."""
_COMPLETION = """\
Prints a script that lets the shell complete commands and options. In ~/.bashrc:
  source <(shop-auth-proxy completion bash)"""

# What people write who know other programs.
_OTHER_WORDS: Final = {
    "run": "serve",
    "start": "serve",
    "server": "serve",
    "proxy": "serve",
    "setup": "init",
    "configure": "init",
    "new": "init",
    "test": "check",
    "validate": "check",
    "verify": "check",
    "add-client": "new-client",
    "client": "new-client",
    "try": "demo",
    "version": "--version",
    "-v": "--version",
    "-V": "--version",
}
_SETTINGS: Final = {
    "-p": "server.port",
    "--port": "server.port",
    "--host": "server.host",
    "--log-level": "logging.level",
    "--log-format": "logging.format",
    "--shop": "shops.NAME",
}


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that says of a mistake what was probably meant."""

    def error(self, message: str) -> NoReturn:
        """End the program with the usage and a sentence."""
        if option := re.fullmatch(r"argument (.*): expected one argument", message):
            message = f"{option[1].split('/')[-1]} needs a value"
        elif missing := re.fullmatch(r"the following arguments are required: (.*)", message):
            message = f"{missing[1]} is missing: {self.prog} {missing[1]}"
        elif choice := re.fullmatch(r"argument .*: invalid choice: (.*) \(choose from (.*)\)", message):
            message = f"{choice[1]} is not possible here: write {choice[2]}"
        self.exit(2, f"{self.format_usage()}{PROGRAM}: {message}\n")


class _Once(argparse.Action):
    """Stores a value that may be given once: of two, one would be without effect."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} is given twice: remove one of the two")
        setattr(namespace, self.dest, values)


def make_parser() -> Parser:
    """Return the parser of all commands."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog=PROGRAM, description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND", parser_class=Parser)

    def command(name: str, summary: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=summary, description=description, epilog=epilog, formatter_class=raw, allow_abbrev=False
        )

    serve = command("serve", "run the proxy", _SERVE, _SERVE_EPILOG)
    init = command("init", "create a configuration for a shop, and check it", _INIT)
    check = command("check", "check the configuration, and the connection to each shop", _CHECK)
    token = command("token", "print an access token for a shop, for use with curl", _TOKEN)
    new_client = command("new-client", "make a secret for a client, and the configuration lines for it", _NEW_CLIENT)
    demo = command("demo", "try the proxy against simulated shops; needs no account", _DEMO)
    completion = command("completion", "print a script for shell completion", _COMPLETION)

    for with_file in (serve, check, token, new_client):
        _add_config(with_file, "the configuration file")
    _add_config(init, "the configuration file to write (default: config.toml)")
    init.add_argument("--platform", action=_Once, metavar="NAME", help="shoprenter (the default) or toss-shopping")
    init.add_argument("--shop", action=_Once, metavar="NAME", help="the shop's name: demo of demo.myshoprenter.hu")
    init.add_argument("--client-id", action=_Once, metavar="ID", help="the API client's id")
    init.add_argument(
        "--client-secret-file",
        type=_file,
        action=_Once,
        metavar="FILE",
        help="an existing file with the secret: the configuration will name it, and no other is written",
    )
    init.add_argument("--offline", action="store_true", help="write the files without contacting the platform")
    check.add_argument("--offline", action="store_true", help="check the configuration only")
    check.add_argument(
        "--call", action=_Once, metavar="PATH", help="also send a real GET to each shop, such as products?limit=1"
    )
    token.add_argument("shop", metavar="SHOP", help="the shop, as it is written in the path of a request")
    new_client.add_argument("name", metavar="NAME", help="the client's name; its user name in HTTP Basic")
    demo.add_argument(
        "--host", type=_host, metavar="HOST", help='where the proxy listens (default: 127.0.0.1; "": every address)'
    )
    demo.add_argument("--port", type=_port, metavar="N", help="its port (default: 8080)")
    demo.add_argument("--once", action="store_true", help="make a few calls, show them, and exit")
    completion.add_argument(
        "shell", choices=["bash"], metavar="bash", help="the shell: bash (zsh reads it too, after bashcompinit)"
    )
    return parser


def parse(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the arguments say; ends the program if that is help, or not clear."""
    if arguments and arguments[0] == "help":
        arguments = [*arguments[1:2], "--help"]
    arguments = arguments or ["--help"]
    first, known = arguments[0], commands_of(parser)
    if first not in known and first not in ("-h", "--help", "--version"):
        meant = _OTHER_WORDS.get(first) or _closest(first, [*known, "--version", "--help"])
        meant = meant or _OTHER_WORDS.get(_closest(first, [*_OTHER_WORDS], cutoff=0.75) or "")
        option = first.startswith("-")
        hint = f"did you mean {meant}?" if meant else f"the commands are {', '.join(known)}"
        if option and not meant:
            hint = f"options come after the command, such as {PROGRAM} serve {first}"
        parser.error(f"there is no {'option' if option else 'command'} {first!r}: {hint}")
    elif first in known and (short := _with_one_hyphen(arguments[1:], options_of(known[first]))):
        # argparse would read -c onfig.
        known[first].error(f"options of several letters begin with two hyphens: write -{short[0]}")
    options, extra = parser.parse_known_args(arguments)
    if extra := [each for each in extra if each != "--"] or extra:
        command = commands_of(parser)[options.command]
        command.error(_about_extra(options.command, command, extra[0]))
    return options


def _with_one_hyphen(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    return [each for each in arguments if f"-{each.partition('=')[0]}" in options]


def commands_of(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Return the commands' own parsers by their names."""
    [commands] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(commands.choices)


def options_of(command: argparse.ArgumentParser) -> list[str]:
    """Return a command's options."""
    return sorted(command._option_string_actions)


def _about_extra(name: str, command: argparse.ArgumentParser, extra: str) -> str:
    option = extra.partition("=")[0]
    if not option.startswith("-"):
        hint = f": did you mean --config {extra}?" if extra.endswith(".toml") else f"; {command.prog} --help says more"
        return f"{name} takes no argument {extra!r} here{hint}"
    if option in _SETTINGS:
        return f"{name} has no option {option!r}: it is the setting {_SETTINGS[option]} of the configuration"
    if meant := _closest(option, options_of(command)):
        return f"{name} has no option {option!r}: did you mean {meant}?"
    return f"{name} has no option {option!r}: it has {', '.join(options_of(command))}"


def _closest(name: str, known: Sequence[str], cutoff: float = 0.6) -> str | None:
    from difflib import get_close_matches  # noqa: PLC0415 - for messages alone

    return next(iter(get_close_matches(name.lower(), known, n=1, cutoff=cutoff)), None)


def _add_config(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("-c", "--config", type=_file, action=_Once, metavar="FILE", help=what)


def _file(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the name of the file is empty")
    return Path(text)


def _host(text: str) -> str:
    host, _, port = text.rpartition(":")
    if host and ":" not in host:
        raise argparse.ArgumentTypeError(f"{text!r} is not a host: write --host {host} --port {port}")
    return text


def _port(text: str) -> int:
    if text.isdecimal() and text.isascii() and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port: write a number from 0 to 65535")
