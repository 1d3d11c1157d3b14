"""The Kubernetes manifests, as Kustomize makes them of base, components and overlays: `make deploy-check`."""

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from palaver.shared.settings import Settings
from palaver.workers.pool.leaving import END_SECONDS
from tests.integration.deploy.tools import DEPLOY, check

pytestmark = pytest.mark.deploy

OVERLAYS = ("trial", "production")
MANIFEST = dict[str, Any]
COMPONENT = "app.kubernetes.io/component"
OTHERS = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1")
"""Resources that are not Kubernetes' own."""

PRIVATE = {"10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"}
SECRETS = {
    "palaver-worker": ["palaver-redis", "palaver-shared", "palaver-providers"],
    "palaver-gateway": ["palaver-redis", "palaver-shared"],
    "palaver-exporter": ["palaver-redis"],
}
OUT = {
    "worker": {53, 443, 6379},
    "gateway": {53, 443, 6379},
    "exporter": {53, 6379},
    "redis": set[int](),
}
SCRAPED = {"worker": 9464, "gateway": 8080, "exporter": 9463}

SCALED_OBJECT: MANIFEST = {
    # What is used here of KEDA's resource, as its specification has it (keda.sh, ScaledObject specification).
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "keda.sh/v1alpha1"},
        "kind": {"const": "ScaledObject"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["scaleTargetRef", "triggers"],
            "properties": {
                "scaleTargetRef": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}},
                },
                "minReplicaCount": {"type": "integer", "minimum": 0},
                "maxReplicaCount": {"type": "integer", "minimum": 1},
                "pollingInterval": {"type": "integer"},
                "cooldownPeriod": {"type": "integer"},
                "advanced": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"horizontalPodAutoscalerConfig": {"type": "object"}},
                },
                "triggers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["type", "metadata"],
                        "properties": {
                            "type": {"const": "prometheus"},
                            "name": {"type": "string"},
                            "metricType": {"enum": ["AverageValue", "Value"]},
                            "metadata": {
                                "type": "object",
                                "required": ["serverAddress", "query", "threshold"],
                                "additionalProperties": {"type": "string"},
                            },
                        },
                    },
                },
            },
        },
    },
}


@cache
def rendered(overlay: str) -> str:
    return check("kubectl", "kustomize", DEPLOY / "kustomize/overlays" / overlay)


def manifests(overlay: str, kind: str) -> dict[str, MANIFEST]:
    """Those of a kind, by name."""
    found = (document for document in yaml.safe_load_all(rendered(overlay)) if document["kind"] == kind)
    return {document["metadata"]["name"]: document for document in found}


def pods(overlay: str) -> dict[str, MANIFEST]:
    """The specifications of all pods."""
    owners = manifests(overlay, "Deployment") | manifests(overlay, "StatefulSet")
    return {name: owner["spec"]["template"]["spec"] for name, owner in owners.items()}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_knows_every_field(overlay: str, tmp_path: Path) -> None:
    known = [
        document for document in yaml.safe_load_all(rendered(overlay)) if document["apiVersion"] not in OTHERS
    ]
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(known))
    said = check("kubernetes-validate", "--strict", file)
    assert said.count("passed for resource") == len(known), said


def test_keda_knows_every_field_and_scales_a_deployment_that_leaves_its_number_to_it() -> None:
    (scaler,) = manifests("production", "ScaledObject").values()
    jsonschema_rs.validator_for(SCALED_OBJECT).validate(scaler)
    workers = manifests("production", "Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]
    assert "replicas" not in workers["spec"]
    for trigger in scaler["spec"]["triggers"]:
        assert trigger["metadata"]["ignoreNullValues"] == "false", "no answer would be taken for no work"
        assert trigger["metricType"] == "AverageValue", "it would be multiplied by the pods that are ready"


def test_the_scaler_fills_workers_to_seven_tenths() -> None:
    (scaler,) = manifests("production", "ScaledObject").values()
    load = next(trigger for trigger in scaler["spec"]["triggers"] if trigger["name"] == "load")
    assert float(load["metadata"]["threshold"]) == 0.7 * Settings().concurrency


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_no_rights_and_nothing_to_write_to(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"], name
            assert not rights["allowPrivilegeEscalation"], name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_worker_has_the_time_that_it_needs_to_drain(overlay: str) -> None:
    (settings,) = (
        map_["data"] for name, map_ in manifests(overlay, "ConfigMap").items() if "settings" in name
    )
    drains = int(settings["PALAVER_DRAIN_SECONDS"])
    for name in ("palaver-worker", "palaver-gateway"):
        assert pods(overlay)[name]["terminationGracePeriodSeconds"] >= drains + END_SECONDS + 5


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_pod_has_the_secrets_that_it_needs_and_they_stand_nowhere_else(overlay: str) -> None:
    for name, wanted in SECRETS.items():
        (container,) = pods(overlay)[name]["containers"]
        given = [source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source]
        keyless = overlay == "trial"
        assert given == [secret for secret in wanted if not (keyless and secret == "palaver-providers")], name
        assert all("valueFrom" not in variable for variable in container.get("env", [])), name
    made = manifests(overlay, "Secret")
    assert list(made) == (["palaver-redis"] if overlay == "trial" else [])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_image_is_of_a_version_and_may_be_on_the_node_already(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        for container in pod["containers"]:
            image, _, tag = container["image"].rpartition(":")
            assert tag not in ("", "latest"), f"{name}: it would be pulled each time"
            if image.rpartition("/")[2] == "palaver":
                assert container["imagePullPolicy"] == "IfNotPresent", name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_probe_has_its_time_and_only_readiness_depends_on_others(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        (container,) = pod["containers"]
        probes = {kind: container[kind] for kind in container if kind.endswith("Probe")}
        assert all(probe["timeoutSeconds"] >= 2 for probe in probes.values()), name
        if name != "palaver-redis":
            paths = {kind: probe["httpGet"]["path"] for kind, probe in probes.items()}
            started = {"startupProbe": "/startupz"} if name == "palaver-worker" else {}
            assert paths == {"readinessProbe": "/readyz", "livenessProbe": "/healthz"} | started


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_those_that_serve_are_evicted_one_by_one_and_a_node_can_always_be_emptied(overlay: str) -> None:
    budgets = manifests(overlay, "PodDisruptionBudget")
    assert budgets.keys() == {"palaver-worker", "palaver-gateway"}
    for budget in budgets.values():
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def opened(overlay: str, direction: str) -> dict[str, set[int]]:
    """The ports of each component that policies open; all others of it are closed."""
    found: dict[str, set[int]] = defaultdict(set)
    for policy in manifests(overlay, "NetworkPolicy").values():
        if direction.title() not in policy["spec"]["policyTypes"]:
            continue
        selector = policy["spec"]["podSelector"]
        components = [selector.get("matchLabels", {}).get(COMPONENT)]
        components += [name for each in selector.get("matchExpressions", []) for name in each["values"]]
        ports = {port["port"] for rule in policy["spec"].get(direction, []) for port in rule["ports"]}
        for component in filter(None, components):
            found[component] |= ports
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_reaches_what_it_needs_and_nothing_else(overlay: str) -> None:
    components = {name.removeprefix("palaver-") for name in pods(overlay)}
    assert {"redis": set()} | opened(overlay, "egress") == OUT
    inside = opened(overlay, "ingress")
    assert all(SCRAPED[name] in inside[name] for name in components - {"redis"})
    assert "redis" not in components or inside["redis"] == {6379}
    rules = [
        rule
        for policy in manifests(overlay, "NetworkPolicy").values()
        for rule in policy["spec"].get("egress", [])
    ]
    (outside,) = (peer["ipBlock"] for rule in rules for peer in rule.get("to", []) if _is_outside(peer))
    assert set(outside["except"]) == PRIVATE


def _is_outside(peer: MANIFEST) -> bool:
    return bool(peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0")


def test_the_operator_s_prometheus_scrapes_every_pod_of_ours_and_has_the_alerts() -> None:
    (monitor,) = manifests("production", "PodMonitor").values()
    (selector,) = monitor["spec"]["selector"]["matchExpressions"]
    scraped = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    for name, owner in manifests("production", "Deployment").items():
        template = owner["spec"]["template"]
        assert template["metadata"]["labels"][selector["key"]] in selector["values"], name
        (port,) = template["spec"]["containers"][0]["ports"]
        assert port["name"] in scraped, name
        assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"]), name
    assert manifests("production", "PrometheusRule").keys() == {"palaver"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_are_settings(overlay: str) -> None:
    """A misspelt variable would be a setting that is silently another."""
    named = {
        name
        for kind in ("ConfigMap", "Secret")
        for map_ in manifests(overlay, kind).values()
        for name in (*map_.get("data", {}), *map_.get("stringData", {}))
        if name.startswith("PALAVER_")
    }
    for pod in pods(overlay).values():
        named |= {
            variable["name"] for container in pod["containers"] for variable in container.get("env", [])
        }
    assert {name.removeprefix("PALAVER_").lower() for name in named} <= Settings.model_fields.keys()
