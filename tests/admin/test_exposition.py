"""The numbers in Prometheus's text format, under names that dashboards are built on."""

import platform

from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.exposition import CONTENT_TYPE, buckets, exposition
from proxy.admin.sources import CountersNow
from proxy.telemetry.labels import ShopLabels
from proxy.telemetry.metrics import ConnectionMetrics, TokenMetrics
from proxy.telemetry.traffic import Failure, FinishedRequest, Histogram, Traffic
from tests.admin.asking import parsed
from tests.admin.shops import GOOD, PROCESS, REFUSED, shop

NOTHING = CountersNow({}, TokenMetrics(), ConnectionMetrics(), {}, {})
# Name, type, labels (those of a histogram's buckets apart).
NAMES = {
    ("requests", "counter", ("shop", "method", "status")),
    ("request_duration_seconds", "histogram", ("shop",)),
    ("added_latency_seconds", "histogram", ("shop",)),
    ("request_body_bytes", "counter", ("shop",)),
    ("response_body_bytes", "counter", ("shop",)),
    ("upstream_attempts", "counter", ("shop",)),
    ("requests_in_flight", "gauge", ()),
    ("token_requests", "counter", ("shop", "outcome")),
    ("token_age_seconds", "gauge", ("shop",)),
    ("token_expires_in_seconds", "gauge", ("shop",)),
    ("token_state", "gauge", ("shop", "state")),
    ("pacing_wait_seconds", "histogram", ("shop",)),
    ("pacing_queue", "gauge", ("shop",)),
    ("throttled", "counter", ("shop",)),
    ("dropped_fields", "counter", ("shop",)),
    ("batch_parts_failed", "counter", ("shop", "status")),
    ("errors", "counter", ("code",)),
    ("client_connections", "gauge", ()),
    ("client_connections_refused", "counter", ()),
    ("client_connections_displaced", "counter", ()),
    ("failed_handshakes", "counter", ()),
    ("unauthorized", "counter", ("shop", "reaction")),
    ("token_waits", "counter", ()),
    ("token_wait_seconds", "counter", ()),
    ("config_reloads", "counter", ("outcome",)),
    ("config_last_reload_successful", "gauge", ()),
    ("build_info", "gauge", ("version", "python")),
    ("draining", "gauge", ()),
}


def counters() -> CountersNow:
    traffic = Traffic(ShopLabels(), lambda: 0.0)
    traffic.finished(
        FinishedRequest(
            key="demo",
            entry="demo",
            method="GET",
            status=200,
            answered=200,
            failure=Failure("upstream_timeout", "Slow."),
            attempts=2,
            bytes_in=3,
            bytes_out=4,
            duration=0.2,
            added=0.002,
            paced=0.0,
            throttled=1,
            dropped_fields=5,
            inner={401: 6, 429: 7},
        )
    )
    tokens = TokenMetrics(waits=3, waited_seconds=1.5)
    tokens.requests.update({("demo", "granted"): 2, ("*", "refused"): 1})
    tokens.unauthorized["demo", "replace"] = 4
    connections = ConnectionMetrics(open=5, refused=6, displaced=7, failed_handshakes=8)
    return CountersNow(traffic.shops, tokens, connections, dict(traffic.errors), {"successful": 1})


def test_every_name_is_there_with_its_type_labels_and_words() -> None:
    body = exposition(PROCESS, [shop(token=GOOD)], counters())

    families = [
        family
        for family in text_string_to_metric_families(body.decode())
        if not family.name.startswith(("process_", "python_"))
    ]
    found = {
        (
            family.name.removeprefix("shop_auth_proxy_"),
            family.type,
            frozenset(family.samples[0].labels) - {"le"},
        )
        for family in families
    }
    assert found == {(name, kind, frozenset(labels)) for name, kind, labels in NAMES}
    assert all(family.documentation.endswith(".") for family in families)
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


def test_the_numbers_are_those_that_were_counted() -> None:
    found = parsed(exposition(PROCESS, [shop(token=GOOD, queue=4)], counters()))

    assert found["requests_total"] == {("demo", "GET", "2xx"): 1.0}
    assert found["upstream_attempts_total"] == {("demo",): 2.0}
    assert found["request_body_bytes_total"] == {("demo",): 3.0}
    assert found["response_body_bytes_total"] == {("demo",): 4.0}
    assert found["throttled_total"] == {("demo",): 1.0}
    assert found["dropped_fields_total"] == {("demo",): 5.0}
    assert found["batch_parts_failed_total"] == {("demo", "401"): 6.0, ("demo", "429"): 7.0}
    assert found["errors_total"] == {("upstream_timeout",): 1.0}
    assert found["token_requests_total"] == {("demo", "granted"): 2.0, ("*", "refused"): 1.0}
    assert found["token_age_seconds"] == {("demo",): 600.0}
    assert found["token_expires_in_seconds"] == {("demo",): 3000.0}
    assert found["pacing_queue"] == {("demo",): 4.0}
    assert found["request_duration_seconds_sum"] == {("demo",): 0.2}
    assert found["request_duration_seconds_bucket"][("demo", "0.1")] == 0.0
    assert found["request_duration_seconds_bucket"][("demo", "0.25")] == 1.0
    assert found["added_latency_seconds_bucket"][("demo", "0.0025")] == 1.0
    assert found["requests_in_flight"] == {(): 2.0}
    assert found["client_connections"] == {(): 5.0}
    assert found["client_connections_refused_total"] == {(): 6.0}
    assert found["client_connections_displaced_total"] == {(): 7.0}
    assert found["failed_handshakes_total"] == {(): 8.0}
    assert found["unauthorized_total"] == {("demo", "replace"): 4.0}
    assert (found["token_waits_total"], found["token_wait_seconds_total"]) == ({(): 3.0}, {(): 1.5})
    assert found["config_reloads_total"] == {("successful",): 1.0, ("failed",): 0.0}
    assert found["config_last_reload_successful"] == {(): 1.0}
    assert found["build_info"] == {(platform.python_version(), "1.2.3"): 1.0}
    assert found["draining"] == {(): 0.0}


def test_a_stop_and_a_broken_configuration_are_seen() -> None:
    process = PROCESS._replace(phase="draining", last_reload_successful=False)
    found = parsed(exposition(process, [], NOTHING))

    assert found["draining"] == {(): 1.0}
    assert found["config_last_reload_successful"] == {(): 0.0}


def test_one_state_of_a_token_is_so_and_the_others_are_not() -> None:
    found = parsed(exposition(PROCESS, [shop("a", token=REFUSED), shop("b"), shop("*", token=None, queue=1)], NOTHING))

    assert {labels for labels, value in found["token_state"].items() if value} == {("a", "refused"), ("b", "none")}
    assert len(found["token_state"]) == 10
    assert "token_age_seconds" not in found
    assert found["pacing_queue"] == {("a",): 0.0, ("b",): 0.0, ("*",): 1.0}


def test_buckets_are_cumulative() -> None:
    histogram = Histogram((0.5, 1.0))
    for value in (0.1, 0.5, 0.7, 3.0):
        histogram.observe(value)

    assert buckets(histogram) == [("0.5", 2.0), ("1.0", 3.0), ("+Inf", 4.0)]
