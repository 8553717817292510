"""What is counted, as plain numbers; whoever shows them reads them from here.

Rules: counting costs an addition and never fails; labels are bounded, see `ShopLabels`. What is counted of requests is
in `traffic.py`.
"""

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from proxy.telemetry.labels import ShopLabels
from proxy.telemetry.traffic import Histogram


@dataclass(slots=True)
class TokenMetrics:
    """Token requests by shop and outcome (granted, refused, unreachable), 401s by entry and what followed, waits."""

    labels: ShopLabels = field(default_factory=ShopLabels)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    unauthorized: Counter[tuple[str, str]] = field(default_factory=Counter)
    waits: int = 0
    waited_seconds: float = 0.0

    def granted(self, key: str, entry: str) -> None:
        """Count a token that was granted to the shop `key`, which the configuration's `entry` serves."""
        self.requests[self.labels.granted(key, entry), "granted"] += 1

    def failed(self, key: str, entry: str, *, refused: bool) -> None:
        """Count a token request that was refused, or had no usable answer."""
        self.requests[self.labels.of(key, entry), "refused" if refused else "unreachable"] += 1


@dataclass(slots=True)
class PacingMetrics:
    """What the platforms' rate limits cost: requests that waited, for how long, how many wait now, and 429s."""

    waits: int = 0  # that came to an end, whichever
    waited_seconds: float = 0.0
    waiting: int = 0
    paced_out: int = 0
    throttled: int = 0


# The upper bounds of the buckets for commands to what replicas share, in seconds.
COMMAND_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)


@dataclass(slots=True)
class SharedMetrics:
    """What replicas share, in Redis: commands by outcome (ok, timeout, error, skipped) and how long they took.

    `away` while this replica does without it, and `why`; `deaf`, and why, if it can't hear what others say; `replicas`
    as last seen. Tokens that another replica had fetched, and slots that were booked, and given back.
    """

    commands: Counter[str] = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=lambda: Histogram(COMMAND_BOUNDS))
    away: bool = False
    why: str = ""
    deaf: str = ""
    replicas: int = 0
    tokens_taken: int = 0
    slots_booked: int = 0
    slots_given_back: int = 0

    def ran(self, outcome: str, seconds: float) -> None:
        """Count a command that was sent."""
        self.commands[outcome] += 1
        self.seconds.observe(seconds)

    def copy(self) -> "SharedMetrics":
        """Return the numbers as they are now."""
        return replace(self, commands=self.commands.copy(), seconds=self.seconds.copy())


@dataclass(slots=True)
class ErrandMetrics:
    """Calls that waited in line and were answered together: with another one that asked the same, and in batches.

    `failed_batches` counts by why; their calls went on, alone or in other batches.
    """

    collapsed: int = 0
    batches: int = 0
    batched: int = 0
    failed_batches: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class ConnectionMetrics:
    """Connections of clients: open now, refused as all places were taken, displaced to make room; TLS that failed."""

    open: int = 0
    refused: int = 0
    displaced: int = 0
    failed_handshakes: int = 0


@dataclass(slots=True)
class LogMetrics:
    """Lines of the log that were written, and that were lost because nobody took them."""

    written: int = 0
    lost: int = 0


@dataclass(slots=True)
class ProcessMetrics:
    """How the process is: new requests are welcome while it is `serving`; and the reloads of its configuration."""

    phase: Literal["starting", "serving", "draining"] = "starting"
    reloads: Counter[str] = field(default_factory=Counter)  # by outcome
    problems: tuple[str, ...] = ()  # of the configuration that was read last, if it was not taken
    # Since when the configuration in use is so, and when the process began, in seconds since 1970.
    configured_at: float = field(default_factory=time.time)
    started_at: float = field(default_factory=time.time)

    def reloaded(self, problems: tuple[str, ...], now: float) -> None:
        """Take note of a configuration that was taken `now`, in seconds since 1970, or had these problems."""
        self.reloads["failed" if problems else "successful"] += 1
        self.problems = problems
        if not problems:
            self.configured_at = now

    @property
    def last_reload_successful(self) -> bool:
        """Whether the configuration in use is the one that was read last."""
        return not self.problems
