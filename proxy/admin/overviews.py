"""All shops in the order of their trouble, as they are or were a moment ago.

Rules: worked out anew no more often than it is worth. A shop that nobody called is not looked at, and the sums of its
minutes are kept until it is called again, or a minute is over. What is kept are names and numbers alone: with tens of
thousands of anything else Python would look for garbage for a tenth of a second.
"""

import time
from collections.abc import Callable
from typing import Final

from proxy.admin.report import QUIET, WAITING, Loud, Overview, Steps, in_order, loud, trouble_of
from proxy.admin.sources import Sources, names_now
from proxy.platforms.shop import WILDCARD
from proxy.telemetry.recent import Minute
from proxy.telemetry.traffic import ShopTraffic

_WORTH: Final = 50e-6  # seconds a shop
_STEP: Final = 16  # shops
_NO_CALLS: Final = Minute(0, 0, 0)


def good_for(sources: Sources) -> float:
    """Return for how many seconds a page about all shops may be shown again: for 20,000 of them, one."""
    return len(sources.shops().named) * _WORTH


class Overviews:
    """Works out the overview. `clock` is monotonic, in seconds."""

    def __init__(self, sources: Sources, clock: Callable[[], float] = time.monotonic) -> None:
        self._sources = sources
        self._clock = clock
        self._latest = Overview([], 0, 0)
        self._good_until = float("-inf")
        self._names: tuple[object, int, list[str]] = (None, 0, [])  # sorted, and of what
        # By name: how many calls there ever were, the minute of the clock, and the sums at that time.
        self._sums: dict[str, tuple[int, int, int, int, int]] = {}

    def latest(self) -> Steps[Overview]:
        """Return the overview."""
        if self._clock() >= self._good_until:
            self._latest = yield from self._taken()
            self._good_until = self._clock() + good_for(self._sources)
        return self._latest

    def _taken(self) -> Steps[Overview]:
        sources, now = self._sources, self._sources.clock()
        traffic_of, granted = sources.traffic.shops, sources.token_metrics.requests
        not_quiet: list[Loud] = []
        quiet: list[str] = []
        numbers: dict[str, tuple[int, ...]] = {}
        calls, waiting = 0, 0
        for number, name in enumerate(self._sorted_names()):
            if not number % _STEP:
                yield ""
            traffic = traffic_of.get(name)
            if traffic is None and (name, "granted") not in granted and name not in sources.tokens.fetching:
                quiet.append(name)  # nobody called it
                continue
            request = sources.find(name)
            if request is None:
                continue  # another configuration has come
            sums, queue = self._sums_of(name, traffic, now), sources.pacer.waiting(request.application)
            told = sources.tokens.has_failed(request) or name in sources.tokens.fetching
            token = sources.tokens.status(request) if told else None
            wait = sources.pacer.expected_wait(request.application) if queue else 0.0
            trouble = trouble_of(token, sums, queue, wait)
            if trouble == QUIET:
                quiet.append(name)
            else:
                not_quiet.append(loud(name, trouble, sums, queue))
            numbers[name] = (*sums, queue)
            calls, waiting = calls + sums.calls, waiting + queue
        waiting = max(sources.pacing.waiting - waiting, 0)
        if sources.shops().wildcard is not None:
            sums = self._sums_of(WILDCARD, traffic_of.get(WILDCARD), now)
            trouble = trouble_of(None, sums, waiting)
            if trouble == QUIET:
                quiet.insert(0, WILDCARD)  # where it belongs in the order of names
            else:
                not_quiet.append(loud(WILDCARD, trouble, sums, waiting))
            numbers[WILDCARD] = (*sums, waiting)
            calls += sums.calls
        names = yield from in_order(not_quiet)
        troubled = sum(shop[0] < WAITING for shop in not_quiet)
        return Overview(names + quiet, troubled, calls, waiting, numbers)

    def _sorted_names(self) -> list[str]:
        of, others = self._sources.shops().named, sum(1 for _ in self._sources.traffic.labels)
        if self._names[0] is not of or self._names[1] != others:
            self._names = of, others, sorted(names_now(self._sources))
        return self._names[2]

    def _sums_of(self, name: str, traffic: ShopTraffic | None, now: float) -> Minute:
        if traffic is None:
            return _NO_CALLS
        calls_ever, minute = traffic.requests.total(), int(now // 60)
        known = self._sums.get(name)
        if known is None or known[0] != calls_ever or (known[1] != minute and known[2]):
            known = self._sums[name] = (calls_ever, minute, *traffic.recent.sums(now))
        return Minute(*known[2:])
