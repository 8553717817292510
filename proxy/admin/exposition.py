"""The numbers as Prometheus reads them: its text format, by its own library.

Rules: names, labels and help are here and nowhere else; dashboards are built on them, so that they don't change. The
library is imported when it is first needed: that takes as long as a fifth of the start.
"""

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from proxy.admin.sources import CountersNow, ProcessNow, ShopNow
from proxy.telemetry.traffic import Histogram
from proxy.tokens.status import Condition

if TYPE_CHECKING:
    from prometheus_client import Metric

PREFIX: Final = "shop_auth_proxy_"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def exposition(process: ProcessNow, shops: list[ShopNow], counters: CountersNow) -> bytes:
    """Return the numbers in the text format 0.0.4."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest  # noqa: PLC0415 - see above

    registry = CollectorRegistry()
    registry.register(_Collector(process, shops, counters))
    ProcessCollector(registry=registry)  # memory, processor time, open files
    return generate_latest(registry)


class _Collector:
    def __init__(self, process: ProcessNow, shops: list[ShopNow], counters: CountersNow) -> None:
        self._process = process
        self._shops = shops
        self._counters = counters

    def describe(self) -> list["Metric"]:
        """Return nothing: a registry of one's own has no names to keep apart."""
        return []

    def collect(self) -> Iterator["Metric"]:
        yield from _of_process(self._process, self._counters)
        yield from _of_requests(self._counters)
        yield from _of_tokens(self._shops, self._counters)


def _of_process(process: ProcessNow, counters: CountersNow) -> Iterator["Metric"]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - see above

    build = GaugeMetricFamily(
        PREFIX + "build_info", "Always 1; the labels say what runs.", labels=["version", "python"]
    )
    build.add_metric([process.version, platform.python_version()], 1)
    yield build
    for name, words, value in (
        ("requests_in_flight", "Requests that are being served.", process.in_flight),
        ("client_connections", "Open connections of clients.", process.connections),
        ("draining", "1 while the proxy is about to stop.", process.phase == "draining"),
        (
            "config_last_reload_successful",
            "1 unless the configuration was changed and has problems.",
            process.last_reload_successful,
        ),
    ):
        yield GaugeMetricFamily(PREFIX + name, words, value=float(value))
    connections = counters.connections
    for name, words, count in (
        ("client_connections_refused", "Connections that got no place: all were in use.", connections.refused),
        (
            "client_connections_displaced",
            "Connections without a request that made room for others.",
            connections.displaced,
        ),
        ("failed_handshakes", "Connections on which TLS did not come about.", connections.failed_handshakes),
    ):
        yield CounterMetricFamily(PREFIX + name, words, value=count)
    reloads = CounterMetricFamily(PREFIX + "config_reloads", "Configurations that were read anew.", labels=["outcome"])
    for outcome in ("successful", "failed"):
        reloads.add_metric([outcome], counters.reloads.get(outcome, 0))
    yield reloads
    errors = CounterMetricFamily(PREFIX + "errors", "Answers of the proxy's own, by their code.", labels=["code"])
    for code, number in counters.errors.items():
        errors.add_metric([code], number)
    yield errors


def _of_requests(counters: CountersNow) -> Iterator["Metric"]:
    from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily  # noqa: PLC0415 - see above

    traffic = counters.traffic.items()
    requests = CounterMetricFamily(
        PREFIX + "requests",
        "Requests that have come to their end, by method and class of status; none: the client left before an answer.",
        labels=["shop", "method", "status"],
    )
    for shop, numbers in traffic:
        for (method, status), count in numbers.requests.items():
            requests.add_metric([shop, method, status], count)
    yield requests
    for name, words, values in (
        ("request_body_bytes", "Bytes of request bodies.", [(shop, each.bytes_in) for shop, each in traffic]),
        ("response_body_bytes", "Bytes of response bodies.", [(shop, each.bytes_out) for shop, each in traffic]),
        ("upstream_attempts", "Requests to the platform.", [(shop, each.attempts) for shop, each in traffic]),
        ("throttled", "429 answers of the platform.", [(shop, each.throttled) for shop, each in traffic]),
        (
            "dropped_fields",
            "Header fields of the platform with impossible names.",
            [(shop, each.dropped_fields) for shop, each in traffic],
        ),
    ):
        counter = CounterMetricFamily(PREFIX + name, words, labels=["shop"])
        for shop, value in values:
            counter.add_metric([shop], value)
        yield counter
    inner = CounterMetricFamily(
        PREFIX + "batch_parts_failed",
        "Calls in batches that the platform answered 401 or 429.",
        labels=["shop", "status"],
    )
    for shop, numbers in traffic:
        for part, count in numbers.inner.items():
            inner.add_metric([shop, str(part)], count)
    yield inner
    for name, words, histograms in (
        (
            "request_duration_seconds",
            "From a request's head to the end of its answer.",
            [(shop, each.duration) for shop, each in traffic],
        ),
        (
            "added_latency_seconds",
            "From a request's head to the beginning of the platform's answer, without the time spent on the platform:"
            " tokens, rate limits, small request bodies, and the proxy's own work.",
            [(shop, each.added) for shop, each in traffic],
        ),
        (
            "pacing_wait_seconds",
            "How long requests waited for the platform's rate limit; those that did not wait count with 0.",
            [(shop, each.paced) for shop, each in traffic],
        ),
    ):
        family = HistogramMetricFamily(PREFIX + name, words, labels=["shop"])
        for shop, histogram in histograms:
            family.add_metric([shop], buckets(histogram), histogram.sum)
        yield family


def _of_tokens(shops: list[ShopNow], counters: CountersNow) -> Iterator["Metric"]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - see above

    requests = CounterMetricFamily(
        PREFIX + "token_requests", "Token requests by what came of them.", labels=["shop", "outcome"]
    )
    for (label, outcome), count in counters.tokens.requests.items():
        requests.add_metric([label, outcome], count)
    unauthorized = CounterMetricFamily(
        PREFIX + "unauthorized",
        "401s of the platform, by entry of the configuration and by what followed.",
        labels=["shop", "reaction"],
    )
    for (entry, reaction), count in counters.tokens.unauthorized.items():
        unauthorized.add_metric([entry, reaction], count)
    yield from (requests, unauthorized)
    yield CounterMetricFamily(PREFIX + "token_waits", "Requests that waited for a token.", value=counters.tokens.waits)
    yield CounterMetricFamily(
        PREFIX + "token_wait_seconds", "How long requests waited for tokens.", value=counters.tokens.waited_seconds
    )
    age = GaugeMetricFamily(PREFIX + "token_age_seconds", "Since the token was asked for.", labels=["shop"])
    left = GaugeMetricFamily(PREFIX + "token_expires_in_seconds", "Until the token's end.", labels=["shop"])
    state = GaugeMetricFamily(
        PREFIX + "token_state", "1 for what is so; the endpoint's last word counts.", labels=["shop", "state"]
    )
    queue = GaugeMetricFamily(PREFIX + "pacing_queue", "Requests that wait for the rate limit.", labels=["shop"])
    for shop in shops:
        queue.add_metric([shop.name], shop.queue)
        if shop.token is None:
            continue
        for condition in Condition:
            state.add_metric([shop.name, condition.value], shop.token.condition is condition)
        if shop.token.age is not None and shop.token.left is not None:
            age.add_metric([shop.name], shop.token.age)
            left.add_metric([shop.name], shop.token.left)
    yield from (age, left, state, queue)


def buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return the cumulative buckets as the library takes them."""
    total, pairs = 0, []
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        total += count
        pairs.append((bound, float(total)))
    return pairs
