"""What replicas share, opened as the configuration says. Only with `[shared]` is this imported."""

import asyncio
import random
import secrets
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from proxy.app.outside import Outside
from proxy.config import SharedConfig, TokensConfig
from proxy.config.sharing import read_key
from proxy.guards.batch_leases import BatchLeases
from proxy.guards.booking import KIND, SlotBook
from proxy.guards.names import SystemNames
from proxy.guards.shared_pace import SharedPace
from proxy.platforms.addresses import is_ip_address
from proxy.shared.client import RedisClient
from proxy.shared.sealing import Plain, Sealed
from proxy.shared.store import SharedStore
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import SharedMetrics
from proxy.tokens.endpoint import TokenRequest
from proxy.tokens.shared_leases import SharedLeases
from proxy.tokens.token import AccessToken, known_token

_TOLD_EVERY: Final = 60.0  # seconds, of entries that can't be read
_FOUND_FOR: Final = 5.0  # seconds, of the addresses of the store


class Sharing:
    """What this replica has in common with others: `leases` for tokens, `pacing` for slots, `batches` one at a time.

    `settings` returns those of `[tokens]` that are in force; `before` is what this replica had in common until now, and
    `same` tells whether that was in the same place.
    """

    def __init__(
        self,
        config: SharedConfig,
        outside: Outside,
        tasks: BackgroundTasks,
        metrics: SharedMetrics,
        settings: Callable[[], TokensConfig],
        before: "Sharing | None" = None,
        *,
        same: bool = False,
    ) -> None:
        self._outside = outside
        self._settings = settings
        self._told_at = float("-inf")
        self._client = client_of(config)
        self.store = SharedStore(
            self._client,
            metrics,
            outside.log,
            tasks,
            prefix=config.prefix,
            identity=secrets.token_hex(8),
            timeout=config.command_timeout,
            clock=time.monotonic,
        )
        if before is not None:
            self.store.follow(before.store)
        keys = [read_key(key.reveal()) for key in config.encryption_key or ()]
        self.leases = SharedLeases(self.store, Sealed(keys) if keys else Plain(), self._token, self._unreadable)
        call_later = asyncio.get_running_loop().call_later
        book = SlotBook(self.store, config.fallback_share, call_later)
        self.pacing = partial(SharedPace, book, counted=same)
        self.batches = BatchLeases(self.store)
        self._kept_up = [
            tasks.start(self.store.keep_in_touch(), name="shared store"),
            tasks.start(self.store.keep_listening(KIND, book.heard), name="shared store"),
        ]

    async def close(self, *, for_good: bool = True) -> None:
        """End; say that this replica is gone, if it is so `for_good`."""
        for task in self._kept_up:
            task.cancel()
        await asyncio.wait(self._kept_up)
        await self.store.leave(for_good=for_good)
        await self._client.close()

    def _token(
        self, request: TokenRequest, authorization: bytes, generation: float, requested_at: float, expires_at: float
    ) -> AccessToken:
        """Return a token that another replica has fetched, as the settings here want it, and keep it out of the log."""
        self._outside.conceal(authorization.decode("latin-1").rpartition(" ")[2], expires_at - self.store.clock())
        settings = self._settings()
        return known_token(
            authorization,
            generation,
            requested_at,
            expires_at,
            max_age=settings.max_age,
            refresh_margin=settings.refresh_margin,
            chance=random.random(),  # noqa: S311 - spreads refreshes, no secret
            header=request.shop.platform.token_header,
        )

    def _unreadable(self, why: str) -> None:
        now = time.monotonic()
        if now - self._told_at >= _TOLD_EVERY:
            self._told_at = now
            self._outside.log.warning("shared.unreadable", why=why)


def client_of(config: SharedConfig) -> RedisClient:
    """Return a client of the store that `[shared]` names."""
    assert config.url is not None  # noqa: S101 - for the type checker
    # Names of its own: after a failure the name of the store may soon lead elsewhere.
    resolve = partial(_addresses, SystemNames(found_for=_FOUND_FOR))
    return RedisClient(config.url.reveal(), None if config.password is None else config.password.reveal(), resolve)


async def _addresses(names: SystemNames, host: str) -> list[str]:
    if is_ip_address(host):
        return [host]
    return [found["host"] for found in await names.resolve(host, family=socket.AF_UNSPEC)]
