"""apps/v1: Deployments, ReplicaSets, ControllerRevisions; sets of other kinds have files of their own.

Source: kubernetes pkg/apis/apps/v1/defaults.go, pkg/apis/apps/validation, pkg/registry/apps, printers.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, immutable, non_negative
from sampan.api.resources.columns import AGE, NAME, WIDE, number, selector, template_columns
from sampan.api.resources.daemon_sets import DAEMON_SET
from sampan.api.resources.pod_spec import default_template, fill
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.stateful_sets import STATEFUL_SET
from sampan.api.resources.workloads import (
    GROUP,
    SCALE,
    TEMPLATE,
    empty_status,
    int_or_percent,
    is_zero,
    ready_of,
    replica_counts,
    replica_status,
    selector_and_template,
    shown_strategy,
    workload_warnings,
)
from sampan.schema.causes import forbidden, invalid, not_supported, required
from sampan.schema.objects import Object

# Deployment


def default_deployment(deployment: Object) -> None:
    spec = deployment.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    fill(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    default_template(spec.setdefault("template", {}))


def validate_deployment(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    yield from selector_and_template(new, old)
    for key in ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    kind, rolling = dig(spec, "strategy", "type"), dig(spec, "strategy", "rollingUpdate")
    if not kind:
        yield required("spec.strategy.type")
    elif kind == "Recreate":
        if rolling is not None:
            yield forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif kind == "RollingUpdate":
        yield from rolling_update(rolling)
    else:
        shown = shown_strategy(mapping(spec, "strategy"), "maxUnavailable", "maxSurge")
        yield not_supported("spec.strategy", shown, ("Recreate", "RollingUpdate"))
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline <= ready:
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def rolling_update(rolling: Object | None) -> Iterator[Cause]:
    path = "spec.strategy.rollingUpdate"
    if rolling is None:
        yield required(path, "this should be defaulted and never be nil")
        return
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    yield from int_or_percent(f"{path}.maxUnavailable", unavailable, at_most_100=True)
    yield from int_or_percent(f"{path}.maxSurge", surge)
    if is_zero(unavailable) and is_zero(surge):
        yield invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")


def prepare_status(new: Object, old: Object | None) -> None:
    """A status says nothing of labels (``deploymentStatusStrategy``)."""
    metadata, labels = mapping(new, "metadata"), mapping(old, "metadata").get("labels")
    metadata.pop("labels", None)
    if labels is not None:
        metadata["labels"] = labels


DEPLOYMENT = Resource(
    group=GROUP,
    version="v1",
    kind="Deployment",
    plural="deployments",
    short_names=("deploy",),
    categories=("all",),
    status=True,
    scale=SCALE | {"labelSelectorPath": ".spec.selector"},
    default=default_deployment,
    prepare=empty_status,
    prepares={"status": prepare_status},
    validate=collect(validate_deployment),
    validates={"status": collect(replica_counts("updatedReplicas"))},
    warn=workload_warnings,
    trusts_definition=False,
    columns=(
        NAME,
        Column("Ready", ready_of),
        Column("Up-to-date", number("status", "updatedReplicas")),
        Column("Available", number("status", "availableReplicas")),
        AGE,
        *template_columns(*TEMPLATE),
        Column("Selector", selector("spec", "selector"), priority=WIDE),
    ),
)

# ReplicaSet


def default_replica_set(replica_set: Object) -> None:
    spec = replica_set.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    default_template(spec.setdefault("template", {}))


def validate_replica_set(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from selector_and_template(new, old)
    for key in ("replicas", "minReadySeconds"):
        yield from non_negative(f"spec.{key}", dig(new, "spec", key))


REPLICA_SET = Resource(
    group=GROUP,
    version="v1",
    kind="ReplicaSet",
    plural="replicasets",
    short_names=("rs",),
    categories=("all",),
    status=True,
    scale=SCALE | {"labelSelectorPath": ".spec.selector"},
    default=default_replica_set,
    prepare=replica_status,
    validate=collect(validate_replica_set),
    validates={"status": collect(replica_counts(fully_labeled=True))},
    warn=workload_warnings,
    trusts_definition=False,
    columns=(
        NAME,
        Column("Desired", number("spec", "replicas"), type="integer"),
        Column("Current", number("status", "replicas"), type="integer"),
        Column("Ready", number("status", "readyReplicas"), type="integer"),
        AGE,
        *template_columns(*TEMPLATE),
        Column("Selector", selector("spec", "selector"), priority=WIDE),
    ),
    field_selectors={"status.replicas": lambda rs: text(rs, "status", "replicas") or "0"},
)

# ControllerRevision


def controller_of(obj: Object) -> str:
    for owner in items(obj, "metadata", "ownerReferences"):
        if owner.get("controller"):
            group = str(owner.get("apiVersion", "")).rpartition("/")[0]
            return f"{str(owner.get('kind')).lower()}{'.' + group if group else ''}/{owner.get('name')}"
    return "<none>"


def validate_revision(new: Object, old: Object | None) -> Iterator[Cause]:
    if new.get("data") is None:
        yield required("data", "data is mandatory")
    yield from non_negative("revision", new.get("revision"))
    if old is not None:
        yield from immutable("data", new.get("data"), old.get("data"))


CONTROLLER_REVISION = Resource(
    group=GROUP,
    version="v1",
    kind="ControllerRevision",
    plural="controllerrevisions",
    generation=False,
    validate=collect(validate_revision),
    trusts_definition=False,
    columns=(NAME, Column("Controller", controller_of), Column("Revision", number("revision")), AGE),
)

RESOURCES = (CONTROLLER_REVISION, DAEMON_SET, DEPLOYMENT, REPLICA_SET, STATEFUL_SET)
