"""apps/v1. Source: kubernetes pkg/apis/apps/v1/defaults.go, pkg/apis/apps/validation, pkg/registry/apps, printers."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, needed_one_of, non_negative, one_of
from sampan.api.resources.claims import claim_spec
from sampan.api.resources.columns import AGE, NAME, WIDE, number, selector, template_columns
from sampan.api.resources.pod_spec import default_template
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.workloads import SCALE, int_or_percent, is_zero, selector_and_template
from sampan.schema.causes import forbidden, invalid
from sampan.schema.objects import Object

GROUP = "apps"
TEMPLATE = ("spec", "template", "spec")


def empty_status(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {}


def replica_status(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {"replicas": 0}


# Deployment


def default_deployment(deployment: Object) -> None:
    spec = deployment.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    default_template(spec.get("template"))


def validate_deployment(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    yield from selector_and_template(new, old, kind="Deployment")
    for key in ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    kind = dig(spec, "strategy", "type")
    yield from needed_one_of("spec.strategy.type", kind, ("Recreate", "RollingUpdate"))
    rolling = dig(spec, "strategy", "rollingUpdate")
    if kind == "Recreate" and rolling is not None:
        yield forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    if kind == "RollingUpdate":
        path = "spec.strategy.rollingUpdate"
        unavailable, surge = dig(rolling, "maxUnavailable"), dig(rolling, "maxSurge")
        yield from int_or_percent(f"{path}.maxUnavailable", unavailable, at_most_100=True)
        yield from int_or_percent(f"{path}.maxSurge", surge)
        if is_zero(unavailable) and is_zero(surge):
            yield invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline <= ready:
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def ready_of(obj: Object) -> str:
    return f"{dig(obj, 'status', 'readyReplicas') or 0}/{dig(obj, 'spec', 'replicas') or 0}"


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
    validate=collect(validate_deployment),
    columns=(
        NAME,
        Column("Ready", ready_of),
        Column("Up-to-date", number("status", "updatedReplicas"), type="integer"),
        Column("Available", number("status", "availableReplicas"), type="integer"),
        AGE,
        *template_columns(*TEMPLATE),
        Column("Selector", selector("spec", "selector"), priority=WIDE),
    ),
)

# ReplicaSet


def default_replica_set(replica_set: Object) -> None:
    spec = replica_set.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    default_template(spec.get("template"))


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

# StatefulSet

STATEFUL_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
STATEFUL_UPDATE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def default_stateful_set(stateful_set: Object) -> None:
    spec = stateful_set.setdefault("spec", {})
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    default_template(spec.get("template"))
    for claim in items(spec, "volumeClaimTemplates"):
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
        claim.setdefault("status", {}).setdefault("phase", "Pending")


def validate_stateful_set(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    claims = items(spec, "volumeClaimTemplates")
    yield from selector_and_template(
        new, old, claims=[text(claim, "metadata", "name") for claim in claims], kind="StatefulSet"
    )
    yield from needed_one_of("spec.podManagementPolicy", spec.get("podManagementPolicy"), ("OrderedReady", "Parallel"))
    yield from needed_one_of(
        "spec.updateStrategy.type", dig(spec, "updateStrategy", "type"), ("OnDelete", "RollingUpdate")
    )
    for key in ("replicas", "minReadySeconds", "revisionHistoryLimit"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    yield from non_negative(
        "spec.updateStrategy.rollingUpdate.partition", dig(spec, "updateStrategy", "rollingUpdate", "partition")
    )
    for index, claim in enumerate(claims):
        yield from claim_spec(mapping(claim, "spec"), f"spec.volumeClaimTemplates[{index}].spec")
    if old is not None:
        before = {k: v for k, v in mapping(old, "spec").items() if k not in STATEFUL_MUTABLE}
        if before != {k: v for k, v in spec.items() if k not in STATEFUL_MUTABLE}:
            yield forbidden("spec", STATEFUL_UPDATE)


STATEFUL_SET = Resource(
    group=GROUP,
    version="v1",
    kind="StatefulSet",
    plural="statefulsets",
    short_names=("sts",),
    categories=("all",),
    status=True,
    scale=SCALE | {"labelSelectorPath": ".spec.selector"},
    default=default_stateful_set,
    prepare=replica_status,
    validate=collect(validate_stateful_set),
    columns=(NAME, Column("Ready", ready_of), AGE, *template_columns(*TEMPLATE)),
)

# DaemonSet


def default_daemon_set(daemon_set: Object) -> None:
    spec = daemon_set.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    default_template(spec.get("template"))


def prepare_daemon_set(new: Object, old: Object | None) -> None:
    if old is None:
        counts = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
        new["status"] = dict.fromkeys(counts, 0)


def validate_daemon_set(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    yield from selector_and_template(new, old, kind="DaemonSet")
    for key in ("minReadySeconds", "revisionHistoryLimit"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    yield from one_of("spec.updateStrategy.type", dig(spec, "updateStrategy", "type"), ("OnDelete", "RollingUpdate"))
    rolling = dig(spec, "updateStrategy", "rollingUpdate")
    if rolling is not None:
        unavailable, surge = dig(rolling, "maxUnavailable"), dig(rolling, "maxSurge")
        path = "spec.updateStrategy.rollingUpdate"
        yield from int_or_percent(f"{path}.maxUnavailable", unavailable, at_most_100=True)
        yield from int_or_percent(f"{path}.maxSurge", surge, at_most_100=True)
        if not is_zero(unavailable) and not is_zero(surge):
            yield invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")
        elif is_zero(unavailable) and is_zero(surge):
            yield Cause(
                f"{path}.maxUnavailable", "FieldValueRequired", "Required value: cannot be 0 when maxSurge is 0"
            )


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

# ControllerRevision


def controller_of(obj: Object) -> str:
    for owner in items(obj, "metadata", "ownerReferences"):
        if owner.get("controller"):
            group = str(owner.get("apiVersion", "")).rpartition("/")[0]
            return f"{str(owner.get('kind')).lower()}{'.' + group if group else ''}/{owner.get('name')}"
    return "<none>"


def validate_revision(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from non_negative("revision", new.get("revision"))
    if old is not None and old.get("data") != new.get("data"):
        yield invalid("data", None, "field is immutable")


CONTROLLER_REVISION = Resource(
    group=GROUP,
    version="v1",
    kind="ControllerRevision",
    plural="controllerrevisions",
    generation=False,
    validate=collect(validate_revision),
    columns=(NAME, Column("Controller", controller_of), Column("Revision", number("revision"), type="integer"), AGE),
)

RESOURCES = (CONTROLLER_REVISION, DAEMON_SET, DEPLOYMENT, REPLICA_SET, STATEFUL_SET)
