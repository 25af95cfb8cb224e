"""What a HorizontalPodAutoscaler may be. Source: kubernetes pkg/apis/autoscaling/validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import label as dns_label
from sampan.api.resources.checking import named, non_negative, one_of
from sampan.api.resources.quantities import amount, container_resource_name
from sampan.api.resources.reading import items, mapping
from sampan.schema.causes import forbidden, invalid, not_supported, required
from sampan.schema.names import path_segment
from sampan.schema.objects import Object

SOURCES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
SOURCE_TYPES = ("ContainerResource", "External", "Object", "Pods", "Resource")
TARGET_TYPES = ("AverageValue", "Utilization", "Value")
SELECT_POLICIES = ("Disabled", "Max", "Min")
MAX_WINDOW, MAX_PERIOD = 3600, 1800
POPULATE = "must populate information for the given metric source"
TO_ZERO = "must specify at least one Object or External metric to support scaling to zero replicas"


def autoscaler_spec(spec: Object, lowest: int, *, declared: bool) -> Iterator[Cause]:
    """``lowest``: what minReplicas may be at least; ``declared``: whether the words are of declarative validation (1.37)."""
    low, high, metrics = spec.get("minReplicas"), spec.get("maxReplicas") or 0, items(spec, "metrics")
    if low is not None and low < lowest:
        yield invalid("spec.minReplicas", low, f"must be greater than or equal to {lowest}")
    if declared and not high:
        yield required("spec.maxReplicas")
    elif high < 1:
        why = "must be greater than or equal to 1" if declared else "must be greater than 0"
        yield invalid("spec.maxReplicas", high, why)
    if low is not None and high < low:
        yield invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")
    yield from reference(mapping(spec, "scaleTargetRef"), "spec.scaleTargetRef")
    for index, metric in enumerate(metrics):
        yield from metric_spec(metric, f"spec.metrics[{index}]")
    if low == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        yield forbidden("spec.metrics", TO_ZERO)
    for key in ("scaleUp", "scaleDown"):
        rules = mapping(spec, "behavior").get(key)
        if rules is not None:
            yield from scaling_rules(rules, f"spec.behavior.{key}")


def reference(target: Object, path: str) -> Iterator[Cause]:
    """``ValidateCrossVersionObjectReference``."""
    for key in ("kind", "name"):
        yield from named(f"{path}.{key}", target.get(key), path_segment)


def scaled_version(new: Object, old: Object | None) -> Iterator[Cause]:
    """``ValidateAPIVersion``: only ReplicationControllers may be meant without a group; what was there may stay."""
    target, before = mapping(new, "spec", "scaleTargetRef"), mapping(old, "spec", "scaleTargetRef")
    path, given = "spec.scaleTargetRef.apiVersion", target.get("apiVersion") or ""
    if old is not None and all(before.get(key) == target.get(key) for key in ("apiVersion", "kind")):
        return
    if given.count("/") > 1:
        yield invalid(path, given, f"unexpected GroupVersion string: {given}")
    elif not given.rpartition("/")[0] and target.get("kind") != "ReplicationController":
        yield invalid(path, given, "apiVersion must specify API group")


def metric_spec(metric: Object, path: str) -> Iterator[Cause]:
    kind = metric.get("type") or ""
    if not kind:
        yield required(f"{path}.type", "must specify a metric source type")
    if kind not in SOURCES:
        yield not_supported(f"{path}.type", kind, SOURCE_TYPES)
    given = [key for key in SOURCES.values() if metric.get(key) is not None]
    if given:
        yield from CHECKS[given[0]](metric[given[0]], f"{path}.{given[0]}")
    wanted = SOURCES.get(kind, "")
    if wanted and wanted not in given:
        yield required(f"{path}.{wanted}", POPULATE)
    for extra in given:
        if extra != wanted and len(given) > 1:
            yield forbidden(f"{path}.{extra}", "must populate the given metric source only")


def object_source(source: Object, path: str) -> Iterator[Cause]:
    yield from reference(mapping(source, "describedObject"), f"{path}.describedObject")
    yield from identifier(source, path)
    target = mapping(source, "target")
    if target.get("value") is None and target.get("averageValue") is None:
        yield required(f"{path}.target.averageValue", "must set either a target value or averageValue")


def external_source(source: Object, path: str) -> Iterator[Cause]:
    yield from identifier(source, path)
    target = mapping(source, "target")
    value, average = target.get("value"), target.get("averageValue")
    if value is None and average is None:
        why = "must set either a target value for metric or a per-pod target"
        yield required(f"{path}.target.averageValue", why)
    if value is not None and average is not None:
        why = "may not set both a target value for metric and a per-pod target"
        yield forbidden(f"{path}.target.value", why)


def pods_source(source: Object, path: str) -> Iterator[Cause]:
    yield from identifier(source, path)
    if mapping(source, "target").get("averageValue") is None:
        yield required(f"{path}.target.averageValue", "must specify a positive target averageValue")


def resource_source(source: Object, path: str) -> Iterator[Cause]:
    if not source.get("name"):
        yield required(f"{path}.name", "must specify a resource name")
    target = mapping(source, "target")
    yield from metric_target(target, f"{path}.target")
    share, average = target.get("averageUtilization"), target.get("averageValue")
    if share is None and average is None:
        why = "must set either a target raw value or a target utilization"
        yield required(f"{path}.target.averageUtilization", why)
    if share is not None and average is not None:
        why = "may not set both a target raw value and a target utilization"
        yield forbidden(f"{path}.target.averageValue", why)


def container_source(source: Object, path: str) -> Iterator[Cause]:
    yield from resource_source(source, path)
    if source.get("name"):
        yield from container_resource_name(f"{path}.name", source["name"])
    if not source.get("container"):
        yield required(f"{path}.container", "must specify a container")
    else:
        yield from dns_label(f"{path}.container", source["container"])


CHECKS = {
    "object": object_source,
    "external": external_source,
    "pods": pods_source,
    "resource": resource_source,
    "containerResource": container_source,
}


def identifier(source: Object, path: str) -> Iterator[Cause]:
    metric = mapping(source, "metric")
    name = metric.get("name")
    if not name:
        yield required(f"{path}.metric.name", "must specify a metric name")
    else:
        yield from named(f"{path}.metric.name", name, path_segment)
    yield from metric_target(mapping(source, "target"), f"{path}.target")


def metric_target(target: Object, path: str) -> Iterator[Cause]:
    kind, share = target.get("type") or "", target.get("averageUtilization")
    if not kind:
        yield required(f"{path}.type", "must specify a metric target type")
    if kind not in TARGET_TYPES:
        yield invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    for key in ("value", "averageValue"):
        found = amount(str(target[key])) if target.get(key) is not None else None
        if found is not None and found.nano <= 0:
            yield invalid(f"{path}.{key}", str(target[key]), "must be positive")
    if share is not None and share < 1:
        yield invalid(f"{path}.averageUtilization", share, "must be greater than 0")


def scaling_rules(rules: Object, path: str) -> Iterator[Cause]:
    window, policies = rules.get("stabilizationWindowSeconds"), items(rules, "policies")
    if window is not None and window < 0:
        yield invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    if window is not None and window > MAX_WINDOW:
        yield invalid(f"{path}.stabilizationWindowSeconds", window, f"must be less than or equal to {MAX_WINDOW}")
    yield from one_of(f"{path}.selectPolicy", rules.get("selectPolicy"), SELECT_POLICIES)
    if not policies:
        yield required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(policies):
        place, period = f"{path}.policies[{index}]", policy.get("periodSeconds") or 0
        yield from one_of(f"{place}.type", policy.get("type") or "", ("Percent", "Pods"))
        if (policy.get("value") or 0) <= 0:
            yield invalid(f"{place}.value", policy.get("value") or 0, "must be greater than zero")
        if period <= 0:
            yield invalid(f"{place}.periodSeconds", period, "must be greater than zero")
        elif period > MAX_PERIOD:
            yield invalid(f"{place}.periodSeconds", period, f"must be less than or equal to {MAX_PERIOD}")
    tolerance = amount(str(rules["tolerance"])) if rules.get("tolerance") is not None else None
    if tolerance is not None and tolerance.nano < 0:
        yield invalid(f"{path}.tolerance", str(rules["tolerance"]), "must be greater than or equal to 0")


def autoscaler_status(new: Object, old: Any) -> Iterator[Cause]:
    for key in ("currentReplicas", "desiredReplicas"):
        yield from non_negative(f"status.{key}", mapping(new, "status").get(key))
