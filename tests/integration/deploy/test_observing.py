"""Alerts, dashboard and scaler ask for metrics that there are, in words that Prometheus understands."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from palaver.shared.metrics import EXPORTER, GATEWAY, WORKER
from tests.integration.deploy.tools import DEPLOY, check

PROMETHEUS = DEPLOY / "prometheus"
ALERTS: dict[str, Any] = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/palaver.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SCALER: dict[str, Any] = yaml.safe_load(
    (DEPLOY / "kustomize/components/keda/scaledobject.yaml").read_text(encoding="utf-8")
)
METRICS = {metric.name: metric for metric in (*EXPORTER, *GATEWAY, *WORKER)}
FOREIGN = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
"""Of Prometheus' client library."""


def expressions() -> Iterator[tuple[str, str]]:
    """Everything that Prometheus is asked, and where it stands."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for trigger in SCALER["spec"]["triggers"]:
        yield f"scaler {trigger['name']}", trigger["metadata"]["query"]


@pytest.mark.parametrize(
    ("where", "expression"), list(expressions()), ids=[where for where, _ in expressions()]
)
def test_what_is_asked_for_exists(where: str, expression: str) -> None:
    found = re.findall(r"\b((?:palaver|process|python)_\w+)(?:\{([^}]*)\})?", expression)
    assert found, f"{where} asks for nothing of ours"
    labels: set[str] = {"job", "instance"}
    for name, selector in found:
        if name in FOREIGN:
            continue
        metric = METRICS[name.removesuffix("_bucket") if name.endswith("_bucket") else name]
        assert (metric.kind == "histogram") == name.endswith("_bucket"), f"{where}: {name}"
        assert f"rate({name}" in expression or metric.kind == "gauge", f"{where}: {name} only ever rises"
        named = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert named <= {*metric.labels, "job"}, f"{where}: {name} has no such label"
        labels |= {*metric.labels, *(["le"] if metric.kind == "histogram" else [])}
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {word.strip() for word in group.split(",")} <= labels, f"{where}: by ({group})"


def test_prometheus_understands_all_of_it(tmp_path: Path) -> None:
    rules = [
        {"record": f"asked:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, (_, expression) in enumerate(expressions())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    assert f"{len(rules)} rules found" in check("promtool", "check", "rules", file, package="prometheus")
    check("promtool", "check", "config", PROMETHEUS / "prometheus.yaml", package="prometheus")


def test_alerts_fire_when_they_should_and_only_then() -> None:
    check("promtool", "test", "rules", "alerts_test.yaml", package="prometheus", cwd=PROMETHEUS)


def test_kubernetes_has_the_same_alerts() -> None:
    kubernetes = DEPLOY / "kustomize/components/prometheus-operator/prometheusrule.yaml"
    rule = yaml.safe_load(kubernetes.read_text(encoding="utf-8"))
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["spec"] == ALERTS, "run `make schema`"


WANTED: dict[str, tuple[dict[str, float], dict[str, int]]] = {
    # what the exporter tells, and the workers that each trigger wants for it
    "idle": ({"workers": 2}, {"load": 0, "age": 0}),
    "1,300 streams, 150 that wait": ({"workers": 2, "streams": 1300, "messages": 150}, {"load": 3, "age": 0}),
    "lines of batches fill both": ({"workers": 2, "streams": 2, "lines": 2000}, {"load": 3, "age": 0}),
    "short jobs wait for 30 s": ({"workers": 4, "age": 30, "messages": 90}, {"load": 1, "age": 8}),
    "nobody is there": ({"workers": 0, "age": 60, "messages": 3}, {"load": 1, "age": 4}),
}
SERIES = {
    "workers": 'palaver_workers{state="live"}',
    "streams": 'palaver_worker_streams{worker="a"}',
    "lines": 'palaver_batch_lines{state="running"}',
    "messages": 'palaver_queue_messages{queue="normal"}',
    "age": 'palaver_queue_oldest_age_seconds{queue="normal"}',
}


def test_the_scaler_wants_what_its_formula_says(tmp_path: Path) -> None:
    triggers = {trigger["name"]: trigger["metadata"] for trigger in SCALER["spec"]["triggers"]}
    rules = [
        {"record": f"wanted:{name}", "expr": f"ceil(({told['query']}) / {told['threshold']})"}
        for name, told in triggers.items()
    ]
    scenes = [_scene(name, *scene) for name, scene in WANTED.items()]
    # Redis is away: no answer, so that the number stays as it is.
    scenes.append(_scene("away", {"messages": 5}, {"load": None, "age": None}, only=["messages"]))
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": scenes}))
    check("promtool", "test", "rules", file, package="prometheus")


def _scene(
    name: str, told: dict[str, float], wanted: Mapping[str, int | None], only: Iterable[str] = SERIES
) -> dict[str, Any]:
    def asked(trigger: str, value: int | None) -> dict[str, Any]:
        samples = [] if value is None else [{"labels": f"wanted:{trigger}", "value": value}]
        return {"expr": f"wanted:{trigger}", "eval_time": "2m", "exp_samples": samples}

    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": SERIES[what], "values": f"{told.get(what, 0)}x5"} for what in only],
        "promql_expr_test": [asked(trigger, value) for trigger, value in wanted.items()],
    }


def test_every_alert_has_both_tests_a_severity_and_a_runbook() -> None:
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    names = [rule["alert"] for rule in RULES]
    held = dict.fromkeys((test["name"].split()[0], " fires" in test["name"]) for test in tests)
    assert list(held) == [(name, fires) for name in names for fires in (True, False)]
    for test in tests:
        (asked,) = test["promql_expr_test"]
        assert f'alertname="{test["name"].partition(" ")[0]}"' in asked["expr"]
        assert bool(asked["exp_samples"]) == (" fires" in test["name"])
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"].keys() == {"summary", "runbook"}
    page = (PROMETHEUS / "README.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in page] == []


def test_the_dashboard_is_one_that_grafana_shows() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    spaces = [panel["gridPos"] for panel in PANELS]
    assert all(space["x"] + space["w"] <= 24 for space in spaces)
    assert not [pair for pair in combinations(spaces, 2) if _overlap(*pair)]
    provisioned = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text(encoding="utf-8")
    )
    (source,) = provisioned["datasources"]
    used = {target["datasource"]["uid"] for panel in PANELS for target in panel.get("targets", [])}
    assert used == {source["uid"]}


def test_nearly_all_metrics_are_shown_or_watched() -> None:
    """A metric that nobody looks at is one too many, or a panel too few."""
    asked = " ".join(expression for _, expression in expressions())
    unseen = {name for name in METRICS if not re.search(rf"\b{name}(_bucket)?\b", asked)}
    assert unseen <= {
        "palaver_worker_info",
        "palaver_live_streams",  # by profile, beside palaver_worker_streams
        "palaver_slots",  # as palaver_worker_slots
        "palaver_attempts_total",
        "palaver_queue_canary_wait_seconds",
    }


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )
