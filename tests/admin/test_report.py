"""The shops for people and as JSON: trouble first, found by name, and no more at once than a page holds."""

import json

import pytest

from proxy.admin.report import PAGE_SIZE, QUIET, Wanted, as_json, report, row
from proxy.admin.sources import ClientNow, ShopNow
from tests.admin.shops import GOOD, NOW, PROBLEM, PROCESS, REFUSED, UNREACHABLE, minutes, overview, run, shop, shown

QUIET_ONE = shop("a-quiet", token=GOOD)
WAITING = shop("b-waiting", token=GOOD, queue=3)
UNAUTHORIZED = shop("c-401", token=GOOD, minutes=minutes((9, 0, 1)))
FEW_ERRORS = shop("d-errors", token=GOOD, minutes=minutes((9, 1, 0)))
MANY_ERRORS = shop("e-errors", token=GOOD, minutes=minutes((9, 5, 0), (9, 5, 3)))
OLD_TOKEN = shop("f-old", token=UNREACHABLE)
REFUSED_ONE = shop("g-refused", token=REFUSED, problem=PROBLEM, minutes=minutes((4, 4, 0)))
NOT_CALLED = shop("h-new")
ALL = [QUIET_ONE, WAITING, UNAUTHORIZED, FEW_ERRORS, MANY_ERRORS, OLD_TOKEN, REFUSED_ONE, NOT_CALLED]


def test_trouble_comes_first() -> None:
    assert [row.shop for row in shown(*ALL).rows] == [
        REFUSED_ONE,
        OLD_TOKEN,
        MANY_ERRORS,
        FEW_ERRORS,
        UNAUTHORIZED,
        WAITING,
        QUIET_ONE,
        NOT_CALLED,
    ]


def test_the_last_minutes_are_summed_up() -> None:
    made = row(MANY_ERRORS)

    assert (made.calls, made.errors, made.unauthorized) == (18, 10, 3)


def test_sums_are_over_all_shops_whatever_is_shown() -> None:
    found = shown(*ALL, query="refused")

    assert [row.shop.name for row in found.rows] == ["g-refused"]
    assert (found.shops, found.matching, found.troubled, found.calls) == (8, 1, 5, 40)


def test_those_in_trouble_are_found_alone() -> None:
    found = shown(*ALL, troubled=True)

    assert [row.shop for row in found.rows] == [REFUSED_ONE, OLD_TOKEN, MANY_ERRORS, FEW_ERRORS, UNAUTHORIZED]
    assert (found.shops, found.matching) == (8, 5)
    assert [row.shop for row in shown(*ALL, troubled=True, query="errors").rows] == [MANY_ERRORS, FEW_ERRORS]


def test_thousands_of_shops_come_in_order_too() -> None:
    shops = [shop(f"s-{number:04}", minutes=minutes((9, number * 7919 % 1000, 0))) for number in range(2000)]

    def errors_first(each: ShopNow) -> tuple[int, str]:
        return -each.minutes[-1].errors, each.name

    assert overview(*shops).names == [each.name for each in sorted(shops, key=errors_first)]


def test_a_shop_that_has_gone_meanwhile_is_left_out() -> None:
    every = overview(QUIET_ONE, NOT_CALLED)
    made = report(
        PROCESS, every, Wanted(), platform_of=lambda _: "", now={NOT_CALLED.name: NOT_CALLED}.get, clients=[], astray=()
    )

    assert [row.shop for row in run(made).rows] == [NOT_CALLED]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["alpha", "beta"]),
        ("ALP", ["alpha"]),
        ("toss", ["beta"]),
        ("toss alpha", []),
        ("shop a", ["alpha", "beta"]),
        ("<", []),
    ],
)
def test_shops_are_found_by_parts_of_their_name_and_platform(query: str, names: list[str]) -> None:
    shops = [shop("alpha"), shop("beta", platform="toss-shopping")]

    assert [row.shop.name for row in shown(*shops, query=query).rows] == names


@pytest.mark.parametrize(("page", "first"), [(1, 0), (2, PAGE_SIZE), (3, 2 * PAGE_SIZE), (4, 2 * PAGE_SIZE), (0, 0)])
def test_many_shops_are_shown_page_by_page(page: int, first: int) -> None:
    shops = [shop(f"shop-{number:04}") for number in range(2 * PAGE_SIZE + 1)]

    found = shown(*shops, page=page)

    assert (found.pages, found.rows[0].shop.name) == (3, f"shop-{first:04}")
    assert len(found.rows) <= PAGE_SIZE


def test_as_json_it_says_the_same() -> None:
    shops = [REFUSED_ONE, shop("*", token=None), NOT_CALLED]
    document = json.loads("".join(as_json(PROCESS, shops, [ClientNow("erp", 5, 1, 3.0)], now=NOW)))

    assert {key: value for key, value in document.items() if key != "shops"} == {
        "version": "1.2.3",
        "phase": "serving",
        "requests_in_flight": 2,
        "client_connections": 5,
        "config_last_reload_successful": True,
        "config_problems": [],
        "configured_at": 0.0,
        "started_at": 0.0,
        "url": "",
        "clients": [{"client": "erp", "calls": 5, "refused": 1, "seconds_ago": 3.0}],
    }
    refused, rest, not_called = document["shops"]
    recent = refused.pop("recent")
    assert refused == {
        "shop": "g-refused",
        "platform": "shoprenter",
        "in_trouble": True,
        "token": {
            "state": "refused",
            "age": None,
            "expires_in": None,
            "detail": "The credentials are refused.",
            "reason": "status 401: invalid_client",
            "fix": "look at g-refused's secret",
            "asked_again_in": 42.0,
            "asked_for": None,
        },
        "pacing_queue": 0,
        "pacing_wait": 0.0,
        "problems": [],
        "last_problem": {
            "code": "upstream_timeout",
            "detail": "The shop's API did not answer in time.",
            "seconds_ago": 75.0,
        },
    }
    assert (recent["seconds"], recent["calls"], recent["errors"], recent["unauthorized"]) == (900, 4, 4, 0)
    assert recent["minutes"][-1] == {"calls": 4, "errors": 4, "unauthorized": 0}
    assert (rest["shop"], rest["token"], rest["in_trouble"]) == ("*", None, False)
    assert (not_called["token"]["state"], not_called["token"]["fix"], not_called["last_problem"]) == (
        "none",
        None,
        None,
    )


def test_a_shop_that_nobody_called_is_no_trouble() -> None:
    assert [row(each).trouble for each in (NOT_CALLED, QUIET_ONE)] == [QUIET, QUIET]


def test_no_shops_are_json_too() -> None:
    assert json.loads("".join(as_json(PROCESS, [], [], now=NOW)))["shops"] == []
