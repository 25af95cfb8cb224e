"""autoscaling/v2, stored, and v1, converted. Source: kubernetes pkg/apis/autoscaling (defaults, conversion), printers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import AGE, NAME, field, number
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import invalid, required
from sampan.schema.objects import Object

CPU_PERCENT = 80


def cpu_metric(percent: int) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def default(autoscaler: Object) -> None:
    spec = autoscaler.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if autoscaler.get("apiVersion") == "autoscaling/v2" and not items(spec, "metrics"):
        spec["metrics"] = [cpu_metric(CPU_PERCENT)]


def to_v2(autoscaler: Object) -> None:
    for part, old in (("spec", "targetCPUUtilizationPercentage"), ("status", "currentCPUUtilizationPercentage")):
        values = mapping(autoscaler, part)
        percent = values.pop(old, None)
        if part == "spec":
            values["metrics"] = [cpu_metric(percent if percent is not None else CPU_PERCENT)]


def to_v1(autoscaler: Object) -> None:
    spec = mapping(autoscaler, "spec")
    for metric in spec.pop("metrics", None) or []:
        if dig(metric, "resource", "name") == "cpu":
            percent = dig(metric, "resource", "target", "averageUtilization")
            if percent is not None:
                spec["targetCPUUtilizationPercentage"] = percent
    spec.pop("behavior", None)
    status = mapping(autoscaler, "status")
    status.pop("currentMetrics", None)
    status.pop("conditions", None)


def validate(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if low is not None and low < 1:
        yield invalid("spec.minReplicas", low, "must be greater than or equal to 1")
    if high < 1:
        yield invalid("spec.maxReplicas", high, "must be greater than 0")
    if low is not None and high < low:
        yield invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")
    for key in ("kind", "name"):
        if not dig(spec, "scaleTargetRef", key):
            yield required(f"spec.scaleTargetRef.{key}")


def shown(target: Any, current: Any) -> tuple[str, str]:
    """Return current and wanted value of a metric target as kubectl shows them."""
    if dig(target, "averageUtilization") is not None:
        now = dig(current, "averageUtilization")
        return (f"{now}%" if now is not None else "<unknown>"), f"{target['averageUtilization']}%"
    for key, suffix in (("averageValue", " (avg)"), ("value", "")):
        if dig(target, key) is not None:
            now = dig(current, key)
            return (str(now) if now is not None else "<unknown>"), f"{target[key]}{suffix}"
    return "<unknown>", "<unset>"


def targets(autoscaler: Object) -> str:
    metrics = items(autoscaler, "spec", "metrics")
    percent = dig(autoscaler, "spec", "targetCPUUtilizationPercentage")
    if not metrics and percent is not None:
        metrics = [cpu_metric(percent)]
    cells, now = [], items(autoscaler, "status", "currentMetrics")
    for index, metric in enumerate(metrics[:2]):
        kind = str(metric.get("type", ""))
        source = kind[:1].lower() + kind[1:]
        current = dig(now[index], source, "current") if index < len(now) else None
        have, want = shown(dig(metric, source, "target"), current)
        label = f"{dig(metric, source, 'name')}: " if kind == "Resource" else ""
        cells.append(f"{label}{have}/{want}")
    more = f" + {len(metrics) - 2} more..." if len(metrics) > 2 else ""
    return (", ".join(cells) + more) or "<none>"


def reference(autoscaler: Object) -> str:
    return f"{text(autoscaler, 'spec', 'scaleTargetRef', 'kind')}/{text(autoscaler, 'spec', 'scaleTargetRef', 'name')}"


V2 = Resource(
    group="autoscaling",
    version="v2",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    short_names=("hpa",),
    categories=("all",),
    status=True,
    generation=False,
    default=default,
    prepare=lambda new, old: new.update(status={"desiredReplicas": 0, "currentMetrics": None}) if old is None else None,
    validate=collect(validate),
    columns=(
        NAME,
        Column("Reference", reference),
        Column("Targets", targets),
        Column("MinPods", field("spec", "minReplicas", missing="<unset>")),
        Column("MaxPods", number("spec", "maxReplicas"), type="integer"),
        Column("Replicas", number("status", "currentReplicas"), type="integer"),
        AGE,
    ),
)
V1 = replace(
    V2,
    version="v1",
    stored_version="v2",
    to_stored=to_v2,
    from_stored=to_v1,
    prepare=lambda new, old: new.update(status={"currentReplicas": 0, "desiredReplicas": 0}) if old is None else None,
)

RESOURCES = (V2, V1)
