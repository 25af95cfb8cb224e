"""HorizontalPodAutoscalers in autoscaling/v1 and v2: what v1 has no field for travels in annotations.

Objects are stored in v2. v1 knows the CPU utilization alone; other metrics, conditions and behavior are JSON in the
annotations ``autoscaling.alpha.kubernetes.io/…``, so that a client of v1 that writes back what it read loses nothing.
Source: kubernetes pkg/apis/autoscaling/v1/conversion.go, k8s.io/api/autoscaling/v1 (MetricSpec).
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api.resources.reading import dig, items, mapping
from sampan.schema.objects import Object
from sampan.schema.types import loaded_type_system

CPU_PERCENT = 80
PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS, BEHAVIOR = PREFIX + "metrics", PREFIX + "behavior"
CONDITIONS, CURRENT = PREFIX + "conditions", PREFIX + "current-metrics"

FLAT = {
    "Object": (("target", "describedObject"), ("averageValue", "target.averageValue"), ("targetValue", "target.value")),
    "Pods": (("targetAverageValue", "target.averageValue"),),
    "External": (("targetAverageValue", "target.averageValue"), ("targetValue", "target.value")),
    "Resource": (
        ("name", "name"),
        ("targetAverageUtilization", "target.averageUtilization"),
        ("targetAverageValue", "target.averageValue"),
    ),
    "ContainerResource": (
        ("name", "name"),
        ("container", "container"),
        ("targetAverageUtilization", "target.averageUtilization"),
        ("targetAverageValue", "target.averageValue"),
    ),
}
"""Fields of a metric source: where v1 has them, and where v2."""
FLAT_CURRENT = {
    "Object": (
        ("target", "describedObject"),
        ("averageValue", "current.averageValue"),
        ("currentValue", "current.value"),
    ),
    "Pods": (("currentAverageValue", "current.averageValue"),),
    "External": (("currentAverageValue", "current.averageValue"), ("currentValue", "current.value")),
    "Resource": (
        ("name", "name"),
        ("currentAverageUtilization", "current.averageUtilization"),
        ("currentAverageValue", "current.averageValue"),
    ),
    "ContainerResource": (
        ("name", "name"),
        ("container", "container"),
        ("currentAverageUtilization", "current.averageUtilization"),
        ("currentAverageValue", "current.averageValue"),
    ),
}


def cpu_metric(percent: int) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def source_of(kind: str) -> str:
    return kind[:1].lower() + kind[1:]


def flattened(metric: Object, table: Any) -> Object:
    """Return a metric of v2 as v1 writes it."""
    kind = str(metric.get("type") or "")
    source = mapping(metric, source_of(kind))
    flat: Object = {}
    for old, new in table.get(kind, ()):
        found = dig(source, *new.split("."))
        if found is not None:
            flat[old] = found
    identifier = mapping(source, "metric")
    if identifier:
        flat["metricName"] = identifier.get("name")
        if identifier.get("selector") is not None:
            flat["metricSelector" if kind == "External" else "selector"] = identifier["selector"]
    return {"type": kind, source_of(kind): flat}


def raised(metric: Object, table: Any, part: str) -> Object:
    """Return a metric of v1 as v2 writes it; ``part`` is target or current."""
    kind = str(metric.get("type") or "")
    flat = mapping(metric, source_of(kind))
    source: Object = {}
    for old, new in table.get(kind, ()):
        if flat.get(old) is not None:
            *parents, last = new.split(".")
            at = source
            for key in parents:
                at = at.setdefault(key, {})
            at[last] = flat[old]
    if "metricName" in flat:
        identifier = {"name": flat["metricName"]}
        selector = flat.get("metricSelector") or flat.get("selector")
        source["metric"] = {**identifier, "selector": selector} if selector is not None else identifier
    if part == "target":
        target = source.setdefault("target", {})
        kinds = (("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value"))
        target["type"] = next((name for key, name in kinds if key in target), "")
    return {"type": kind, source_of(kind): source}


def annotated(autoscaler: Object, key: str) -> Any:
    """Take what an annotation holds; None where there is none, or nothing that can be read."""
    notes = mapping(autoscaler, "metadata").get("annotations")
    if not isinstance(notes, dict) or key not in notes:
        return None
    value = notes.pop(key)
    if not notes:
        del autoscaler["metadata"]["annotations"]
    try:
        found = orjson.loads(value)
    except (ValueError, TypeError):
        return None
    return found


def annotate(autoscaler: Object, key: str, value: Any) -> None:
    notes = autoscaler["metadata"].get("annotations") or {}
    autoscaler["metadata"]["annotations"] = {**notes, key: orjson.dumps(value).decode()}


def objects(found: Any) -> list[Object]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def typed(value: Any, *path: str) -> Any:
    """Return a value as the decoder makes it at a path of an autoscaler of v2, None where it does not fit: annotations
    may hold anything."""
    found = loaded_type_system().type_for("autoscaling", "v2", "HorizontalPodAutoscaler")
    for key in path:
        found = found.child(key) if found is not None else None
    if found is None or value is None:
        return None
    checked = found.check(value)
    return None if checked.error else checked.object


def to_v2(autoscaler: Object) -> None:
    """Convert what came as v1, in place."""
    spec, status = autoscaler.setdefault("spec", {}), autoscaler.get("status")
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    noted = [raised(metric, FLAT, "target") for metric in objects(annotated(autoscaler, METRICS))]
    metrics = typed(noted, "spec", "metrics") or []
    if percent is not None:
        metrics.append(cpu_metric(percent))
    spec["metrics"] = metrics or [cpu_metric(CPU_PERCENT)]
    behavior = typed(annotated(autoscaler, BEHAVIOR), "spec", "behavior")
    if behavior is not None:
        spec["behavior"] = behavior
    conditions = typed(annotated(autoscaler, CONDITIONS), "status", "conditions")
    current = objects(annotated(autoscaler, CURRENT))
    if isinstance(status, dict):
        share = status.pop("currentCPUUtilizationPercentage", None)
        now = [raised(metric, FLAT_CURRENT, "current") for metric in current]
        found = typed(now, "status", "currentMetrics") or []
        if share is not None:
            own = {"name": "cpu", "current": {"averageUtilization": share}}
            found.append({"type": "Resource", "resource": own})
        if found:
            status["currentMetrics"] = found
        if conditions:
            status["conditions"] = conditions


def as_v2(autoscaler: Object) -> Object:
    """Return an autoscaler of any version as one of v2; what is given stays as it is."""
    if autoscaler.get("apiVersion") != "autoscaling/v1":
        return autoscaler
    parts = ("metadata", "spec", "status")
    copied = {**autoscaler, **{key: dict(mapping(autoscaler, key)) for key in parts}}
    copied["metadata"]["annotations"] = dict(mapping(copied, "metadata", "annotations"))
    to_v2(copied)
    return copied


def is_cpu(metric: Object, part: str) -> bool:
    return (
        metric.get("type") == "Resource"
        and dig(metric, "resource", "name") == "cpu"
        and dig(metric, "resource", part, "averageUtilization") is not None
    )


def to_v1(autoscaler: Object) -> None:
    """Convert what is stored to v1, in place."""
    spec, status = mapping(autoscaler, "spec"), mapping(autoscaler, "status")
    metrics, current = objects(spec.pop("metrics", None)), objects(status.pop("currentMetrics", None))
    own = next((metric for metric in metrics if is_cpu(metric, "target")), None)
    if own is not None:
        spec["targetCPUUtilizationPercentage"] = own["resource"]["target"]["averageUtilization"]
    others = [flattened(metric, FLAT) for metric in metrics if metric is not own]
    if others:
        annotate(autoscaler, METRICS, others)
    behavior = spec.pop("behavior", None)
    if behavior is not None:
        annotate(autoscaler, BEHAVIOR, behavior)
    now = next((metric for metric in current if is_cpu(metric, "current")), None)
    if now is not None:
        status["currentCPUUtilizationPercentage"] = now["resource"]["current"]["averageUtilization"]
    if current:
        annotate(autoscaler, CURRENT, [flattened(metric, FLAT_CURRENT) for metric in current])
    conditions = items(status, "conditions")
    status.pop("conditions", None)
    if conditions:
        annotate(autoscaler, CONDITIONS, conditions)
