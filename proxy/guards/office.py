"""What the slots of all keys share, and what they go by: the policy, the clock, and a pace for each key."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.guards.pace import Pace
from proxy.platforms.platform import RateLimit
from proxy.telemetry.metrics import PacingMetrics


class Timer(Protocol):
    """What `call_later` returns."""

    def cancel(self) -> None: ...


class Pacing(Protocol):
    """When the next request may go: as `Pace` decides for one process, or as replicas agree (`shared_pace.py`)."""

    @property
    def limit(self) -> RateLimit: ...
    @property
    def blocked(self) -> bool: ...
    def change(self, limit: RateLimit) -> None: ...
    def due(self, now: float) -> float: ...
    def want(self, waiting: int, patience: float, now: float) -> None: ...
    def take(self, holder: object, now: float) -> None: ...
    def lapsed(self, holder: object, now: float) -> bool: ...
    def give_back(self, holder: object) -> None: ...
    def sent(self, holder: object, now: float) -> None: ...
    def heard(self, holder: object, now: float) -> None: ...
    def throttled(self, taken_at: float, now: float, retry_after: float | None, max_wait: float) -> float: ...
    def answered(self, taken_at: float) -> bool: ...
    def unanswered(self, holder: object) -> None: ...
    def earliest(self, position: int, now: float) -> float: ...
    def expected(self, position: int, now: float) -> float: ...
    def idle(self, now: float) -> bool: ...


# Makes what replicas agree on for a key, of what this one knows, and what is to be called when slots have come.
Sharing = Callable[[bytes, Pace, Callable[[], None]], Pacing]


@dataclass(frozen=True, slots=True)
class PacingPolicy:
    """The settings of `[pacing]`: seconds that a request may wait, and how many may wait for one key."""

    max_wait: float = 30.0
    max_queue: int = 1000


@dataclass(slots=True)
class Office:
    """What the slots of all keys share. `clock` is monotonic, in seconds; `call_later` takes seconds and a function.

    `sharing` is there if other replicas have the same limit to keep.
    """

    policy: PacingPolicy
    metrics: PacingMetrics
    clock: Callable[[], float]
    call_later: Callable[[float, Callable[[], None]], Timer]
    sharing: Sharing | None = None
