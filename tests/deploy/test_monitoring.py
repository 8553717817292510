"""deploy/prometheus and deploy/grafana: promtool takes rules and queries, and each metric that they name exists."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.errors import ProxyError
from tests.deploy.metrics import METRICS, PREFIX, VALUES
from tests.deploy.places import DEPLOY, documents, run, tool

RULES = DEPLOY / "prometheus" / "rules.yaml"
RULES_TEST = DEPLOY / "prometheus" / "rules.test.yaml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
FILES = [RULES, RULES_TEST, DASHBOARD]
PROMTOOL = "Prometheus (Debian: the package prometheus)"
# What Prometheus adds to every metric.
OF_THE_TARGET = {"job", "instance"}


def alerts() -> list[dict[str, Any]]:
    [document] = documents(RULES)
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def selectors(text: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Every metric that a text names, and the labels it asks for with their values."""
    for name, braces in re.findall(rf"\b({PREFIX}\w+)(\{{[^}}]*\}})?", text.replace('\\"', '"')):
        yield name, re.findall(r'(\w+)\s*(?:=~|!=|!~|=)\s*"([^"]*)"', braces)


def metric(name: str) -> str:
    """The metric that a series belongs to: a histogram has three kinds of them."""
    whole = re.sub(r"_(bucket|sum|count)$", "", name)
    return whole if METRICS.get(whole, ("", ()))[0] == "histogram" else name


def codes(error: type[ProxyError] = ProxyError) -> set[str]:
    own = {error.code} if hasattr(error, "code") else set()
    return own.union(*(codes(each) for each in error.__subclasses__()))


def mistakes(text: str) -> list[str]:
    found = []
    values = {**VALUES, "code": codes()}
    for name, labels in selectors(text):
        kind, known = METRICS.get(metric(name), (None, frozenset[str]()))
        if kind is None:
            found.append(f"there is no metric {name}")
        elif kind == "histogram" and metric(name) == name:
            found.append(f"{name} is a histogram: ask for its _bucket, _sum or _count")
        for label, value in labels:
            if label not in known | OF_THE_TARGET:
                found.append(f"{name} has no label {label}")
            elif label in values and not set(value.split("|")) <= values[label]:
                found.append(f"{name} is never one of {label}={value}")
    return found


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_every_metric_and_label_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert len(list(selectors(text))) > 10
    assert mistakes(text) == []


@pytest.mark.parametrize(
    ("expression", "mistake"),
    [
        ('shop_auth_proxy_requests{job="x"}', "there is no metric shop_auth_proxy_requests"),
        ("shop_auth_proxy_draining_bucket", "there is no metric shop_auth_proxy_draining_bucket"),
        ("rate(shop_auth_proxy_pacing_wait_seconds[5m])", "is a histogram"),
        ('shop_auth_proxy_requests_total{code="500"}', "has no label code"),
        (r"shop_auth_proxy_requests_total{status=\"500\"}", "is never one of status=500"),
        ('shop_auth_proxy_errors_total{code="paced"}', "is never one of code=paced"),
    ],
)
def test_a_mistake_would_be_found(expression: str, mistake: str) -> None:
    [found] = mistakes(expression)

    assert mistake in found


def test_the_dashboard_shows_every_metric() -> None:
    shown = {metric(name) for name, _ in selectors(DASHBOARD.read_text(encoding="utf-8"))}

    assert shown == METRICS.keys()


def test_no_panel_lies_over_another_or_beyond_the_edge() -> None:
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels())
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_promtool_takes_the_rules_and_they_fire_when_they_should() -> None:
    promtool = tool("promtool", PROMTOOL)

    checked = run(promtool, "check", "rules", RULES)
    tested = run(promtool, "test", "rules", RULES_TEST.name, cwd=RULES_TEST.parent)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_shown_to_fire() -> None:
    [document] = documents(RULES_TEST)
    fired = {case["alertname"] for test in document["tests"] for case in test["alert_rule_test"] if case["exp_alerts"]}

    assert fired == {alert["alert"] for alert in alerts()}
    assert all(alert["labels"]["severity"] in {"warning", "critical"} for alert in alerts())


def test_promtool_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    as_rules = [
        {"record": "query", "expr": re.sub(r"\$\w+", "name", query.replace("$__rate_interval", "5m"))}
        | {"labels": {"number": str(number)}}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": as_rules}]}), encoding="utf-8")

    checked = run(tool("promtool", PROMTOOL), "check", "rules", file)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(as_rules)} rules found" in checked.stdout
