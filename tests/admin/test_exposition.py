"""The numbers in Prometheus's text format, under names that dashboards are built on."""

import platform
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.exposition import CONTENT_TYPE, exposition
from proxy.admin.sources import BudgetNow, CountersNow, Glimpse, ProcessNow
from proxy.telemetry.finished import Failure, FinishedRequest
from proxy.telemetry.labels import ShopLabels
from proxy.telemetry.metrics import ConnectionMetrics, ErrandMetrics, LogMetrics, SharedMetrics, TokenMetrics
from proxy.telemetry.traffic import Histogram, Traffic
from proxy.tokens.status import NOTHING_KNOWN
from tests.admin.asking import parsed
from tests.admin.shops import GOOD, PROCESS, REFUSED

NOTHING = CountersNow({}, TokenMetrics(), ConnectionMetrics(), ErrandMetrics(), {}, {}, LogMetrics())
TLS = PROCESS._replace(configured_at=1000.0, certificate_expires_at=2000.0)
BUDGETS = (BudgetNow("memory", 9, 1000, {"client": 11}), BudgetNow("descriptors", 10, float("inf"), {}))
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
    ("collapsed", "counter", ()),
    ("batches", "counter", ()),
    ("batched", "counter", ()),
    ("batches_failed", "counter", ("why",)),
    ("dropped_fields", "counter", ("shop",)),
    ("batch_parts_failed", "counter", ("shop", "status")),
    ("errors", "counter", ("shop", "code")),
    ("client_requests", "counter", ("client", "status")),
    ("client_errors", "counter", ("client", "code")),
    ("upstream_duration_seconds", "histogram", ("shop",)),
    ("config_last_reload_success_timestamp_seconds", "gauge", ()),
    ("listener_certificate_expiry_timestamp_seconds", "gauge", ()),
    ("client_connections", "gauge", ()),
    ("client_connections_refused", "counter", ()),
    ("client_connections_displaced", "counter", ()),
    ("failed_handshakes", "counter", ()),
    ("log_lines_lost", "counter", ()),
    ("unauthorized", "counter", ("shop", "reaction")),
    ("token_waits", "counter", ()),
    ("token_wait_seconds", "counter", ()),
    ("config_reloads", "counter", ("outcome",)),
    ("config_last_reload_successful", "gauge", ()),
    ("build_info", "gauge", ("version", "python")),
    ("draining", "gauge", ()),
    ("budget_used", "gauge", ("budget",)),
    ("budget_limit", "gauge", ("budget",)),
    ("budget_refused", "counter", ("budget", "whose")),
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
            client="erp",
            upstream=0.15,
        )
    )
    tokens = TokenMetrics(waits=3, waited_seconds=1.5)
    tokens.requests.update({("demo", "granted"): 2, ("*", "refused"): 1})
    tokens.unauthorized["demo", "replace"] = 4
    connections = ConnectionMetrics(open=5, refused=6, displaced=7, failed_handshakes=8)
    errands = ErrandMetrics(collapsed=11, batches=12, batched=13, failed_batches=Counter(too_much=14))
    errors, log = dict(traffic.errors), LogMetrics(9, 10)
    return CountersNow(
        traffic.shops, tokens, connections, errands, errors, {"successful": 1}, log, BUDGETS, traffic.clients
    )


def text(process: ProcessNow, shops: list[Glimpse], counted: CountersNow) -> bytes:
    return "".join(exposition(process, shops, counted)).encode()


def test_every_name_is_there_with_its_type_labels_and_words() -> None:
    body = text(TLS, [Glimpse("demo", GOOD, 0)], counters())

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
    found = parsed(text(TLS, [Glimpse("demo", GOOD, 4)], counters()))

    assert found["requests_total"] == {("demo", "GET", "2xx"): 1.0}
    assert found["upstream_attempts_total"] == {("demo",): 2.0}
    assert found["request_body_bytes_total"] == {("demo",): 3.0}
    assert found["response_body_bytes_total"] == {("demo",): 4.0}
    assert found["throttled_total"] == {("demo",): 1.0}
    assert found["dropped_fields_total"] == {("demo",): 5.0}
    assert found["batch_parts_failed_total"] == {("demo", "401"): 6.0, ("demo", "429"): 7.0}
    assert found["errors_total"] == {("demo", "upstream_timeout"): 1.0}
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
    assert [found[f"{name}_total"] for name in ("collapsed", "batches", "batched")] == [
        {(): 11.0},
        {(): 12.0},
        {(): 13.0},
    ]
    assert found["batches_failed_total"] == {("too_much",): 14.0}
    assert found["client_connections_displaced_total"] == {(): 7.0}
    assert found["failed_handshakes_total"] == {(): 8.0}
    assert found["budget_used"] == {("memory",): 9.0, ("descriptors",): 10.0}
    assert found["budget_limit"] == {("memory",): 1000.0, ("descriptors",): float("inf")}
    assert found["budget_refused_total"] == {("memory", "client"): 11.0}
    assert found["unauthorized_total"] == {("demo", "replace"): 4.0}
    assert (found["token_waits_total"], found["token_wait_seconds_total"]) == ({(): 3.0}, {(): 1.5})
    assert found["config_reloads_total"] == {("successful",): 1.0, ("failed",): 0.0}
    assert found["config_last_reload_successful"] == {(): 1.0}
    assert found["client_requests_total"] == {("erp", "2xx"): 1.0}
    assert found["client_errors_total"] == {("erp", "upstream_timeout"): 1.0}
    assert found["upstream_duration_seconds_sum"] == {("demo",): 0.15}
    assert found["config_last_reload_success_timestamp_seconds"] == {(): 1000.0}
    assert found["listener_certificate_expiry_timestamp_seconds"] == {(): 2000.0}
    assert found["build_info"] == {(platform.python_version(), "1.2.3"): 1.0}
    assert found["draining"] == {(): 0.0}


def test_a_stop_and_a_broken_configuration_are_seen() -> None:
    process = PROCESS._replace(phase="draining", last_reload_successful=False)
    found = parsed(text(process, [], NOTHING))

    assert found["draining"] == {(): 1.0}
    assert found["config_last_reload_successful"] == {(): 0.0}


def test_one_state_of_a_token_is_so_and_the_others_are_not() -> None:
    found = parsed(
        text(PROCESS, [Glimpse("a", REFUSED, 0), Glimpse("b", NOTHING_KNOWN, 0), Glimpse("*", None, 1)], NOTHING)
    )

    assert {labels for labels, value in found["token_state"].items() if value} == {("a", "refused"), ("b", "none")}
    assert len(found["token_state"]) == 10
    assert "token_age_seconds" not in found
    assert found["pacing_queue"] == {("a",): 0.0, ("b",): 0.0, ("*",): 1.0}


def test_buckets_are_cumulative() -> None:
    counted = counters()
    histogram = counted.traffic["demo"].paced = Histogram((0.5, 1.0))
    for value in (0.1, 0.5, 0.7, 3.0):
        histogram.observe(value)
    found = parsed(text(PROCESS, [], counted))

    assert found["pacing_wait_seconds_bucket"] == {("demo", "0.5"): 2.0, ("demo", "1.0"): 3.0, ("demo", "+Inf"): 4.0}
    assert found["pacing_wait_seconds_count"] == {("demo",): 4.0}
    assert found["pacing_wait_seconds_sum"] == {("demo",): 4.3}


def test_what_replicas_share_is_there_while_they_share() -> None:
    shared = SharedMetrics(replicas=3, away=True, tokens_taken=4, slots_booked=5, slots_given_back=1)
    shared.ran("ok", 0.0004)
    shared.ran("timeout", 0.1)
    shared.commands["skipped"] += 7

    alone = parsed(text(PROCESS, [], NOTHING))
    found = parsed(text(PROCESS._replace(shared=shared), [], NOTHING))

    assert found["shared_commands_total"] == {("ok",): 1.0, ("timeout",): 1.0, ("error",): 0.0, ("skipped",): 7.0}
    assert found["shared_command_duration_seconds_bucket"]["0.0005",] == 1.0
    assert found["shared_command_duration_seconds_count"] == {(): 2.0}
    assert found["shared_away"] == {(): 1.0}
    assert found["shared_deaf"] == {(): 0.0}
    assert parsed(text(PROCESS._replace(shared=SharedMetrics(deaf="why")), [], NOTHING))["shared_deaf"] == {(): 1.0}
    assert found["replicas"] == {(): 3.0}
    assert found["shared_tokens_taken_total"] == {(): 4.0}
    assert found["shared_slots_booked_total"] == {(): 5.0}
    assert found["shared_slots_given_back_total"] == {(): 1.0}
    assert not [name for name in alone if name.startswith(("shared", "replicas"))]


@given(label=st.text(max_size=20))
def test_whatever_stands_in_a_label_is_read_as_it_is(label: str) -> None:
    counted = NOTHING._replace(errors={("demo", label): 3})

    # The parser takes lines apart as Python does, not as the format says.
    assume(len(label.splitlines()) < 2 and label.splitlines(keepends=True) == label.splitlines())
    assert parsed(text(PROCESS, [], counted))["errors_total"] == {("demo", label): 3.0}


def test_what_the_process_uses_is_told_under_the_usual_names() -> None:
    families = text_string_to_metric_families(text(PROCESS, [], NOTHING).decode())
    found = {family.name: family.samples[0].value for family in families if family.name.startswith("process_")}

    assert found.keys() == {
        "process_cpu_seconds",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
    }
    assert 10_000_000 < found["process_resident_memory_bytes"] < found["process_virtual_memory_bytes"]


def test_where_nothing_is_known_of_the_process_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.admin.exposition.usage", lambda: None)

    assert b"process_" not in text(PROCESS, [], NOTHING)
    assert b"build_info" in text(PROCESS, [], NOTHING)
