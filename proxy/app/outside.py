"""What the proxy has from outside, what there must not be, and how it says that it can't start."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from structlog.typing import FilteringBoundLogger

from proxy.app.addresses import HERE
from proxy.config import Config
from proxy.guards.aliases import HostOfPlatform, hosts_of_platforms, leading_here
from proxy.guards.names import Resolver, SystemNames
from proxy.systemd import Supervisor
from proxy.telemetry.metrics import LogMetrics

_LOCALHOST: Final = "localhost"


class StartError(Exception):
    """The proxy can't start, or not with this configuration; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Outside:
    """The log, who is told of each token (so that the log hides it), name resolution, and who wants to hear from us.

    `conceal` gets a token and its lifetime in seconds, if that is known. `redact` takes what the log hides out of a
    text. `log_metrics` is counted by who writes the log.
    """

    log: FilteringBoundLogger
    conceal: Callable[[str, float | None], object]
    redact: Callable[[str], str]
    resolver: Resolver = field(default_factory=SystemNames)
    log_metrics: LogMetrics = field(default_factory=LogMetrics)
    supervisor: Supervisor = field(default_factory=Supervisor)


async def hosts_leading_here(config: Config, *, within: float, resolver: Resolver | None = None) -> list[str]:
    """Return a sentence for each platform host that this machine takes for itself; give up after `within` seconds.

    `localhost` always is this machine: there the platform's URL is what has to be changed, and no hosts file.
    `resolver` is the system's own if it is `None`.
    """
    listener = (config.server.host, config.server.port)
    hosts = hosts_of_platforms(config.shops)
    sentences = [_about_localhost(host, listener) for host in hosts if host.host == _LOCALHOST]
    others = [host for host in hosts if host.host != _LOCALHOST]
    found = await leading_here(others, resolver or SystemNames(), listener=listener, within=within)
    return [*dict.fromkeys(filter(None, sentences)), *found]


def _about_localhost(host: HostOfPlatform, listener: tuple[str, int]) -> str:
    """Return what is wrong with a platform on localhost; empty if nothing is."""
    if not host.allow_private:
        return (
            "a platform's URL leads to localhost, which is this machine: if the platform runs here, set"
            " allow_private = true in its [platforms.NAME]; if not, write its own host name in token_url and"
            " api_url"
        )
    if listener[0] in HERE and listener[1] == host.port:
        return (
            f"a platform's URL leads to localhost port {host.port}, which is this proxy itself (server.port): write"
            " the platform's port in the URL"
        )
    return ""
