"""The arithmetic of docs/scaling.md, checked: what the platform sees of many replicas, with and without Redis.

    python -m benchmarks.replicas

A simulation in virtual time, with the proxy's own decisions (`guards/pace.py`, `fair_share`) and no sockets: the
slots that replicas book are those of book.lua, written here once more in a few lines.
"""

import argparse
import heapq
import json
import random
from collections.abc import Iterator

from proxy.guards.booking import GRACE, fair_share
from proxy.guards.pace import Pace, safety_margin
from proxy.platforms.platform import RateLimit


def most_in_a_window(times: list[float], per: float) -> int:
    """Return the most of these times, which are in order, that lie in one window."""
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= per:
            first += 1
        most = max(most, last - first + 1)
    return most


def calls(replicas: int, per_second: float, seconds: float, chance: random.Random) -> Iterator[tuple[float, int]]:
    """Yield calls in order, each with the replica that gets it: as many a second over all, at random."""
    at = 0.0
    while (at := at + chance.expovariate(per_second)) < seconds:
        yield at, chance.randrange(replicas)


def shared(limit: RateLimit, replicas: int, per_second: float, seconds: float) -> dict[str, object]:
    """Send calls at slots that all replicas book together."""
    window = limit.per + safety_margin(limit.per) + GRACE
    chance = random.Random(1)
    log: list[float] = []
    waits = []
    for at, _ in calls(replicas, per_second, seconds, chance):
        slot = at if len(log) < limit.requests else max(at, log[-limit.requests] + window)
        log.append(slot)
        waits.append(slot - at)
    # The platform sees each up to GRACE later than its slot.
    seen = sorted(slot + chance.random() * GRACE for slot in log)
    return _figures(limit, seen, waits, seconds)


def apart(limit: RateLimit, replicas: int, per_second: float, seconds: float, *, share: bool) -> dict[str, object]:
    """Send calls as each replica would alone: by its share while Redis is away, or, without sharing, by all of it."""
    paces = [Pace(fair_share(limit, replicas) if share else limit) for _ in range(replicas)]
    lines: list[list[float]] = [[] for _ in paces]
    seen, waits = [], []
    events = [(at, 0, number) for at, number in calls(replicas, per_second, seconds, random.Random(1))]
    heapq.heapify(events)
    while events:
        now, kind, number = heapq.heappop(events)
        if kind == 0:
            lines[number].append(now)
        pace, line = paces[number], lines[number]
        while line and pace.due(now) <= now:
            pace.take(number, now)
            pace.sent(number, now)
            seen.append(now)
            waits.append(now - line.pop(0))
        if line and (kind == 1 or len(line) == 1):
            heapq.heappush(events, (pace.due(now) + 1e-9, 1, number))
    return _figures(limit, sorted(seen), waits, seconds)


def _figures(limit: RateLimit, seen: list[float], waits: list[float], seconds: float) -> dict[str, object]:
    inside = [at for at in seen if at < seconds]
    return {
        "calls_a_second": round(len(inside) / seconds, 2),
        "most_in_a_window": most_in_a_window(seen, limit.per),
        "longest_wait": round(max(waits), 1),
    }


def main() -> None:
    """Print a line of JSON for each case."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    for replicas, limit, asked in (
        (3, RateLimit(3), 2.5),
        (8, RateLimit(12), 11.0),
        (12, RateLimit(12), 11.0),
        (200, RateLimit(3), 2.5),
        (200, RateLimit(3), 40.0),
        (200, RateLimit(30), 25.0),
    ):
        for how, found in (
            ("shared", shared(limit, replicas, asked, 600.0)),
            ("Redis away", apart(limit, replicas, asked, 600.0, share=True)),
            ("not shared", apart(limit, replicas, asked, 600.0, share=False)),
        ):
            case = {"replicas": replicas, "limit": limit.requests, "asked_a_second": asked, "how": how}
            print(json.dumps({**case, **found}), flush=True)


if __name__ == "__main__":
    main()
