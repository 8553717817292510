"""`new-client NAME`: makes a client's secret, shows it once, and prints the configuration lines with its digest.

What can be kept goes to stdout and what is seen once to stderr: `new-client erp >> config.toml` does at once what has
to be done, and leaves the secret on the screen alone. A file, a log or a pipe only gets it if that is asked for (`2>`).
"""

import sys
from collections.abc import Callable
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final

from proxy.commands.common import complain
from proxy.config.clients import NAME_RULE, is_client_name

_SIZE: Final = 32  # bytes: 256 bits


async def new_client(name: str, make_secret: Callable[[int], str] = token_urlsafe) -> int:
    """Make a secret for the client called `name`; `make_secret` makes a text from as many random bytes."""
    if not is_client_name(name):
        complain(f"{NAME_RULE}; {name!a} is none")
        return 2
    secret = make_secret(_SIZE)
    table = f'"{name}"' if set(name) & {".", "@"} else name
    print(f'\n[clients.{table}]\nsecret_sha256 = "{sha256(secret.encode()).hexdigest()}"')
    print('# shops = ["demo"]       # default: all\n# methods = ["GET"]      # default: all', flush=True)
    print(
        f"""
The lines above are for the configuration file; a proxy that runs takes them at once. The secret is shown only now:

  user      {name}
  password  {secret}

Try it; curl asks for the password:   curl -u {name} http://localhost:8080/SHOP/
As a token:                           Authorization: Bearer {secret}""",
        file=sys.stderr,
    )
    return 0
