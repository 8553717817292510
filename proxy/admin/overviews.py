"""All shops in the order of their trouble, as they are or were a moment ago.

Rules: worked out anew no more often than it is worth. A shop that nobody called is not looked at, and of one that was,
only the sums of its minutes, unless some token can't be had or some call waits. What is kept are names and numbers
alone: with tens of thousands of anything else Python would look for garbage for a tenth of a second.
"""

import time
from collections.abc import Callable, Container
from typing import Final

from proxy.admin.report import QUIET, WAITING, Loud, Overview, Steps, in_order, loud, trouble_of
from proxy.admin.sources import Sources, names_now
from proxy.platforms.shop import WILDCARD
from proxy.tokens.status import TokenStatus

_WORTH: Final = 50e-6  # seconds a shop
_STEP: Final = 16  # shops
_NO_CALLS: Final = (0, 0, 0)


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

    def latest(self) -> Steps[Overview]:
        """Return the overview."""
        if self._clock() >= self._good_until:
            self._latest = yield from self._taken()
            self._good_until = self._clock() + good_for(self._sources)
        return self._latest

    def _taken(self) -> Steps[Overview]:
        sources, now = self._sources, self._sources.clock()
        traffic_of, granted, fetching = sources.traffic.shops, sources.token_metrics.requests, sources.tokens.fetching
        failing, some_wait = sources.tokens.failing(), sources.pacing.waiting > 0
        not_quiet: dict[str, Loud] = {}
        quiet: list[str] = []
        numbers: dict[str, tuple[int, ...]] = {}
        all_calls, waiting = 0, 0
        for number, name in enumerate((yield from self._sorted_names())):
            if not number % _STEP:
                yield ""
            traffic = traffic_of.get(name)
            if traffic is None and name not in fetching and (name, "granted") not in granted:
                quiet.append(name)  # nobody called it
                continue
            calls, errors, unauthorized = _NO_CALLS if traffic is None else traffic.recent.sums(now)
            token, queue, wait = None, 0, 0.0
            if failing or some_wait or name in fetching:
                token, queue, wait = self._line_of(name, failing)
            trouble = trouble_of(token, errors, unauthorized, queue, wait)
            if trouble == QUIET:
                quiet.append(name)
            else:
                not_quiet[name] = loud(trouble, errors, unauthorized, queue)
            numbers[name] = calls, errors, unauthorized, queue
            all_calls += calls
            waiting += queue
        waiting = max(sources.pacing.waiting - waiting, 0)
        if sources.shops().wildcard is not None:
            rest = traffic_of.get(WILDCARD)
            numbers[WILDCARD] = calls, errors, unauthorized, _ = (
                *(rest.recent.sums(now) if rest else _NO_CALLS),
                waiting,
            )
            trouble = trouble_of(None, errors, unauthorized, waiting)
            if trouble == QUIET:
                quiet.insert(0, WILDCARD)  # where it belongs in the order of names
            else:
                not_quiet = {WILDCARD: loud(trouble, errors, unauthorized, waiting), **not_quiet}
            all_calls += calls
        names = yield from in_order(list(not_quiet), not_quiet.__getitem__)
        troubled = sum(shop[0] < WAITING for shop in not_quiet.values())
        return Overview(names + quiet, troubled, all_calls, waiting, numbers)

    def _line_of(self, name: str, failing: Container[bytes]) -> tuple[TokenStatus | None, int, float]:
        """Return the token of a shop if it may be the trouble, how many calls wait, and for how many seconds."""
        tokens, pacer, request = self._sources.tokens, self._sources.pacer, self._sources.find(name)
        if request is None:
            return None, 0, 0.0  # another configuration has come
        token = tokens.status(request) if request.key in failing or name in tokens.fetching else None
        queue = pacer.waiting(request.application)
        return token, queue, pacer.expected_wait(request.application) if queue else 0.0

    def _sorted_names(self) -> Steps[list[str]]:
        of, others = self._sources.shops().named, sum(1 for _ in self._sources.traffic.labels)
        if self._names[0] is not of or self._names[1] != others:
            self._names = of, others, (yield from in_order(names_now(self._sources)))
        return self._names[2]
