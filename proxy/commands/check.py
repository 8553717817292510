"""`check`: tells whether the configuration is right, and whether each shop gets a token with it."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from proxy.app import hosts_leading_here, open_token_endpoint
from proxy.certificate import not_in_use, read, server_context
from proxy.commands.common import complain, read_config, redactor_for
from proxy.config import Config
from proxy.config.clients import LONG_ENOUGH, short_secrets
from proxy.errors import TokenError, TokenRefused
from proxy.platforms.shop import Shop
from proxy.telemetry.logs import wants_color
from proxy.tokens.endpoint import TokenEndpoint, TokenGrant, token_request

_LOOKUPS: Final = 10.0  # seconds
_AT_ONCE: Final = 8  # token requests; many shops may share one endpoint, which has its limits
_GREEN, _RED, _YELLOW, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of asking for a shop's token: a line of the table. `well` is `None` if nothing was asked."""

    shop: str
    platform: str
    well: bool | None
    outcome: str
    explanation: str


async def check(config_file: Path | None, *, offline: bool) -> int:
    """Check the configuration, and, unless `offline`, ask each shop's token endpoint; print a line per shop."""
    config = read_config(config_file)
    if config is None:
        return 2
    count = len(config.shops.named)
    print(f"The configuration is right: {count} {'shop' if count == 1 else 'shops'} by name.")
    for name in short_secrets(config.clients):
        print(f"The secret of client {name} is short: {LONG_ENOUGH} characters or more, made by chance, are better.")
    if config.server.tls is not None:
        context, certificate = server_context(config.server.tls), read(config.server.tls)[0]
        if why := not_in_use(context, certificate):
            complain(f"warning: server.tls: the certificate {why}, so that clients will refuse it")
    if offline:
        return 0
    leading_here = await hosts_leading_here(config, within=_LOOKUPS)
    for sentence in leading_here:
        complain(sentence)
    async with open_token_endpoint(config, redactor_for(config).text) as endpoint:
        findings = await _ask_all(config, endpoint, sys.stderr)
    for line in table(findings, os.environ, sys.stdout):
        print(line)
    return 1 if leading_here or any(finding.well is False for finding in findings) else 0


async def _ask_all(config: Config, endpoint: TokenEndpoint, progress: TextIO) -> list[Finding]:
    shops = list(config.shops.named.values())
    places = asyncio.Semaphore(_AT_ONCE)
    done = 0
    show = progress.isatty()

    async def ask(shop: Shop) -> Finding:
        nonlocal done
        async with places:
            finding = await _ask(shop, endpoint)
        done += 1
        if show:
            progress.write(f"\rasking for tokens: {done} of {len(shops)} ")
            progress.flush()
        return finding

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(shop)) for shop in shops]
    if show:
        progress.write("\r\x1b[K")
        progress.flush()
    findings = [task.result() for task in tasks]
    if config.shops.wildcard is not None:
        platform, _ = config.shops.wildcard
        findings.append(
            Finding("*", platform.name, None, "not asked", "no shop is named; try: shop-auth-proxy token SHOP")
        )
    return findings


async def _ask(shop: Shop, endpoint: TokenEndpoint) -> Finding:
    try:
        grant = await endpoint.fetch(token_request(shop))
    except TokenError as error:
        outcome = "refused" if isinstance(error, TokenRefused) else "unreachable"
        return Finding(shop.key, shop.platform.name, False, outcome, _explanation(shop, error))
    return Finding(shop.key, shop.platform.name, True, "granted", _describe(grant))


def _describe(grant: TokenGrant) -> str:
    lifetime = "no lifetime given" if grant.lifetime is None else f"for {grant.lifetime:.0f} s"
    return lifetime if grant.scope is None else f"{lifetime}, scopes: {grant.scope}"


def _explanation(shop: Shop, error: TokenError) -> str:
    if isinstance(error, TokenRefused):
        return f"{error.reason}; {shop.mend}"
    return f"{error.reason}; asked {shop.platform.token_url_for(shop.name)}"


def table(findings: Sequence[Finding], environ: Mapping[str, str], stream: TextIO) -> list[str]:
    """Return the lines of an aligned table."""
    rows = [(finding.shop, finding.platform, finding.outcome) for finding in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(3)] if rows else []
    color = wants_color(stream, environ)
    lines = []
    for finding, row in zip(findings, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if color:
            paint = {True: _GREEN, False: _RED, None: _YELLOW}[finding.well]
            cells[2] = f"{paint}{cells[2]}{_PLAIN}"
        lines.append("  ".join([*cells, finding.explanation]).rstrip())
    return lines
