"""`new-client NAME`: makes a client's secret, shows it once, and prints the configuration lines with its digest.

What can be kept goes to stdout and what is seen once to stderr: `new-client erp >> config.toml` does at once what has
to be done, and leaves the secret on the screen alone. A file, a log or a pipe only gets it if that is asked for (`2>`).
"""

import os
import sys
import tomllib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from typing import Final

from proxy.commands.common import complain
from proxy.config import ConfigError, locate
from proxy.config.clients import NAME_RULE, is_client_name
from proxy.config.files import MAX_FILE, Unusable, read_text, shown
from proxy.config.lines import line_of, lines_of
from proxy.config.syntax import explain

_SIZE: Final = 32  # bytes: 256 bits


async def new_client(
    name: str, config_file: Path | None = None, make_secret: Callable[[int], str] = token_urlsafe
) -> int:
    """Make a secret for the client called `name`; `make_secret` makes a text from as many random bytes.

    The configuration is looked into first, if there is one: a second table of that name would make it unreadable.
    """
    if not is_client_name(name):
        complain(f"{name!a} can't be the name of a client: {NAME_RULE}")
        return 2
    try:
        if known := _where_known(name, config_file):
            complain(f"{known}: choose another name, or remove that table first")
            return 2
    except (Unusable, ConfigError, ValueError) as error:
        complain(f"can't tell whether the configuration already has a client {name}: {error}")
        return 2
    secret = make_secret(_SIZE)
    table = f'"{name}"' if set(name) & {".", "@"} else name
    print(f'\n[clients.{table}]\nsecret_sha256 = "{sha256(secret.encode()).hexdigest()}"')
    print('# shops = ["demo"]       # default: all\n# methods = ["GET"]      # default: all', flush=True)
    print(
        f"""
Put the lines above in the configuration file; a running proxy uses them at once. The secret is shown only this once:

  user      {name}
  password  {secret}

Try it; curl asks for the password:   curl -u {name} http://localhost:8080/SHOP/
As a token:                           Authorization: Bearer {secret}""",
        file=sys.stderr,
    )
    return 0


def _where_known(name: str, config_file: Path | None) -> str:
    """Return where the configuration has a client of that name; empty if it has none, or there is no file."""
    path = locate(config_file, os.environ)
    if path is None:
        return ""
    text = read_text(path, MAX_FILE).removeprefix("\ufeff")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = explain(text, error)
        raise Unusable(f"{shown(path)}, line {found.line}: not TOML: {found.sentence}") from None
    if name not in document.get("clients", {}):
        return ""
    return f"{shown(path)}, line {line_of(('clients', name), lines_of(text))}, already has a client {name}"
