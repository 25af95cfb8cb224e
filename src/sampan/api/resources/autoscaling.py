"""HorizontalPodAutoscalers: v2, stored, and v1 and v2beta2, converted. Source: kubernetes pkg/apis/autoscaling, printers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.autoscaling_validation import autoscaler_spec, autoscaler_status, scaled_version
from sampan.api.resources.autoscaling_versions import CPU_PERCENT, as_v2, cpu_metric, source_of, to_v1, to_v2
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import AGE, NAME, field, number
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.objects import Object

BETA_DEPRECATED = (
    "autoscaling/v2beta2 HorizontalPodAutoscaler is deprecated in v1.23+, unavailable in v1.26+; "
    "use autoscaling/v2 HorizontalPodAutoscaler"
)
PERIOD_SECONDS = 15
SHOWN = 2


def default(autoscaler: Object) -> None:
    spec = autoscaler.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if autoscaler.get("apiVersion") == "autoscaling/v1":
        return
    if not items(spec, "metrics"):
        spec["metrics"] = [cpu_metric(CPU_PERCENT)]
    if spec.get("behavior") is not None:
        default_behavior(spec["behavior"])


def default_behavior(behavior: Object) -> None:
    """Once a behavior is given, both of its directions are whole (``SetDefaults_HorizontalPodAutoscalerBehavior``)."""
    percent = {"type": "Percent", "value": 100, "periodSeconds": PERIOD_SECONDS}
    pods = {"type": "Pods", "value": 4, "periodSeconds": PERIOD_SECONDS}
    up, down = behavior.setdefault("scaleUp", {}), behavior.setdefault("scaleDown", {})
    up.setdefault("stabilizationWindowSeconds", 0)
    for rules, policies in ((up, [pods, percent]), (down, [percent])):
        rules.setdefault("selectPolicy", "Max")
        if rules.get("policies") is None:
            rules["policies"] = policies


def validate(new: Object, old: Object | None, *, declared: bool = False) -> Iterator[Cause]:
    lowest = 0 if dig(old, "spec", "minReplicas") == 0 else 1
    yield from autoscaler_spec(mapping(as_v2(new), "spec"), lowest, declared=declared)


def validate_with_group(new: Object, old: Object | None) -> Iterator[Cause]:
    """As 1.37 does: whose scale it is must be said with its group."""
    yield from validate(new, old, declared=True)
    yield from scaled_version(new, old)


def to_zero(resource: Resource) -> Resource:
    """Return the resource with the feature gate ``HPAScaleToZero`` on."""

    def lenient(new: Object, old: Object | None) -> Iterator[Cause]:
        yield from autoscaler_spec(mapping(as_v2(new), "spec"), 0, declared=resource.generation)
        if resource.generation:  # 1.37, as ``by_version`` says
            yield from scaled_version(new, old)

    return replace(resource, validate=collect(lenient))


def shown(target: Any, current: Any, average: str) -> tuple[str, str]:
    """Return current and wanted value of a metric target as kubectl shows them."""
    if dig(target, "averageUtilization") is not None:
        now = dig(current, "averageUtilization")
        return (f"{now}%" if now is not None else "<unknown>"), f"{target['averageUtilization']}%"
    for key, suffix in (("averageValue", average), ("value", "")):
        if dig(target, key) is not None:
            now = dig(current, key)
            return (str(now) if now is not None else "<unknown>"), f"{target[key]}{suffix}"
    return "<unknown>", "<unset>"


def targets(autoscaler: Object) -> str:
    autoscaler = as_v2(autoscaler)
    metrics, now = items(autoscaler, "spec", "metrics"), items(autoscaler, "status", "currentMetrics")
    cells = []
    for index, metric in enumerate(metrics[:SHOWN]):
        kind = str(metric.get("type", ""))
        source = source_of(kind)
        current = dig(now[index], source, "current") if index < len(now) else None
        have, want = shown(dig(metric, source, "target"), current, " (avg)" if kind in ("Object", "External") else "")
        label = f"{dig(metric, source, 'name')}: " if kind in ("Resource", "ContainerResource") else ""
        cells.append(f"{label}{have}/{want}")
    more = f" + {len(metrics) - SHOWN} more..." if len(metrics) > SHOWN else ""
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
    by_version=lambda minor: (
        {"generation": True, "validate": collect(validate_with_group)} if minor >= 37 else {"generation": False}
    ),
    default=default,
    prepare=lambda new, old: new.update(status={"desiredReplicas": 0, "currentMetrics": None}) if old is None else None,
    validate=collect(validate),
    validates={"status": collect(autoscaler_status)},
    trusts_definition=False,
    columns=(
        NAME,
        Column("Reference", reference),
        Column("Targets", targets),
        Column("MinPods", field("spec", "minReplicas", missing="<unset>")),
        Column("MaxPods", number("spec", "maxReplicas")),
        Column("Replicas", number("status", "currentReplicas")),
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

V2BETA2 = replace(V2, version="v2beta2", stored_version="v2", deprecated=BETA_DEPRECATED)
"""Served by 1.25 alone: its objects differ in nothing but the version's name."""

RESOURCES = (V2, V1, V2BETA2)
