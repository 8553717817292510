"""Shops at one moment, for what is made of them."""

from typing import Any

from proxy.admin.sources import ProcessNow, ShopNow
from proxy.telemetry.recent import MINUTES, Minute
from proxy.telemetry.traffic import Problem
from proxy.tokens.status import NOTHING_KNOWN, Condition, TokenStatus

NOW = 1000.0
PROCESS = ProcessNow("1.2.3", "serving", in_flight=2, connections=5, last_reload_successful=True)
GOOD = TokenStatus(Condition.GOOD, 600.0, 3000.0, "", "", 0.0)
REFRESHING = GOOD._replace(condition=Condition.REFRESHING, left=30.0)
REFUSED = TokenStatus(Condition.REFUSED, None, None, "The credentials are refused.", "status 401: invalid_client", 42.0)
UNREACHABLE = TokenStatus(Condition.UNREACHABLE, 3000.0, 540.0, "There was no answer.", "no route to host", 7.0)
PROBLEM = Problem("upstream_timeout", "The shop's API did not answer in time.", NOW - 75.0)


def shop(name: str = "demo", **changes: Any) -> ShopNow:
    """A shop that was not called yet, but for `changes`."""
    now = ShopNow(name, "shoprenter", NOTHING_KNOWN, f"look at {name}'s secret", 0, (), None)
    return now._replace(**changes)


def minutes(*newest: Minute | tuple[int, int, int]) -> tuple[Minute, ...]:
    """The last minutes, of which the newest are these."""
    return (*[Minute(0, 0, 0)] * (MINUTES - len(newest)), *(Minute(*each) for each in newest))
