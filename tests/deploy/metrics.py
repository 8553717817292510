"""The metrics of the proxy, as its alert rules and its dashboard may name them.

Rules: the one list for tests/deploy. Where the proxy itself has such a list, this one is to be taken from there.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

PREFIX: Final = "shop_auth_proxy_"
# What each metric is, and its labels.
METRICS: Final[Mapping[str, tuple[str, frozenset[str]]]] = MappingProxyType(
    {
        PREFIX + name: (kind, frozenset(labels))
        for name, kind, labels in (
            ("requests_total", "counter", ("shop", "method", "status")),
            ("request_duration_seconds", "histogram", ("shop",)),
            ("added_latency_seconds", "histogram", ("shop",)),
            ("request_body_bytes_total", "counter", ("shop",)),
            ("response_body_bytes_total", "counter", ("shop",)),
            ("upstream_attempts_total", "counter", ("shop",)),
            ("requests_in_flight", "gauge", ()),
            ("token_requests_total", "counter", ("shop", "outcome")),
            ("token_age_seconds", "gauge", ("shop",)),
            ("token_expires_in_seconds", "gauge", ("shop",)),
            ("token_state", "gauge", ("shop", "state")),
            ("pacing_wait_seconds", "histogram", ("shop",)),
            ("pacing_queue", "gauge", ("shop",)),
            ("throttled_total", "counter", ("shop",)),
            ("errors_total", "counter", ("shop", "code")),
            ("client_requests_total", "counter", ("client", "status")),
            ("client_errors_total", "counter", ("client", "code")),
            ("upstream_duration_seconds", "histogram", ("shop",)),
            ("config_last_reload_success_timestamp_seconds", "gauge", ()),
            ("listener_certificate_expiry_timestamp_seconds", "gauge", ()),
            ("client_connections", "gauge", ()),
            ("client_connections_refused_total", "counter", ()),
            ("client_connections_displaced_total", "counter", ()),
            ("failed_handshakes_total", "counter", ()),
            ("log_lines_lost_total", "counter", ()),
            ("budget_used", "gauge", ("budget",)),
            ("budget_limit", "gauge", ("budget",)),
            ("budget_refused_total", "counter", ("budget", "whose")),
            ("unauthorized_total", "counter", ("shop", "reaction")),
            ("token_waits_total", "counter", ()),
            ("token_wait_seconds_total", "counter", ()),
            ("config_reloads_total", "counter", ("outcome",)),
            ("config_last_reload_successful", "gauge", ()),
            ("build_info", "gauge", ("version", "python")),
            ("draining", "gauge", ()),
            ("replicas", "gauge", ()),
            ("shared_away", "gauge", ()),
            ("shared_deaf", "gauge", ()),
            ("shared_commands_total", "counter", ("outcome",)),
            ("shared_command_duration_seconds", "histogram", ()),
            ("shared_tokens_taken_total", "counter", ()),
            ("shared_slots_booked_total", "counter", ()),
            ("shared_slots_given_back_total", "counter", ()),
        )
    }
)
# The values of labels that rules and dashboard may ask for.
VALUES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "state": frozenset({"good", "refreshing", "refused", "unreachable", "none"}),
        "reaction": frozenset({"late", "replace", "not_permitted", "later", "leave"}),
        "outcome": frozenset({"granted", "refused", "unreachable", "ok", "timeout", "error", "skipped"}),
        "whose": frozenset({"all", "client", "shop"}),
        "status": frozenset({"1xx", "2xx", "3xx", "4xx", "5xx"}),
    }
)
