"""`token SHOP`: prints an access token, for use with curl; nothing else on stdout."""

from pathlib import Path

from proxy.app import open_connections
from proxy.commands.common import complain, read_config, redactor_for
from proxy.commands.way import why_no_token
from proxy.errors import TokenError
from proxy.platforms.platform import is_shop_name
from proxy.tokens.endpoint import TokenEndpoint, token_request


async def token(name: str, config_file: Path | None) -> int:
    """Ask for a token for the shop called `name` and print it."""
    config = read_config(config_file)
    if config is None:
        return 2
    shop = config.shops.find(name) if is_shop_name(name.encode("utf-8", "replace")) else None
    if shop is None:
        known = ", ".join(sorted(config.shops.named)) or "none by name"
        complain(f"there is no shop {name!r} in the configuration (it has: {known})")
        return 2
    within = config.tokens.fetch_timeout
    redact = redactor_for(config).text
    async with open_connections(config.upstream) as connections:
        endpoint = TokenEndpoint(connections.client, fetch_timeout=within, conceal=lambda *_: None, redact=redact)
        try:
            grant = await endpoint.fetch(token_request(shop))
        except TokenError as error:
            why = await why_no_token(shop, error, connections.client, within=within)
            complain(f"{name}: {error.detail} {why}")
            return 1
    print(grant.access_token)
    return 0
