"""A token endpoint that is asked over real sockets, as the proxy does it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.app import open_connections
from proxy.config import UpstreamConfig
from proxy.errors import TokenError
from proxy.platforms.platform import Credentials
from proxy.platforms.shop import Shop
from proxy.secret import Secret
from proxy.tokens.endpoint import TokenEndpoint, TokenRequest, token_request
from tests.peers import Script, serving, token_response
from tests.proxies import platform

TOKEN = "live-token-of-the-shop"
GRANTED = token_response(TOKEN)
NO_JSON = "the answer is not a JSON object"
INVALID_CLIENT = {
    "error": "invalid_client",
    "error_description": "Client authentication failed",
    "message": "Client authentication failed",
}


def shop(
    client_id: str = "my-id", secret: str = "my-secret", *, name: str = "demo", token_port: int = 1, **changes: Any
) -> Shop:
    return Shop(name, name, platform(token_port, 1, **changes), Credentials(client_id, Secret(secret)))


@dataclass(slots=True)
class Asking:
    """An endpoint that is asked over real sockets, as the proxy does it."""

    endpoint: TokenEndpoint
    concealed: list[tuple[str, float | None]] = field(default_factory=list)

    async def refusal(self, request: TokenRequest) -> TokenError:
        with pytest.raises(TokenError) as caught:
            await self.endpoint.fetch(request)
        return caught.value


@asynccontextmanager
async def asking(fetch_timeout: float = 20.0) -> AsyncIterator[Asking]:
    concealed: list[tuple[str, float | None]] = []
    async with open_connections(UpstreamConfig()) as connections:
        endpoint = TokenEndpoint(
            connections.client, fetch_timeout=fetch_timeout, conceal=lambda *token: concealed.append(token)
        )
        yield Asking(endpoint, concealed)


async def refused(script: Script, *, fetch_timeout: float = 20.0) -> TokenError:
    """The error that comes of an endpoint that does what `script` says."""
    async with serving(script) as peer, asking(fetch_timeout) as ask:
        error = await ask.refusal(token_request(shop(token_port=peer.port)))
    assert ask.concealed == []
    return error


def answer(**fields: object) -> bytes:
    return json.dumps({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600} | fields).encode()
