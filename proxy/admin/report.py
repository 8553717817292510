"""What the status page says of the shops, for people and as JSON: trouble first. Pure.

Rules: there may be tens of thousands of shops, so that what looks at all of them does it in steps, see `making.py`.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, TypeVar

from proxy.admin.sources import ClientNow, ProcessNow, ShopNow
from proxy.telemetry.metrics import SharedMetrics
from proxy.telemetry.problems import Problem
from proxy.telemetry.recent import MINUTES, Minute
from proxy.tokens.status import Condition, TokenStatus

PAGE_SIZE: Final = 100  # shops
_NO_TOKEN: Final = frozenset((Condition.REFUSED, Condition.UNREACHABLE))
_SORTED_AT_ONCE: Final = 512  # shops
_STEP: Final = 32  # shops
RECENT: Final = MINUTES * 60  # seconds

_T = TypeVar("_T")
# What is worked out in steps: yields between them, and returns it.
Steps = Generator[str, None, _T]


class Row(NamedTuple):
    """A shop and the sums of its minutes. `trouble` is 0 if calls fail for want of a token, up to `QUIET`."""

    shop: ShopNow
    trouble: int
    calls: int
    errors: int
    unauthorized: int


WITHOUT_TOKEN, OLD_TOKEN, ERRORS, SLOW, UNAUTHORIZED, WAITING, QUIET = range(7)
SLOW_AFTER: Final = 5.0  # seconds that a call waits for its turn or its token


class Overview(NamedTuple):
    """The names of all shops in the order of their trouble, of which so many are in trouble; and the calls of all.

    `others_waiting` is how many requests wait for shops that only the wildcard entry stands for. `numbers` are those of
    the shops that were called: calls, errors, 401s, and who waits.
    """

    names: list[str]
    troubled: int
    calls: int
    others_waiting: int = 0
    numbers: Mapping[str, tuple[int, ...]] = {}


# What shops may be sorted by instead of their trouble; all but the name are the numbers of `Overview.numbers`.
NAME: Final = "name"
SORTS: Final = ("calls", "errors", "401s", "waiting")


class Wanted(NamedTuple):
    """Which shops somebody wants to see: those whose name or platform holds `query`, in trouble; which page of them.

    `sort` is one of `SORTS` or `NAME`; empty: by trouble.
    """

    query: str = ""
    troubled: bool = False
    page: int = 1
    sort: str = ""


class Report(NamedTuple):
    """The shops to show, of all those that match; and sums over all there are. `wanted.page` is within bounds.

    `astray` are calls that were refused before a shop was found, the latest first.
    """

    process: ProcessNow
    wanted: Wanted
    rows: list[Row]
    pages: int
    matching: int
    shops: int
    troubled: int
    calls: int
    clients: Sequence[ClientNow]
    astray: tuple[Problem, ...]


def trouble_of(token: TokenStatus | None, errors: int, unauthorized: int, queue: int, wait: float = 0.0) -> int:
    """Return how much trouble a shop is in, from `WITHOUT_TOKEN` to `QUIET`; `wait` is that in the queue, in s."""
    if token is not None and token.condition in _NO_TOKEN:
        return WITHOUT_TOKEN if token.left is None else OLD_TOKEN
    if errors:
        return ERRORS
    if wait >= SLOW_AFTER or waits_for_token(token):
        return SLOW
    if unauthorized:
        return UNAUTHORIZED
    return WAITING if queue else QUIET


def waits_for_token(token: TokenStatus | None) -> bool:
    """Tell whether calls wait for a token for longer than they should."""
    return token is not None and token.left is None and (token.asking_for or 0.0) >= SLOW_AFTER


# What shops are sorted by: trouble, how often something failed, who waits (as negative numbers).
Loud = tuple[int, int, int, int]


def loud(trouble: int, errors: int, unauthorized: int, queue: int) -> Loud:
    """Return what a shop that is not quiet is sorted by, before its name."""
    return trouble, -errors, -unauthorized, -queue


def in_order(names: Sequence[str], key: Callable[[str], Any] | None = None) -> Steps[list[str]]:
    """Return names in the order of what `key` returns for each, or of themselves."""
    runs = []
    for start in range(0, len(names), _SORTED_AT_ONCE):
        runs.append(sorted(names[start : start + _SORTED_AT_ONCE], key=key))
        yield ""
    while len(runs) > 1:  # two runs are merged by sorting them: Python's sort finds them, and merges in C
        merged = []
        for pair in range(0, len(runs), 2):
            merged.append(sorted(chain(*runs[pair : pair + 2]), key=key))
            yield ""
        runs = merged
    return runs[0] if runs else []


def matching(every: Overview, wanted: Wanted, platform_of: Callable[[str], str]) -> Steps[list[str]]:
    """Return the names of the shops that somebody wants to see, of all pages."""
    names = every.names[: every.troubled] if wanted.troubled else every.names
    words = wanted.query.lower().split()
    if not words:
        return names
    found = []
    for number, name in enumerate(names):
        text = f"{name} {platform_of(name)}"
        if all(word in text for word in words):
            found.append(name)
        if not number % _STEP:
            yield ""
    return found


def in_wanted_order(names: list[str], every: Overview, sort: str) -> Steps[list[str]]:
    """Return the names in the order that somebody wants: the greatest numbers first, those who have none by name."""
    if sort not in (NAME, *SORTS):
        return names
    names = yield from in_order(names)
    if sort == NAME:
        return names
    which, numbers, ranks = SORTS.index(sort), every.numbers, {}
    for number, name in enumerate(names):
        ranks[name] = -numbers[name][which] if name in numbers else 0
        if not number % _STEP:
            yield ""
    return (yield from in_order(names, ranks.__getitem__))


def report(
    process: ProcessNow,
    every: Overview,
    wanted: Wanted,
    *,
    platform_of: Callable[[str], str],
    now: Callable[[str], ShopNow | None],
    clients: Sequence[ClientNow],
    astray: tuple[Problem, ...],
) -> Steps[Report]:
    """Return the page that somebody wants.

    `platform_of` returns the platform of a shop, `now` how it is by now, or `None` if it is there no more.
    """
    found = yield from matching(every, wanted, platform_of)
    found = yield from in_wanted_order(found, every, wanted.sort)
    pages = max(-(-len(found) // PAGE_SIZE), 1)
    page = min(max(wanted.page, 1), pages)
    rows = []
    for name in found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]:
        shop = now(name)
        if shop is not None:
            rows.append(row(shop))
        yield ""
    wanted = wanted._replace(page=page)
    return Report(
        process, wanted, rows, pages, len(found), len(every.names), every.troubled, every.calls, clients, astray
    )


def row(shop: ShopNow) -> Row:
    """Return the row of a shop."""
    sums = summed(shop.minutes)
    return Row(shop, trouble_of(shop.token, sums.errors, sums.unauthorized, shop.queue, shop.wait), *sums)


def summed(minutes: Iterable[Minute]) -> Minute:
    """Return the sums of these minutes."""
    calls, errors, unauthorized = (sum(numbers) for numbers in zip(*minutes, strict=True)) if minutes else (0, 0, 0)
    return Minute(calls, errors, unauthorized)


def as_json(
    process: ProcessNow, shops: Iterable[ShopNow], clients: Iterable[ClientNow], *, now: float
) -> Iterator[str]:
    """Yield a JSON object with all these shops, in pieces. Times are in seconds; `now` is the traffic's clock."""
    shared = process.shared
    head = json.dumps(
        {
            "version": process.version,
            "phase": process.phase,
            "requests_in_flight": process.in_flight,
            "client_connections": process.connections,
            "config_last_reload_successful": process.last_reload_successful,
            "config_problems": process.config_problems,
            "configured_at": process.configured_at,
            "started_at": process.started_at,
            "url": process.url,
            "clients": [
                {"client": each.name, "calls": each.calls, "refused": each.refused, "seconds_ago": _rounded(each.last)}
                for each in clients
            ],
            **({} if shared is None else {"shared": _sharing(shared)}),
            "shops": [],
        }
    )
    yield head.removesuffix("]}")
    between = ""
    for shop in shops:
        yield between + json.dumps(_shop_as_json(row(shop), now))
        between = ", "
    yield "]}\n"


def _sharing(shared: SharedMetrics) -> dict[str, Any]:
    return {"replicas": shared.replicas, "away": shared.away, "why": shared.why or None, "deaf": shared.deaf or None}


def _shop_as_json(row: Row, now: float) -> dict[str, Any]:
    shop, token, problem = row.shop, row.shop.token, row.shop.problem
    return {
        "shop": shop.name,
        "platform": shop.platform,
        "in_trouble": row.trouble < WAITING,
        "token": token
        and {
            "state": token.condition,
            "age": _rounded(token.age),
            "expires_in": _rounded(token.left),
            "detail": token.detail or None,
            "reason": token.reason or None,
            "fix": shop.fix if token.condition is Condition.REFUSED else None,
            "asked_again_in": _rounded(token.asked_again_in),
            "asked_for": _rounded(token.asking_for),
        },
        "recent": {
            "seconds": RECENT,
            "calls": row.calls,
            "errors": row.errors,
            "unauthorized": row.unauthorized,
            "minutes": [minute._asdict() for minute in shop.minutes],
        },
        "pacing_queue": shop.queue,
        "pacing_wait": _rounded(shop.wait),
        "last_problem": problem
        and {"code": problem.code, "detail": problem.detail, "seconds_ago": _rounded(now - problem.at)}
        | _reason(problem),
        "problems": [_problem_as_json(each, now) for each in shop.problems],
    }


def _problem_as_json(problem: Problem, now: float) -> dict[str, Any]:
    fields = problem._asdict()
    del fields["reason"]
    at = fields.pop("at")
    return {"seconds_ago": _rounded(now - at), **fields, "client": problem.client or None, **_reason(problem)}


def _reason(problem: Problem) -> dict[str, str]:
    return {"reason": problem.reason} if problem.reason else {}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
