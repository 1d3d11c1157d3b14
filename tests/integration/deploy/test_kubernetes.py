"""The Kubernetes manifests, as Kustomize makes them of base, components and overlays."""

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from palaver.shared.settings import Settings
from tests.integration.deploy.tools import DEPLOY, check

OVERLAYS = ("trial", "production")
HAND_OVER_SECONDS = 5
MANIFEST = dict[str, Any]

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
        document
        for document in yaml.safe_load_all(rendered(overlay))
        if document["apiVersion"] != "keda.sh/v1alpha1"
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
    assert all(
        trigger["metadata"]["ignoreNullValues"] == "false" for trigger in scaler["spec"]["triggers"]
    ), "no answer would be taken for no work"


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
        assert pods(overlay)[name]["terminationGracePeriodSeconds"] >= drains + HAND_OVER_SECONDS + 5


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_referred_to_and_stand_nowhere_else(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        for container in pod["containers"]:
            if container["image"].rpartition("/")[2].partition(":")[0] == "palaver":
                assert {"secretRef": {"name": "palaver-secrets"}} in container["envFrom"], name
    made = manifests(overlay, "Secret")
    assert list(made) == (["palaver-secrets"] if overlay == "trial" else [])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_behind_a_network_policy_and_those_that_serve_are_evicted_one_by_one(
    overlay: str,
) -> None:
    guarded: set[str] = set()
    for policy in manifests(overlay, "NetworkPolicy").values():
        selector = policy["spec"]["podSelector"]
        guarded |= {selector.get("matchLabels", {}).get("app.kubernetes.io/component", "")}
        for expression in selector.get("matchExpressions", []):
            guarded |= set(expression["values"])
    assert {name.removeprefix("palaver-") for name in pods(overlay)} <= guarded
    budgets = manifests(overlay, "PodDisruptionBudget")
    assert budgets.keys() == {"palaver-worker", "palaver-gateway"}
    assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets.values())


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
