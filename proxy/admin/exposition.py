"""The numbers as Prometheus reads them, in its text format 0.0.4.

Rules: names, labels and help are here and nowhere else; dashboards are built on them, so that they don't change. The
text comes in pieces of a shop each, see `making.py`; that is why it is written here and not by Prometheus's library,
which makes it all at once.
"""

import platform
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from proxy.admin.own_process import usage
from proxy.admin.sources import BudgetNow, CountersNow, Glimpse, ProcessNow
from proxy.telemetry.metrics import ErrandMetrics, SharedMetrics
from proxy.telemetry.traffic import Histogram
from proxy.tokens.status import Condition

PREFIX: Final = "shop_auth_proxy_"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def exposition(process: ProcessNow, shops: Iterable[Glimpse], counters: CountersNow) -> Iterator[str]:
    """Yield the text in pieces."""
    yield from _of_process(process, counters)
    yield from _of_budgets(counters.budgets)
    yield from _of_requests(counters)
    yield from _of_tokens(shops, counters)
    if process.shared is not None:
        yield from _of_sharing(process.shared)
    yield from _of_usage()


def _of_process(process: ProcessNow, counters: CountersNow) -> Iterator[str]:
    yield _head("build_info", "gauge", "Always 1; the labels say which version is running.")
    yield _sample("build_info", 1, version=process.version, python=platform.python_version())
    for name, words, value in (
        ("requests_in_flight", "Requests being served.", process.in_flight),
        ("client_connections", "Open client connections.", process.connections),
        ("draining", "1 while the proxy is shutting down.", process.phase == "draining"),
        (
            "config_last_reload_successful",
            "0 if the configuration was changed and has problems, else 1.",
            process.last_reload_successful,
        ),
    ):
        yield _head(name, "gauge", words) + _sample(name, value)
    connections = counters.connections
    for name, words, count in (
        ("client_connections_refused_total", "Connections refused: all places were in use.", connections.refused),
        (
            "client_connections_displaced_total",
            "Idle connections closed to make room for others.",
            connections.displaced,
        ),
        ("failed_handshakes_total", "Failed TLS handshakes with clients.", connections.failed_handshakes),
        ("log_lines_lost_total", "Log lines dropped because nothing read them in time.", counters.log.lost),
    ):
        yield _head(name, "counter", words) + _sample(name, count)
    yield from _of_errands(counters.errands)
    yield _head("config_reloads_total", "counter", "Reloads of the configuration, by outcome.")
    for outcome in ("successful", "failed"):
        yield _sample("config_reloads_total", counters.reloads.get(outcome, 0), outcome=outcome)
    yield _head(
        "config_last_reload_success_timestamp_seconds",
        "gauge",
        "When the configuration in use was loaded, in seconds since 1970.",
    ) + _sample("config_last_reload_success_timestamp_seconds", process.configured_at)
    if process.certificate_expires_at is not None:
        yield _head(
            "listener_certificate_expiry_timestamp_seconds",
            "gauge",
            "When the certificate shown to clients expires, in seconds since 1970.",
        ) + _sample("listener_certificate_expiry_timestamp_seconds", process.certificate_expires_at)
    yield _head("errors_total", "counter", "The proxy's own error answers, by shop and code.")
    for (shop, code), number in counters.errors.items():
        yield _sample("errors_total", number, shop=shop, code=code)
    yield _head(
        "client_requests_total",
        "counter",
        "Requests by client and status class; the empty client is for those refused without one.",
    )
    for client, numbers in counters.clients.items():
        for status, number in numbers.requests.items():
            yield _sample("client_requests_total", number, client=client, status=status)
    yield _head("client_errors_total", "counter", "The proxy's own error answers, by client and code.")
    for client, numbers in counters.clients.items():
        for code, number in numbers.errors.items():
            yield _sample("client_errors_total", number, client=client, code=code)


def _of_errands(errands: ErrandMetrics) -> Iterator[str]:
    for name, words, count in (
        (
            "collapsed_total",
            "Requests answered together with an identical one, by one call to the platform.",
            errands.collapsed,
        ),
        ("batches_total", "Answered batches of requests that were waiting in line.", errands.batches),
        ("batched_total", "Requests answered from such batches.", errands.batched),
    ):
        yield _head(name, "counter", words) + _sample(name, count)
    yield _head(
        "batches_failed_total",
        "counter",
        "Batches without a usable answer, whose requests had to be sent otherwise, by reason.",
    )
    for why, number in errands.failed_batches.items():
        yield _sample("batches_failed_total", number, why=why)


def _of_budgets(budgets: Iterable[BudgetNow]) -> Iterator[str]:
    yield _head("budget_used", "gauge", "How much of each shared budget is in use; memory and spool in bytes.")
    for each in budgets:
        yield _sample("budget_used", each.used, budget=each.name)
    yield _head("budget_limit", "gauge", "The size of each shared budget; memory and spool in bytes.")
    for each in budgets:
        yield _sample("budget_limit", each.limit, budget=each.name)
    yield _head(
        "budget_refused_total",
        "counter",
        "How often a shared budget had too little left, for all or for one client or shop.",
    )
    for each in budgets:
        for whose, count in each.refused.items():
            yield _sample("budget_refused_total", count, budget=each.name, whose=whose)


def _of_requests(counters: CountersNow) -> Iterator[str]:
    traffic = counters.traffic.items()
    yield _head(
        "requests_total",
        "counter",
        "Finished requests, by method and status class; none: the client left before an answer.",
    )
    for shop, numbers in traffic:
        yield "".join(
            _sample("requests_total", count, shop=shop, method=method, status=status)
            for (method, status), count in numbers.requests.items()
        )
    for name, words, counted in (
        ("request_body_bytes_total", "Bytes of request bodies.", "bytes_in"),
        ("response_body_bytes_total", "Bytes of response bodies.", "bytes_out"),
        ("upstream_attempts_total", "Requests sent to the platform.", "attempts"),
        ("throttled_total", "429 answers from the platform.", "throttled"),
        ("dropped_fields_total", "Header fields of the platform dropped for invalid names.", "dropped_fields"),
    ):
        yield _head(name, "counter", words)
        sample = f'{PREFIX}{name}{{shop="%s"}} %d\n'
        for shop, numbers in traffic:
            yield sample % (_escaped(shop), getattr(numbers, counted))
    yield _head(
        "batch_parts_failed_total", "counter", "Calls within batches that the platform answered with 401 or 429."
    )
    for shop, numbers in traffic:
        for part, count in numbers.inner.items():
            yield _sample("batch_parts_failed_total", count, shop=shop, status=str(part))
    for name, words, measured in (
        ("request_duration_seconds", "Time from a request's head to the end of its answer.", "duration"),
        (
            "added_latency_seconds",
            "Time from a request's head to the beginning of the platform's answer, without the platform's own time:"
            " tokens, rate limits, small request bodies, and the proxy's own work.",
            "added",
        ),
        (
            "upstream_duration_seconds",
            "Time from sending a request to the beginning of the platform's answer, all attempts together.",
            "upstream",
        ),
        (
            "pacing_wait_seconds",
            "Time that requests waited for the platform's rate limit; 0 for those that did not wait.",
            "paced",
        ),
    ):
        yield _head(name, "histogram", words)
        for shop, numbers in traffic:
            yield _histogram(name, getattr(numbers, measured), f'shop="{_escaped(shop)}"')


def _of_tokens(shops: Iterable[Glimpse], counters: CountersNow) -> Iterator[str]:
    tokens = counters.tokens
    yield _head("token_requests_total", "counter", "Token requests, by outcome.")
    for (label, outcome), count in tokens.requests.items():
        yield _sample("token_requests_total", count, shop=label, outcome=outcome)
    yield _head(
        "unauthorized_total",
        "counter",
        "401 answers from the platform, by entry of the configuration and by what the proxy did next.",
    )
    for (entry, reaction), count in tokens.unauthorized.items():
        yield _sample("unauthorized_total", count, shop=entry, reaction=reaction)
    yield _head("token_waits_total", "counter", "Requests that waited for a token.")
    yield _sample("token_waits_total", tokens.waits)
    yield _head("token_wait_seconds_total", "counter", "Time that requests waited for tokens.")
    yield _sample("token_wait_seconds_total", tokens.waited_seconds)
    # The samples of a metric have to stand together, and one look at each shop is enough.
    age = [_head("token_age_seconds", "gauge", "Time since the token was requested.")]
    left = [_head("token_expires_in_seconds", "gauge", "Time until the token expires.")]
    state = [
        _head(
            "token_state", "gauge", "1 for the token's current state, by the endpoint's last answer, 0 for the others."
        )
    ]
    queue = [_head("pacing_queue", "gauge", "Requests waiting for the rate limit.")]
    for name, token, waiting in shops:
        label = f'shop="{_escaped(name)}"'
        if waiting is not None:
            queue.append(f"{PREFIX}pacing_queue{{{label}}} {waiting}\n")
        if token is not None:
            state.append(
                "".join(
                    [
                        f'{PREFIX}token_state{{{label},state="{each}"}} {token.condition is each:d}\n'
                        for each in Condition
                    ]
                )
            )
            if token.age is not None and token.left is not None:
                age.append(f"{PREFIX}token_age_seconds{{{label}}} {token.age!r}\n")
                left.append(f"{PREFIX}token_expires_in_seconds{{{label}}} {token.left!r}\n")
        yield ""
    for texts in (age, left, state, queue):
        yield from texts


def _of_sharing(shared: SharedMetrics) -> Iterator[str]:
    yield _head("shared_commands_total", "counter", "Commands sent to the Redis that the replicas share.")
    for outcome in ("ok", "timeout", "error", "skipped"):
        yield _sample("shared_commands_total", shared.commands[outcome], outcome=outcome)
    name = "shared_command_duration_seconds"
    yield _head(name, "histogram", "Time that these commands took, without those skipped while Redis was away.")
    yield _histogram(name, shared.seconds)
    for name, kind, words, value in (
        ("shared_away", "gauge", "1 while this replica works without Redis.", shared.away),
        ("shared_deaf", "gauge", "1 while this replica can't hear of 429s from other replicas.", bool(shared.deaf)),
        ("replicas", "gauge", "Replicas that share tokens and rate limits, as last seen.", shared.replicas),
        ("shared_tokens_taken_total", "counter", "Tokens taken over from another replica.", shared.tokens_taken),
        ("shared_slots_booked_total", "counter", "Rate-limit slots booked.", shared.slots_booked),
        (
            "shared_slots_given_back_total",
            "counter",
            "Booked rate-limit slots given back unused.",
            shared.slots_given_back,
        ),
    ):
        yield _head(name, kind, words) + _sample(name, value)


def _of_usage() -> Iterator[str]:
    used = usage()
    if used is None:
        return
    for name, kind, words, value in (
        ("virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", used.virtual_memory),
        ("resident_memory_bytes", "gauge", "Resident memory size in bytes.", used.resident_memory),
        ("cpu_seconds_total", "counter", "CPU time used, user and system, in seconds.", used.processor_time),
        ("start_time_seconds", "gauge", "When the process started, in seconds since 1970.", used.started_at),
        ("open_fds", "gauge", "Open file descriptors.", used.open_files),
        ("max_fds", "gauge", "Maximum number of open file descriptors.", used.most_files),
    ):
        yield _head(name, kind, words, prefix="process_") + f"process_{name} {_number(value)}\n"


def _head(name: str, kind: str, words: str, prefix: str = PREFIX) -> str:
    return f"# HELP {prefix}{name} {words}\n# TYPE {prefix}{name} {kind}\n"


def _sample(name: str, value: float, **labels: str) -> str:
    pairs = ",".join([f'{label}="{_escaped(text)}"' for label, text in labels.items()])
    return f"{PREFIX}{name}{f'{{{pairs}}}' if pairs else ''} {_number(value)}\n"


def _histogram(name: str, histogram: Histogram, label: str = "") -> str:
    bucket = f'{PREFIX}{name}_bucket{{{label}{label and ","}le="'
    labels = label and f"{{{label}}}"
    counts = list(accumulate(histogram.counts))  # each bucket holds what is in those below it too
    if not counts[-1]:
        return ""  # such as the waits of a shop without a rate limit
    lines = [f'{bucket}{bound}"}} {count}\n' for bound, count in zip(histogram.bounds, counts, strict=False)]
    return (
        f'{"".join(lines)}{bucket}+Inf"}} {counts[-1]}\n'
        f"{PREFIX}{name}_sum{labels} {histogram.sum!r}\n{PREFIX}{name}_count{labels} {counts[-1]}\n"
    )


def _escaped(text: str) -> str:
    if '"' in text or "\\" in text or "\n" in text:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return text


def _number(value: float) -> str:
    """Return a number as Prometheus reads it; true and false are 1 and 0."""
    return repr(int(value) if isinstance(value, bool) else value)
