"""The access tokens a simulated platform has issued, and what became of them.

A token looks like the JWT the platforms send (three base64url parts, RS256), but nothing is signed: the simulator
knows its tokens by heart. Issuing a token leaves the older ones valid (whether it should is not documented).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

MAX_TOKENS = 100_000  # the oldest are forgotten beyond that


@dataclass
class Grant:
    """What one token stands for; `shop` None where the platform's tokens name no shop, `scopes` None for all."""

    client_id: str
    shop: str | None
    scopes: frozenset[str] | None
    expires_at: float
    revoked: bool = False

    def allows(self, scope: str) -> bool:
        """Whether `scope` was granted."""
        return self.scopes is None or scope in self.scopes


class TokenRefused(Exception):
    """A token that is not good for this call; the text says why."""


class TokenBook:
    """Issues, checks, revokes and expires tokens; `clock` gives seconds, `random` the tokens' bytes."""

    def __init__(self, clock: Callable[[], float], random: Random) -> None:
        self._clock = clock
        self._random = random
        self._grants: dict[str, Grant] = {}

    def issue(self, client_id: str, shop: str | None, scopes: frozenset[str] | None, lifetime: float) -> str:
        """Make a token that lives for `lifetime` seconds."""
        header = {"typ": "JWT", "alg": "RS256"}
        payload = {"aud": client_id, "jti": self._random.randbytes(20).hex(), "sub": shop or client_id}
        parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, payload)]
        # 256 bytes: the length of an RS256 signature with a 2048-bit key.
        token = ".".join(_base64url(part) for part in (*parts, self._random.randbytes(256)))
        self._grants[token] = Grant(client_id, shop, scopes, self._clock() + lifetime)
        if len(self._grants) > MAX_TOKENS:
            del self._grants[next(iter(self._grants))]
        return token

    def check(self, token: str | None, shop: str | None = None) -> Grant:
        """The grant of `token`, for a call to `shop`.

        Raises:
            TokenRefused: there is no token, or it is unknown, expired, revoked or another shop's.
        """
        if token is None:
            raise TokenRefused('Missing "Authorization" header')
        grant = self._grants.get(token)
        if grant is None:
            raise TokenRefused("The access token is unknown")
        if grant.revoked:
            raise TokenRefused("Access token has been revoked")
        if self._clock() >= grant.expires_at:
            raise TokenRefused("Access token has expired")
        if grant.shop != shop:
            raise TokenRefused("The access token was issued for another shop")
        return grant

    def revoke(self, shop: str | None = None) -> int:
        """Revoke the tokens of `shop`, or all with None; returns how many valid ones there were."""
        ended = [grant for grant in self._valid() if shop is None or grant.shop == shop]
        for grant in ended:
            grant.revoked = True
        return len(ended)

    def expire(self) -> int:
        """Make all tokens expire now, before their time; returns how many valid ones there were."""
        ended = self._valid()
        for grant in ended:
            grant.expires_at = self._clock()
        return len(ended)

    def _valid(self) -> list[Grant]:
        now = self._clock()
        return [grant for grant in self._grants.values() if not grant.revoked and now < grant.expires_at]


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
