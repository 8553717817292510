"""Shops at one moment, for what is made of them."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from proxy.admin.report import WAITING, Overview, Report, Steps, Wanted, in_order, loud, report, row
from proxy.admin.sources import ClientNow, ProcessNow, ShopNow
from proxy.telemetry.problems import Problem
from proxy.telemetry.recent import MINUTES, Minute
from proxy.tokens.status import NOTHING_KNOWN, Condition, TokenStatus

T = TypeVar("T")
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


def run(steps: Steps[T]) -> T:
    """What is worked out in steps, of which each yields nothing."""
    while True:
        try:
            assert next(steps) == ""
        except StopIteration as end:
            return cast("T", end.value)


def overview(*shops: ShopNow) -> Overview:
    """These shops, in the order of their trouble."""
    rows = sorted(map(row, shops), key=lambda each: each.shop.name)
    louds = {r.shop.name: loud(r.trouble, r.errors, r.unauthorized, r.shop.queue) for r in rows}
    names = run(in_order(list(louds), louds.__getitem__))
    numbers = {each.shop.name: (each.calls, each.errors, each.unauthorized, each.shop.queue) for each in rows}
    troubled, calls = sum(each.trouble < WAITING for each in rows), sum(each.calls for each in rows)
    return Overview(names, troubled, calls, numbers=numbers)


def shown(
    *shops: ShopNow,
    process: ProcessNow = PROCESS,
    clients: Sequence[ClientNow] = (),
    astray: tuple[Problem, ...] = (),
    **wanted: Any,
) -> Report:
    """The page that somebody wants of these shops."""
    now = {each.name: each for each in shops}
    return run(
        report(
            process,
            overview(*shops),
            Wanted(**wanted),
            platform_of=lambda name: now[name].platform,
            now=now.get,
            clients=clients,
            astray=astray,
        )
    )


def minutes(*newest: Minute | tuple[int, int, int]) -> tuple[Minute, ...]:
    """The last minutes, of which the newest are these."""
    return (*[Minute(0, 0, 0)] * (MINUTES - len(newest)), *(Minute(*each) for each in newest))
