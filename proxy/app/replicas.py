"""Whether this process is alone or one of several replicas, which the configuration says and may say otherwise later.

Rules: the libraries for sharing are imported when they are first needed; most proxies run alone.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from proxy.app.outside import Outside
from proxy.config import SharedConfig, TokensConfig
from proxy.forwarding.errands import Errands
from proxy.guards.pacing import Pacer
from proxy.tasks import BackgroundTasks
from proxy.telemetry.metrics import SharedMetrics
from proxy.tokens.cache import TokenCache
from proxy.tokens.leases import Alone

if TYPE_CHECKING:
    from proxy.app.sharing import Sharing


class Replicas:
    """Lets tokens, slots and batches be shared with others, or not. `settings` returns those of `[tokens]` in force."""

    def __init__(
        self,
        outside: Outside,
        tasks: BackgroundTasks,
        tokens: TokenCache,
        pacer: Pacer,
        errands: Errands,
        settings: Callable[[], TokensConfig],
    ) -> None:
        self.metrics: SharedMetrics | None = None  # while something is shared
        self._outside = outside
        self._tasks = tasks
        self._tokens = tokens
        self._pacer = pacer
        self._errands = errands
        self._settings = settings
        self._config = SharedConfig()
        self._sharing: Sharing | None = None
        self._ends: set[asyncio.Task[None]] = set()  # of what was shared before

    async def start(self, config: SharedConfig) -> None:
        """Share as `[shared]` says, and know what others know before the first request comes."""
        self.follow(config)
        if self._sharing is not None:
            await self._sharing.store.touch()

    def follow(self, config: SharedConfig) -> None:
        """Share as `[shared]` says from now on; neither waits nor fails."""
        if config == self._config:
            return
        before, same = self._sharing, self._sharing is not None and _place(config) == _place(self._config)
        self._config, self._sharing, self.metrics = config, None, None
        self._tokens.leases = Alone()
        self._pacer.share_by(None)
        self._errands.share_by(None)
        if config.url is not None:
            from proxy.app.sharing import Sharing  # noqa: PLC0415 - see above

            self.metrics = SharedMetrics()
            self._sharing = Sharing(config, self._outside, self._tasks, self.metrics, self._settings, before, same=same)
            self._tokens.leases = self._sharing.leases
            self._pacer.share_by(self._sharing.pacing)
            self._errands.share_by(self._sharing.batches)
        if before is not None:
            self._ends.add(end := self._tasks.start(before.close(for_good=not same), name="end of sharing"))
            end.add_done_callback(self._ends.discard)

    async def close(self) -> None:
        """Say that this replica is gone."""
        if self._ends:
            await asyncio.wait(self._ends)
        if self._sharing is not None:
            await self._sharing.close()


def _place(config: SharedConfig) -> tuple[str, str | None, str]:
    """Return where replicas meet: the store, whoever asks it, and what their entries are called there."""
    parts = urlsplit("" if config.url is None else config.url.reveal())
    store = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
    return store, dict(parse_qsl(parts.query)).get("db"), config.prefix
