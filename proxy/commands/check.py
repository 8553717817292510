"""`check`: tells whether the configuration is valid, and tries the way of a request as far as it can.

For each shop: does its token endpoint grant a token, does its API answer, and, with `--call`, what does it answer to a
real request? Each is told as soon as it is known. An API that can't be reached is a warning, since a firewall may be
opened later; a shop without a token is none.
"""

import os
import re
import sys
from pathlib import Path
from typing import Final

from proxy.app import hosts_leading_here, open_connections
from proxy.app.addresses import for_applications
from proxy.app.room import find_room
from proxy.app.site import keep_budgets
from proxy.certificate import not_in_use, read, server_context
from proxy.commands.common import complain, read_config, redactor_for
from proxy.commands.findings import Lines
from proxy.commands.way import Way
from proxy.config import Config, SharedConfig
from proxy.config.clients import LONG_ENOUGH, short_secrets
from proxy.config.doubts import doubts
from proxy.config.proxies import is_left_unused
from proxy.guards.budgets import Budgets
from proxy.platforms.shop import Shops

_LOOKUPS: Final = 10.0  # seconds


async def check(config_file: Path | None, *, offline: bool = False, call: str | None = None) -> int:
    """Check the configuration, and, unless `offline`, the way to each shop, with a GET for the path `call` if given."""
    config = read_config(config_file)
    if config is None:
        return 2
    count = len(config.shops.named)
    others = "" if config.shops.wildcard is None else ', and [shops."*"] for all others'
    print(f"The configuration is valid: {count} {'shop' if count == 1 else 'shops'}{others}.", flush=True)
    await _warn(config)
    if offline:
        return 0
    calls = _calls(call, config.shops)
    if calls is None:
        return 2
    shares = config.shared.url is None or await _try_shared(config.shared)
    leading_here = await hosts_leading_here(config, within=_LOOKUPS)
    for sentence in leading_here:
        complain(sentence)
    lines = Lines(list(config.shops.named.values()), sys.stdout)
    async with open_connections(config.upstream) as connections:
        way = Way(config, connections.client, redactor_for(config), calls, lines.show)
        well = await way.try_all()
    if not way.open and is_left_unused(config.upstream, os.environ):
        complain("HTTPS_PROXY is set, but it only counts with upstream.trust_env = true: set that if it is the way out")
    well = well and shares and not leading_here
    if well:
        _tell_what_to_give(config, list(config.shops.named))
    return 0 if well else 1


async def _warn(config: Config) -> None:
    for name in short_secrets(config.clients):
        print(f"The secret of client {name} is short: {LONG_ENOUGH} characters or more, made at random, are better.")
    for sentence in doubts(config.shops):
        complain(f"warning: {sentence}")
    if config.server.tls is not None:
        context, certificate = server_context(config.server.tls), read(config.server.tls)[0]
        if why := not_in_use(context, certificate):
            complain(f"warning: server.tls: the certificate {why}, so clients will refuse it")
    for short in keep_budgets(Budgets(), config, await find_room(), connections=config.server.max_connections):
        complain(f"warning: {short.reason}")


async def _try_shared(shared: SharedConfig) -> bool:
    """Try what replicas share, and say what is to be said of it; tell whether it can be used."""
    from proxy.app.sharing import client_of  # noqa: PLC0415 - most do without Redis, and its libraries are large
    from proxy.shared.trial import try_store  # noqa: PLC0415 - as above

    client = client_of(shared)
    try:
        outcome = await try_store(client, prefix=shared.prefix, deadline=shared.command_timeout)
    finally:
        await client.close()
    for sentence in outcome.sentences:
        if outcome.well and not sentence.startswith("warning"):
            print(f"shared: {sentence}.", flush=True)
        else:
            complain(f"shared: {sentence}")
    return outcome.well


def _tell_what_to_give(config: Config, shops: list[str]) -> None:
    first, *more = for_applications(config, shops)
    print(f"\nGive your application: {first}")
    for line in more:
        print(f"                       {line}")


def _calls(path: str | None, shops: Shops) -> dict[str, str] | None:
    """Return for each shop the path to be called there, without the shop; complain and return `None` if it is none."""
    if path is None:
        return {}
    path = path.partition("://")[2].partition("/")[2] if "://" in path else path.removeprefix("/")
    if re.fullmatch(r"[!-~]*", path) is None or "#" in path or ".." in path.partition("?")[0].split("/"):
        complain("--call needs a path such as products?limit=1, without .. and with %20 for a space")
        return None
    first, _, rest = path.partition("/")
    return {first: rest} if first in shops.named else dict.fromkeys(shops.named, path)
