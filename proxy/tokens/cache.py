"""The access tokens of this process: one cache for all shops, keyed by everything that makes up the token request.

Rules:
- One token request at a time for one set of credentials; whoever needs a token meanwhile waits for that one.
- A request that goes away while it waits does not disturb the others: the fetch belongs to the cache, not to a waiter.
- A token that was answered 401 is suspect, not gone: it stays in use until a new one has come, and is replaced only if
  it still is the cached one. So a late 401 for an old token never costs the shop its new one, and a call that is
  forbidden never costs it the good one.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from proxy.errors import ProxyError, TokenError, TokenUnavailable
from proxy.tasks import BackgroundTasks
from proxy.tokens.endpoint import TokenEndpoint, TokenRequest
from proxy.tokens.token import AccessToken, access_token


@dataclass(slots=True)
class _Entry:
    """What is known for one token request: the token in use, and the fetch under way."""

    token: AccessToken | None = None
    fetch: asyncio.Task[AccessToken | ProxyError] | None = None


class TokenCache:
    """Hands out tokens, and fetches them when there is none. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        endpoint: TokenEndpoint,
        tasks: BackgroundTasks,
        log: FilteringBoundLogger,
        *,
        clock: Callable[[], float],
        refresh_margin: float,
        max_age: float,
    ) -> None:
        self._endpoint = endpoint
        self._tasks = tasks
        self._log = log
        self._clock = clock
        self._refresh_margin = refresh_margin
        self._max_age = max_age
        self._entries: dict[bytes, _Entry] = {}

    async def get(self, request: TokenRequest) -> AccessToken:
        """Return a token for `request`. Raises `TokenError`."""
        entry = self._entries.get(request.key)
        if entry is not None and entry.token is not None and entry.token.is_fresh(self._clock()):
            return entry.token
        return await self._fetched(request)

    async def replace(self, request: TokenRequest, suspect: AccessToken) -> AccessToken:
        """Return another token than `suspect`, which was answered 401. Raises `TokenError`; `suspect` then stays."""
        entry = self._entries.get(request.key)
        if entry is not None and entry.token is not None and entry.token is not suspect:
            return await self.get(request)
        return await self._fetched(request)

    async def _fetched(self, request: TokenRequest) -> AccessToken:
        """Wait for the fetch that is under way, or start one."""
        entry = self._entries.setdefault(request.key, _Entry())
        if entry.fetch is None:
            entry.fetch = self._tasks.start(self._fetch(request, entry), name="token fetch")
        outcome = await asyncio.shield(entry.fetch)
        if isinstance(outcome, ProxyError):
            raise outcome.with_traceback(None)  # one outcome may be raised by many waiters
        return outcome

    async def _fetch(self, request: TokenRequest, entry: _Entry) -> AccessToken | ProxyError:
        log = self._log.bind(shop=request.shop)
        requested_at = self._clock()
        try:
            grant = await self._endpoint.fetch(request)
        except TokenError as error:
            log.warning(f"token.{error.code.removeprefix('token_')}", detail=error.detail, reason=error.reason)
            return error
        except Exception as mistake:
            log.exception("token.fetch_failed")
            return TokenUnavailable("The proxy failed to fetch an access token.", reason=repr(mistake))
        finally:
            entry.fetch = None
        entry.token = access_token(
            grant.access_token,
            requested_at=requested_at,
            lifetime=grant.lifetime,
            max_age=self._max_age,
            refresh_margin=self._refresh_margin,
        )
        log.info("token.fetched", lifetime=grant.lifetime, scope=grant.scope)
        return entry.token
