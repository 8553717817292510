"""What the log says of a request, and which texts of it are searched for secrets before that."""

from typing import Any

import pytest

from proxy.telemetry.finished import FinishedRequest
from proxy.telemetry.logs import told
from tests.telemetry.test_traffic import OK

SERVED = OK._replace(
    duration=0.2004,
    paced=None,
    client="erp",
    upstream=0.15,
    target=b"/orders/5?secret=1",
    request_id=b"id-1",
    shop="demo",
    upstream_status=200,
)


def said(request: FinishedRequest) -> tuple[dict[str, Any], str | None]:
    line, chosen = request.line("now", "info", "request.forwarded")
    first, *fields = told(line).items()
    assert [first, *fields[:2]] == [("timestamp", "now"), ("level", "info"), ("event", "request.forwarded")]
    return dict(fields[2:]), chosen


def test_an_ordinary_request_is_told_in_order_and_without_its_query() -> None:
    assert list(said(SERVED)[0].items()) == [
        ("client", "erp"),
        ("shop", "demo"),
        ("method", "GET"),
        ("path", "/orders/5"),
        ("status", 200),
        ("upstream_status", 200),
        ("attempts", 1),
        ("duration_ms", 200.4),
        ("upstream_ms", 150.0),
        ("bytes_in", 3),
        ("bytes_out", 70),
        ("request_id", "id-1"),
    ]


def test_what_only_some_requests_have_is_told_of_them() -> None:
    line, _ = said(
        SERVED._replace(
            paced=0.01, tokens=0.02, inner={429: 2, 401: 1}, dropped_fields=4, trace="ab" * 16, address="192.0.2.7"
        )
    )

    assert "client" not in line
    assert {name: line[name] for name in ("address", "waited_ms", "token_ms", "dropped_fields", "trace_id")} == {
        "address": "192.0.2.7",
        "waited_ms": 10.0,
        "token_ms": 20.0,
        "dropped_fields": 4,
        "trace_id": "ab" * 16,
    }
    assert list(line["inner_statuses"].items()) == [("401", 1), ("429", 2)]


@pytest.mark.parametrize("address", [None, "2001:db8::7"])
def test_all_texts_that_others_chose_are_named(address: str | None) -> None:
    line, chosen = said(
        SERVED._replace(
            method="Method", shop="shop-1", request_id=b"id-2", id_given=True, trace="trace", address=address
        )
    )

    texts = {value for name, value in line.items() if isinstance(value, str) and name != "client"}
    assert texts == {"Method", "shop-1", "/orders/5", "id-2", "trace"} | ({address} if address else set())
    assert chosen is not None
    assert all(text in chosen for text in texts)


def test_an_id_that_the_proxy_chose_needs_no_search() -> None:
    assert said(SERVED._replace(request_id=b"chosen-here"))[1] == "demo/GET//orders/5///"


@pytest.mark.parametrize(
    "changed",
    [
        {"error": {"code": "token_refused", "detail": "No.", "reason": "invalid_client"}},
        {"besides": {"target": "/x"}},
        {"shop": None, "target": b"/../x"},
    ],
)
def test_where_more_is_told_all_of_it_may_be_theirs(changed: dict[str, Any]) -> None:
    line, chosen = said(SERVED._replace(**changed))

    assert chosen is None
    assert list(line)[: len(changed.get("error", ()))] == list(changed.get("error", ()))
    assert (line["path"] is None) is ("shop" in changed)
