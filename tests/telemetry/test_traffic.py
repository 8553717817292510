"""What is counted of requests, and under which names; more than a bounded number of them there never is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.finished import Failure, FinishedRequest
from proxy.telemetry.labels import ShopLabels
from proxy.telemetry.problems import Problem
from proxy.telemetry.traffic import Histogram, Traffic

NOW = 5000.0
OK = FinishedRequest(
    key="demo",
    entry="demo",
    method="GET",
    status=200,
    answered=200,
    failure=None,
    attempts=1,
    bytes_in=3,
    bytes_out=70,
    duration=0.2,
    added=0.001,
    paced=0.0,
    throttled=0,
)
REFUSED = Failure("token_refused", "No.")


def counted(*requests: FinishedRequest) -> Traffic:
    traffic = Traffic(ShopLabels(), lambda: NOW)
    for request in requests:
        traffic.finished(request)
    return traffic


def test_a_request_is_counted_with_all_its_numbers() -> None:
    [(label, shop)] = counted(OK, OK._replace(method="POST", status=201, attempts=2, throttled=1)).shops.items()

    assert label == "demo"
    assert shop.requests == {("GET", "2xx"): 1, ("POST", "2xx"): 1}
    assert (shop.bytes_in, shop.bytes_out, shop.attempts, shop.throttled) == (6, 140, 3, 1)
    assert (shop.duration.sum, shop.added.sum, shop.paced.sum) == (0.4, 0.002, 0.0)
    assert [sum(histogram.counts) for histogram in (shop.duration, shop.added, shop.paced)] == [2, 2, 2]


def test_what_an_answer_lost_and_what_was_in_a_batch_is_added_up() -> None:
    traffic = counted(OK, OK._replace(dropped_fields=2, inner={429: 1}), OK._replace(inner={429: 2, 401: 1}))
    copy = traffic.shops["demo"].copy()
    traffic.finished(OK._replace(dropped_fields=1, inner={401: 1}))
    shop = traffic.shops["demo"]

    assert (copy.dropped_fields, copy.inner) == (2, {429: 3, 401: 1})
    assert (shop.dropped_fields, shop.inner) == (3, {429: 3, 401: 2})


def test_what_there_was_not_is_not_counted() -> None:
    shop = counted(OK._replace(added=None, paced=None)).shops["demo"]

    assert sum(shop.duration.counts) == 1
    assert sum(shop.added.counts) == sum(shop.paced.counts) == 0


@pytest.mark.parametrize(
    ("changes", "series"),
    [
        ({"status": 404}, ("GET", "4xx")),
        ({"status": 599}, ("GET", "5xx")),
        ({"status": None}, ("GET", "none")),
        ({"method": "PROPFIND"}, ("other", "2xx")),
        ({"method": "get"}, ("other", "2xx")),
    ],
)
def test_methods_and_statuses_are_told_apart_as_far_as_they_are_few(
    changes: dict[str, Any], series: tuple[str, str]
) -> None:
    assert list(counted(OK._replace(**changes)).shops["demo"].requests) == [series]


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=5), st.integers(100, 999)), max_size=100))
def test_a_scan_makes_no_series(scan: list[tuple[str, str, int]]) -> None:
    traffic = counted(
        *(OK._replace(key=key, entry="*", method=method, status=status) for key, method, status in scan),
        *(OK._replace(key="", entry="", status=404) for _ in scan),
    )

    assert traffic.shops.keys() <= {"*", ""}
    assert all(len(shop.requests) <= 8 * 9 for shop in traffic.shops.values())


@pytest.mark.parametrize(
    ("changes", "errors", "unauthorized", "problem"),
    [
        ({}, 0, 0, None),
        ({"status": 404, "answered": 404}, 0, 0, None),
        ({"status": None, "answered": None}, 0, 0, None),  # the client left: nobody's fault here
        ({"status": 502, "answered": None, "failure": REFUSED}, 1, 0, ("token_refused", "No.")),
        (
            {"status": 413, "answered": None, "failure": Failure("body_too_large", "Big.")},
            1,
            0,
            ("body_too_large", "Big."),
        ),
        ({"failure": Failure("upstream_timeout", "Slow.")}, 1, 0, ("upstream_timeout", "Slow.")),  # broken off
        ({"status": 503, "answered": 503}, 1, 0, ("http_503", "The platform answered 503.")),
        (
            {"status": 401, "answered": 401},
            0,
            1,
            ("http_401", "The platform answered 401. If the token is good, the API client may lack the permission."),
        ),
        ({"status": 429, "answered": 429, "throttled": 1}, 0, 0, ("http_429", "The platform answered 429.")),
        ({"throttled": 2}, 0, 0, ("http_429", "The platform answered 429; the call was sent again later.")),
    ],
)
def test_what_went_wrong_is_counted_and_the_last_of_it_kept(
    changes: dict[str, Any], errors: int, unauthorized: int, problem: tuple[str, str] | None
) -> None:
    shop = counted(OK._replace(client="erp", target=b"/x?y", request_id=b"id-1", **changes), OK).shops["demo"]
    newest = shop.recent.minutes(NOW)[-1]

    assert newest == (2, errors, unauthorized)
    status = changes.get("status", 200)
    assert shop.problem == (problem and Problem(*problem, NOW, "GET", "/x", status, "erp", "id-1"))


def test_errors_of_the_proxys_own_are_counted_by_their_code() -> None:
    unknown = OK._replace(key="", entry="", status=404, failure=Failure("unknown_shop", "None."))

    assert counted(OK, unknown, unknown, OK._replace(failure=REFUSED)).errors == {
        ("", "unknown_shop"): 2,
        ("demo", "token_refused"): 1,
    }


@pytest.mark.parametrize(("value", "bucket"), [(0.0, 0), (1.0, 0), (1.001, 1), (2.0, 1), (2.001, 2), (1e9, 2)])
def test_a_bound_is_the_last_value_of_its_bucket(value: float, bucket: int) -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)

    assert histogram.counts == [int(number == bucket) for number in range(3)]
    assert histogram.sum == value


def test_a_copy_stays_as_it_is() -> None:
    traffic = counted(OK)
    copy = traffic.shops["demo"].copy()
    traffic.finished(OK._replace(failure=REFUSED))

    assert copy.requests == {("GET", "2xx"): 1}
    assert (sum(copy.duration.counts), copy.added.sum, copy.paced.sum, copy.problem) == (1, 0.001, 0.0, None)
    assert (copy.bytes_in, copy.bytes_out, copy.attempts, copy.throttled) == (3, 70, 1, 0)


def test_clients_are_counted_with_what_the_proxy_refused_them() -> None:
    denied = OK._replace(client="erp", status=403, failure=Failure("client_forbidden", "No."))
    traffic = counted(OK, OK._replace(client="erp"), denied)

    assert list(traffic.clients) == ["erp"]
    erp = traffic.clients["erp"]
    assert (erp.requests, erp.errors, erp.last_at) == ({"2xx": 1, "4xx": 1}, {"client_forbidden": 1}, NOW)


def test_the_time_of_the_platform_is_counted_if_it_was_asked() -> None:
    shop = counted(OK, OK._replace(upstream=0.04)).shops["demo"]

    assert (sum(shop.upstream.counts), shop.copy().upstream.sum) == (1, 0.04)


def test_a_401_says_which_scope_may_be_missing() -> None:
    shop = counted(OK._replace(status=401, answered=401, hint="GET /x needs x:read: allow it there")).shops["demo"]

    assert shop.problem is not None
    assert shop.problem.detail.endswith("If the token is good: GET /x needs x:read: allow it there.")


_REQUESTS = st.lists(
    st.builds(
        OK._replace,
        key=st.sampled_from(["demo", "demo", "other"]),
        entry=st.just("demo"),
        method=st.sampled_from(["GET", "POST", "BREW"]),
        status=st.sampled_from([200, 200, 204, 404]),
        client=st.sampled_from([None, "erp", "crm"]),
        duration=st.sampled_from([0.25, 0.5, 64.0]),
        added=st.sampled_from([None, 0.0, 0.5]),
        paced=st.sampled_from([None, 0.25]),
        upstream=st.sampled_from([None, 0.125]),
        dropped_fields=st.integers(0, 2),
        attempts=st.integers(0, 2),
    )
    | st.sampled_from([OK._replace(status=None), OK._replace(failure=REFUSED), OK._replace(throttled=1)])
    | st.sampled_from([OK._replace(status=502), OK._replace(answered=401), OK._replace(inner={401: 2})]),
    max_size=60,
)


@given(requests=_REQUESTS, every=st.sampled_from([0.0, 7.0, 100.0]))
def test_requests_that_are_counted_together_count_as_one_by_one(requests: list[FinishedRequest], every: float) -> None:
    now = NOW
    together, alone = (Traffic(ShopLabels(), lambda: now) for _ in range(2))
    for request in requests:
        now += every
        together.finished(request)
        alone.finished(request)
        assert alone.shops is not None  # whoever looks has all of them counted

    assert shown(together, now) == shown(alone, now)


def shown(traffic: Traffic, now: float) -> dict[str, Any]:
    """Everything that is counted."""
    shops = {
        label: [getattr(shop, name) for name in ("requests", "bytes_in", "bytes_out", "attempts", "throttled", "inner")]
        + [(each.counts, each.sum) for each in (shop.duration, shop.added, shop.paced, shop.upstream)]
        + [shop.dropped_fields, shop.problem, shop.recent.minutes(now), shop.recent.sums(now)]
        for label, shop in traffic.shops.items()
    }
    clients = {name: (of.requests, of.errors, of.last_at) for name, of in traffic.clients.items()}
    return {"shops": shops, "clients": clients, "errors": traffic.errors}
