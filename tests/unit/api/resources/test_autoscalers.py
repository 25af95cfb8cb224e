"""HorizontalPodAutoscalers: what they may be, defaults of behavior, and what v1 keeps of v2."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.api.resources.autoscaling import default, targets
from sampan.api.resources.autoscaling_versions import to_v1, to_v2

from .conftest import causes, changed, declared

HPA = declared("HorizontalPodAutoscaler", "autoscaling", "v2")
GOOD: dict[str, Any] = {
    "apiVersion": "autoscaling/v2",
    "metadata": {"name": "h"},
    "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
}
MEMORY = {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}
QUEUE = {
    "type": "External",
    "external": {
        "metric": {"name": "queue", "selector": {"matchLabels": {"a": "b"}}},
        "target": {"type": "AverageValue", "averageValue": "30"},
    },
}


def test_a_good_one_has_no_complaint() -> None:
    assert causes(HPA, GOOD) == {}


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("spec.minReplicas", 0, "spec.minReplicas", "Invalid value: 0: must be greater than or equal to 1"),
        ("spec.minReplicas", 5, "spec.maxReplicas", "Invalid value: 3: must be greater than or equal to `minReplicas`"),
        ("spec.maxReplicas", None, "spec.maxReplicas", None),
        ("spec.scaleTargetRef.name", None, "spec.scaleTargetRef.name", "Required value"),
        ("spec.metrics", [{"type": "Pods"}], "spec.metrics[0].pods",
         "Required value: must populate information for the given metric source"),
        ("spec.metrics", [{"type": "Disk"}], "spec.metrics[0].type",
         'Unsupported value: "Disk": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"'),
        ("spec.metrics", [changed(MEMORY, "resource.target.averageValue", "0")],
         "spec.metrics[0].resource.target.averageValue", 'Invalid value: "0": must be positive'),
        ("spec.metrics", [{**MEMORY, **QUEUE, "type": "Resource"}], "spec.metrics[0].external",
         "Forbidden: must populate the given metric source only"),
        ("spec.behavior", {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}},
         "spec.behavior.scaleUp.policies[0].periodSeconds",
         "Invalid value: 1801: must be less than or equal to 1800"),
        ("spec.behavior", {"scaleDown": {"selectPolicy": "Some"}}, "spec.behavior.scaleDown.selectPolicy",
         'Unsupported value: "Some": supported values: "Disabled", "Max", "Min"'),
    ],
)  # fmt: skip
def test_one_wrong_thing(path: str, value: Any, field: str, message: str | None) -> None:
    found = causes(HPA, changed(GOOD, path, value))
    assert field in found and (message is None or found[field] == message), found


def test_a_behavior_is_made_whole() -> None:
    made = changed(GOOD, "spec.behavior", {"scaleDown": {"stabilizationWindowSeconds": 5}})
    default(made)
    percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
    assert made["spec"]["behavior"] == {
        "scaleDown": {"stabilizationWindowSeconds": 5, "selectPolicy": "Max", "policies": [percent]},
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, percent],
        },
    }


def test_v1_loses_nothing() -> None:
    stored = changed(GOOD, "spec.metrics", [MEMORY, QUEUE])
    stored["spec"] |= {"minReplicas": 1, "behavior": {"scaleUp": {"selectPolicy": "Max"}}}
    stored["status"] = {"conditions": [{"type": "AbleToScale", "status": "True"}], "desiredReplicas": 1}
    old = copy.deepcopy(stored) | {"apiVersion": "autoscaling/v1"}
    to_v1(old)
    assert "metrics" not in old["spec"] and "conditions" not in old["status"]
    assert set(old["metadata"]["annotations"]) == {
        "autoscaling.alpha.kubernetes.io/metrics",
        "autoscaling.alpha.kubernetes.io/behavior",
        "autoscaling.alpha.kubernetes.io/conditions",
    }
    assert targets(old) == "memory: <unknown>/1Gi, <unknown>/30 (avg)"
    to_v2(old)
    assert old | {"apiVersion": "autoscaling/v2"} == stored


@pytest.mark.parametrize("text", ["{", "[1]", '[{"type":"Pods","pods":{"targetAverageValue":{}}}]', '{"scaleUp":1}'])
def test_annotations_that_make_no_sense_are_left_out(text: str) -> None:
    notes = {f"autoscaling.alpha.kubernetes.io/{key}": text for key in ("metrics", "behavior", "conditions")}
    old = {**GOOD, "apiVersion": "autoscaling/v1", "metadata": {"name": "h", "annotations": notes}, "status": {}}
    assert causes(declared("HorizontalPodAutoscaler", "autoscaling", "v1"), old) == {}


def test_the_beta_version_is_deprecated() -> None:
    beta = declared("HorizontalPodAutoscaler", "autoscaling", "v2beta2", minor=25)
    assert beta.deprecated == (
        "autoscaling/v2beta2 HorizontalPodAutoscaler is deprecated in v1.23+, unavailable in v1.26+; use autoscaling/v2 "
        "HorizontalPodAutoscaler"
    )


def test_metrics_are_refused_as_kubernetes_does() -> None:
    def told(metric: dict[str, Any]) -> dict[str, str]:
        return causes(HPA, changed(GOOD, "spec.metrics", [metric]))

    at = "spec.metrics[0]"
    assert list(told({**MEMORY, "type": "Pods"})) == [f"{at}.pods"], "one of another kind alone is not forbidden"
    assert told({"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "1"}}}) == {
        f"{at}.resource.target.type": "Required value: must specify a metric target type | "
        'Invalid value: "": must be either Utilization, Value, or AverageValue'
    }
    selector = {"matchExpressions": [{}]}
    assert told(changed(QUEUE, "external.metric.selector", selector)) == {}, "selectors of metrics are not judged"
