"""What is counted, as plain numbers; whoever shows them reads them from here.

Rules: counting costs an addition and never fails; labels are bounded: a shop that only the wildcard entry serves
counts under `*`.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class TokenTimes(NamedTuple):
    """When the token in use was asked for, and when it ends; seconds on the monotonic clock."""

    requested_at: float
    expires_at: float


@dataclass(slots=True)
class TokenMetrics:
    """Token requests by shop and outcome, 401s by shop and what followed, waits, and the tokens' times by shop."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    unauthorized: Counter[tuple[str, str]] = field(default_factory=Counter)
    waits: int = 0
    waited_seconds: float = 0.0
    times: dict[str, TokenTimes] = field(default_factory=dict)

    def granted(self, shop: str, requested_at: float, expires_at: float) -> None:
        """Count a token that was granted."""
        self.requests[shop, "granted"] += 1
        self.times[shop] = TokenTimes(requested_at, expires_at)


@dataclass(slots=True)
class PacingMetrics:
    """What the platforms' rate limits cost: requests that waited, for how long, how many wait now, and 429s."""

    waits: int = 0  # that came to an end, whichever
    waited_seconds: float = 0.0
    waiting: int = 0
    paced_out: int = 0
    throttled: int = 0


@dataclass(slots=True)
class ConnectionMetrics:
    """Connections of clients: open now, refused as all places were taken, displaced to make room; TLS that failed."""

    open: int = 0
    refused: int = 0
    displaced: int = 0
    failed_handshakes: int = 0
