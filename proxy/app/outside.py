"""What the proxy has from outside, what there must not be, and how it says that it can't start."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import aiohttp
from aiohttp.abc import AbstractResolver
from structlog.typing import FilteringBoundLogger

from proxy.config import Config
from proxy.guards.aliases import hosts_of_platforms, leading_here
from proxy.systemd import Supervisor
from proxy.telemetry.metrics import LogMetrics


class StartError(Exception):
    """The proxy can't start, or not with this configuration; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Outside:
    """The log, who is told of each token (so that the log hides it), name resolution, and who wants to hear from us.

    `redact` takes what the log hides out of a text. `resolver` is `None` for the system's own. `log_metrics` is counted
    by who writes the log.
    """

    log: FilteringBoundLogger
    conceal: Callable[[str], None]
    redact: Callable[[str], str]
    resolver: AbstractResolver | None = None
    log_metrics: LogMetrics = field(default_factory=LogMetrics)
    supervisor: Supervisor = field(default_factory=Supervisor)


async def hosts_leading_here(config: Config, *, within: float, resolver: AbstractResolver | None = None) -> list[str]:
    """Return a sentence for each platform host that this machine takes for itself; give up after `within` seconds."""
    async with AsyncExitStack() as stack:
        if resolver is None:
            resolver = aiohttp.DefaultResolver()
            stack.push_async_callback(resolver.close)
        return await leading_here(
            hosts_of_platforms(config.shops),
            resolver,
            listener=(config.server.host, config.server.port),
            within=within,
        )
