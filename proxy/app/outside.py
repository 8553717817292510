"""What the proxy has from outside, what there must not be, and how it says that it can't start."""

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp.abc import AbstractResolver
from structlog.typing import FilteringBoundLogger

from proxy.config import Config
from proxy.guards.aliases import hosts_of_platforms, leading_here
from proxy.guards.names import SystemNames
from proxy.systemd import Supervisor
from proxy.telemetry.metrics import LogMetrics


class StartError(Exception):
    """The proxy can't start, or not with this configuration; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Outside:
    """The log, who is told of each token (so that the log hides it), name resolution, and who wants to hear from us.

    `redact` takes what the log hides out of a text. `log_metrics` is counted by who writes the log.
    """

    log: FilteringBoundLogger
    conceal: Callable[[str], None]
    redact: Callable[[str], str]
    resolver: AbstractResolver = field(default_factory=SystemNames)
    log_metrics: LogMetrics = field(default_factory=LogMetrics)
    supervisor: Supervisor = field(default_factory=Supervisor)


async def hosts_leading_here(config: Config, *, within: float, resolver: AbstractResolver | None = None) -> list[str]:
    """Return a sentence for each platform host that this machine takes for itself; give up after `within` seconds.

    `resolver` is the system's own if it is `None`.
    """
    return await leading_here(
        hosts_of_platforms(config.shops),
        resolver or SystemNames(),
        listener=(config.server.host, config.server.port),
        within=within,
    )
