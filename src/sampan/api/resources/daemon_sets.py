"""DaemonSets. Source: kubernetes pkg/apis/apps/v1/defaults.go, pkg/apis/apps/validation, pkg/registry/apps/daemonset."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, non_negative
from sampan.api.resources.columns import AGE, NAME, WIDE, number, selector, template_columns
from sampan.api.resources.difference import same
from sampan.api.resources.pod_spec import default_template, fill
from sampan.api.resources.reading import dig, mapping
from sampan.api.resources.workloads import (
    GROUP,
    TEMPLATE,
    collisions,
    int_or_percent,
    is_zero,
    selector_and_template,
    shown_strategy,
    workload_warnings,
)
from sampan.schema.causes import invalid, not_supported, required
from sampan.schema.objects import Object

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
COUNTS = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
    "updatedNumberScheduled", "numberAvailable", "numberUnavailable",
)  # fmt: skip
ALWAYS = COUNTS[:4]
"""What a status says even when it is 0."""


def default_daemon_set(daemon_set: Object) -> None:
    spec = daemon_set.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    fill(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    default_template(spec.setdefault("template", {}))


def prepare_daemon_set(new: Object, old: Object | None) -> None:
    """Count the changes of the template in an annotation, as the field of apps/v1beta2 did."""
    if old is None:
        new["status"] = dict.fromkeys(ALWAYS, 0)
        generation = "1"
    else:
        generation = mapping(old, "metadata", "annotations").get(TEMPLATE_GENERATION, "1")
        changed = not same(dig(old, "spec", "template"), dig(new, "spec", "template"))
        if changed and generation.isdigit():
            generation = str(int(generation) + 1)
    new["metadata"]["annotations"] = {**mapping(new, "metadata", "annotations"), TEMPLATE_GENERATION: generation}


def validate_daemon_set(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    empty = "empty selector is invalid for daemonset"
    yield from selector_and_template(new, old, kind="DaemonSet", empty=empty)
    for key in ("minReadySeconds", "revisionHistoryLimit"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    kind, rolling = dig(spec, "updateStrategy", "type"), dig(spec, "updateStrategy", "rollingUpdate")
    if kind == "RollingUpdate":
        yield from rolling_update(rolling)
    elif kind != "OnDelete":
        shown = shown_strategy(mapping(spec, "updateStrategy"), "maxUnavailable", "maxSurge")
        yield not_supported("spec.updateStrategy", shown, ("RollingUpdate", "OnDelete"))


def rolling_update(rolling: Object | None) -> Iterator[Cause]:
    path = "spec.updateStrategy.rollingUpdate"
    if rolling is None:
        yield required(path)
        return
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    yield from int_or_percent(f"{path}.maxUnavailable", unavailable, at_most_100=True)
    yield from int_or_percent(f"{path}.maxSurge", surge, at_most_100=True)
    if not is_zero(unavailable) and not is_zero(surge):
        yield invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
    elif is_zero(unavailable) and is_zero(surge):
        yield required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")


def validate_status(new: Object, old: Object | None) -> Iterator[Cause]:
    status = mapping(new, "status")
    for key in COUNTS:
        yield from non_negative(f"status.{key}", status.get(key))
    yield from collisions(status, mapping(old, "status"))


DAEMON_SET = Resource(
    group=GROUP,
    version="v1",
    kind="DaemonSet",
    plural="daemonsets",
    short_names=("ds",),
    categories=("all",),
    status=True,
    default=default_daemon_set,
    prepare=prepare_daemon_set,
    validate=collect(validate_daemon_set),
    validates={"status": collect(validate_status)},
    warn=lambda new, old: workload_warnings(new, old, named=False),
    trusts_definition=False,
    columns=(
        NAME,
        Column("Desired", number("status", "desiredNumberScheduled"), type="integer"),
        Column("Current", number("status", "currentNumberScheduled"), type="integer"),
        Column("Ready", number("status", "numberReady"), type="integer"),
        Column("Up-to-date", number("status", "updatedNumberScheduled"), type="integer"),
        Column("Available", number("status", "numberAvailable"), type="integer"),
        Column(
            "Node Selector",
            lambda ds: (
                ",".join(f"{k}={v}" for k, v in sorted(mapping(ds, *TEMPLATE, "nodeSelector").items())) or "<none>"
            ),
        ),
        AGE,
        *template_columns(*TEMPLATE),
        Column("Selector", selector("spec", "selector"), priority=WIDE),
    ),
)
