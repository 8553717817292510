"""What the status page says of the shops, for people and as JSON: trouble first. Pure."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from proxy.admin.sources import ProcessNow, ShopNow
from proxy.telemetry.recent import MINUTES
from proxy.tokens.status import Condition

PAGE_SIZE: Final = 100  # shops
_NO_TOKEN: Final = frozenset((Condition.REFUSED, Condition.UNREACHABLE))
RECENT: Final = MINUTES * 60  # seconds


class Row(NamedTuple):
    """A shop and the sums of its minutes. `trouble` is 0 if calls fail for want of a token, up to `QUIET`."""

    shop: ShopNow
    trouble: int
    calls: int
    errors: int
    unauthorized: int


WITHOUT_TOKEN, OLD_TOKEN, ERRORS, UNAUTHORIZED, WAITING, QUIET = range(6)


class Report(NamedTuple):
    """The rows to show, of all those that match; and sums over all shops there are."""

    process: ProcessNow
    rows: list[Row]
    page: int
    pages: int
    matching: int
    shops: int
    troubled: int
    calls: int
    query: str


def rows(shops: Iterable[ShopNow]) -> list[Row]:
    """Return a row for each shop, trouble first, then by how often something failed, then by name."""
    made = [_row(shop) for shop in shops]
    made.sort(key=lambda row: (row.trouble, -row.errors, -row.unauthorized, -row.shop.queue, row.shop.name))
    return made


def report(process: ProcessNow, shops: Iterable[ShopNow], *, query: str, page: int) -> Report:
    """Return the page of shops whose name or platform holds `query`; `page` is from 1, and brought within bounds."""
    every = rows(shops)
    words = query.lower().split()
    matching = [row for row in every if all(word in f"{row.shop.name} {row.shop.platform}" for word in words)]
    pages = max(-(-len(matching) // PAGE_SIZE), 1)
    page = min(max(page, 1), pages)
    return Report(
        process,
        matching[(page - 1) * PAGE_SIZE : page * PAGE_SIZE],
        page,
        pages,
        len(matching),
        len(every),
        sum(row.trouble < WAITING for row in every),
        sum(row.calls for row in every),
        query,
    )


def as_json(process: ProcessNow, shops: Iterable[ShopNow], *, now: float) -> dict[str, Any]:
    """Return all shops as a JSON object. Times are in seconds; `now` is the traffic's clock."""
    return {
        "version": process.version,
        "phase": process.phase,
        "requests_in_flight": process.in_flight,
        "client_connections": process.connections,
        "config_last_reload_successful": process.last_reload_successful,
        "shops": [_shop_as_json(row, now) for row in rows(shops)],
    }


def _row(shop: ShopNow) -> Row:
    calls = sum(minute.calls for minute in shop.minutes)
    errors = sum(minute.errors for minute in shop.minutes)
    unauthorized = sum(minute.unauthorized for minute in shop.minutes)
    if shop.token is not None and shop.token.condition in _NO_TOKEN:
        trouble = WITHOUT_TOKEN if shop.token.left is None else OLD_TOKEN
    elif errors:
        trouble = ERRORS
    elif unauthorized:
        trouble = UNAUTHORIZED
    else:
        trouble = WAITING if shop.queue else QUIET
    return Row(shop, trouble, calls, errors, unauthorized)


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
            "mend": shop.mend if token.condition is Condition.REFUSED else None,
            "asked_again_in": _rounded(token.asked_again_in),
        },
        "recent": {
            "seconds": RECENT,
            "calls": row.calls,
            "errors": row.errors,
            "unauthorized": row.unauthorized,
            "minutes": [minute._asdict() for minute in shop.minutes],
        },
        "pacing_queue": shop.queue,
        "last_problem": problem
        and {"code": problem.code, "detail": problem.detail, "seconds_ago": _rounded(now - problem.at)},
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
