"""Pods: strategy and declaration. Source: kubernetes pkg/registry/core/pod/strategy.go.

Checks stand in ``pod_validation`` (what a pod may be) and ``pod_changes`` (what may become of it), cells in ``pod_cells``,
warnings in ``pod_warnings``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sampan.api.resource import Cause, Column, Resource, Validate
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import AGE, NAME, WIDE, field
from sampan.api.resources.container_validation import padded_image
from sampan.api.resources.pod_annotations import annotations_and_fields, noted_meanings
from sampan.api.resources.pod_cells import address, readiness_gates, ready_cell, restarts_cell, status_cell
from sampan.api.resources.pod_changes import (
    ephemeral_changes,
    pod_changes,
    prepare_ephemeral,
    prepare_resize,
    prepare_status,
    resize_changes,
    shrinks_memory,
)
from sampan.api.resources.pod_rules import LATEST, Rules, rules_of
from sampan.api.resources.pod_spec import default_pod
from sampan.api.resources.pod_status import pod_status
from sampan.api.resources.pod_validation import pod_spec
from sampan.api.resources.pod_warnings import pod_warnings
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import forbidden
from sampan.schema.objects import Object

GATED = "Scheduling is blocked due to non-empty scheduling gates"
GENERATION_SINCE = 33
"""Pods count generations since 1.33 (KEP-5067)."""
MEMORY_SHRINKS_SINCE = 34
"""Memory limits may be lowered without a restart since 1.34 (KEP-1287)."""


# strategy


def prepare(new: Object, old: Object | None) -> None:
    if old is not None:
        return
    spec = mapping(new, "spec")
    new["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        gated = {"type": "PodScheduled", "status": "False", "lastProbeTime": None, "lastTransitionTime": None}
        new["status"]["conditions"] = [{**gated, "reason": "SchedulingGated", "message": GATED}]
    labels = mapping(new, "metadata", "labels")
    if spec.get("affinity"):
        match_label_keys(spec["affinity"], labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        for key in constraint.get("matchLabelKeys") or ():
            narrow(constraint, key, "In", labels)


def match_label_keys(affinity: Object, labels: Object) -> None:
    """Write matchLabelKeys into the selectors, as they are at creation (KEP-3633)."""
    for kind in ("podAffinity", "podAntiAffinity"):
        part = mapping(affinity, kind)
        terms = items(part, "requiredDuringSchedulingIgnoredDuringExecution")
        preferred = items(part, "preferredDuringSchedulingIgnoredDuringExecution")
        for term in [*terms, *(mapping(choice, "podAffinityTerm") for choice in preferred)]:
            for key in term.get("matchLabelKeys") or ():
                narrow(term, key, "In", labels)
            for key in term.get("mismatchLabelKeys") or ():
                narrow(term, key, "NotIn", labels)


def narrow(holder: Object, key: str, operator: str, labels: Object) -> None:
    selector = holder.get("labelSelector")
    if selector is not None and key in labels:
        expressions = selector.setdefault("matchExpressions", [])
        expressions.append({"key": key, "operator": operator, "values": [labels[key]]})


def qos_class(spec: Object) -> str:
    """Return Guaranteed, Burstable or BestEffort (pkg/apis/core/helper/qos)."""
    own = mapping(spec, "resources")
    if own.get("limits") or own.get("requests"):
        holders = [own]
    else:
        listed = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        holders = [container.get("resources") or {} for container in listed]
    any_set, guaranteed = False, True
    for holder in holders:
        limits, requests = holder.get("limits") or {}, holder.get("requests") or {}
        for name in ("cpu", "memory"):
            request = requests.get(name, limits.get(name))
            any_set = any_set or counts(request) or counts(limits.get(name))
            guaranteed = guaranteed and counts(limits.get(name)) and request == limits[name]
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def counts(amount: Any) -> bool:
    return amount is not None and str(amount) != "0"


def grace_period(pod: Object, asked: int | None) -> int:
    """Return the seconds a deleted pod keeps running; 0 for one that never ran or has ended."""
    if not text(pod, "spec", "nodeName") or text(pod, "status", "phase") in ("Succeeded", "Failed"):
        return 0
    if asked is None:
        asked = dig(pod, "spec", "terminationGracePeriodSeconds")
    if asked is None:
        return 30
    return 1 if asked < 0 else asked


# validation


def validation(rules: Rules, minor: int = MEMORY_SHRINKS_SINCE) -> dict[str, Any]:
    """Return the declaration's checks for a Kubernetes version."""

    def whole(pod: Object) -> Iterator[Cause]:
        metadata, spec = mapping(pod, "metadata"), mapping(pod, "spec")
        if metadata.get("annotations"):
            yield from noted_meanings(metadata["annotations"], spec, "metadata.annotations")
        yield from pod_spec(spec, pod=pod, rules=rules)
        yield from only_pods(spec)

    def validate(new: Object, old: Object | None) -> Iterator[Cause]:
        yield from whole(new)
        if old is None:
            yield from on_create(new)
        else:
            yield from pod_changes(new, old)

    def ephemeral(new: Object, old: Object | None) -> Iterator[Cause]:
        yield from whole(new)
        if old is not None:
            yield from ephemeral_changes(new, old)

    def resize(new: Object, old: Object | None) -> Iterator[Cause]:
        yield from whole(new)
        if old is not None:
            quality = text(old, "status", "qosClass") or qos_class(mapping(old, "spec"))
            yield from resize_changes(new, old, (quality, qos_class(mapping(new, "spec"))))
            if minor < MEMORY_SHRINKS_SINCE:
                yield from no_shrinking(new, old)

    by_path: Mapping[str, Validate] = {
        "status": collect(lambda new, old: pod_status(new, old or {})),
        "ephemeralcontainers": collect(ephemeral),
        "resize": collect(resize),
        "binding": lambda new, old: [],
    }
    return {"validate": collect(validate), "validates": by_path}


def only_pods(spec: Object) -> Iterator[Cause]:
    """What is asked of pods and not of templates."""
    if not spec.get("serviceAccountName"):
        for index, volume in enumerate(spec.get("volumes") or ()):
            for place, part in enumerate(items(volume, "projected", "sources")):
                if part.get("serviceAccountToken") is not None:
                    path = f"spec.volumes[{index}].projected.sources[{place}].serviceAccountToken"
                    yield forbidden(path, "must not be specified when serviceAccountName is not set")
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            yield from padded_image(container, f"spec.{kind}[{index}]")


def on_create(pod: Object) -> Iterator[Cause]:
    spec = mapping(pod, "spec")
    if spec.get("ephemeralContainers"):
        yield forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec.get("nodeName") and spec.get("schedulingGates"):
        yield forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
    noted = mapping(pod, "metadata", "annotations")
    if noted:
        yield from annotations_and_fields(noted, spec, "spec")


def no_shrinking(new: Object, old: Object) -> Iterator[Cause]:
    for kind in ("initContainers", "containers"):
        pairs = zip(items(new, "spec", kind), items(old, "spec", kind), strict=False)
        for index, (container, was) in enumerate(pairs):
            if shrinks_memory(container, was):
                had = "memory" in mapping(was, "resources", "limits")
                what = "decreased" if had else "added"
                why = f"memory limits cannot be {what} unless resizePolicy is RestartContainer"
                yield forbidden(f"spec.{kind}[{index}].resources.limits[memory]", why)


def by_version(minor: int) -> Mapping[str, Any]:
    return {"generation": minor >= GENERATION_SINCE, **validation(rules_of(minor), minor)}


def getter(*keys: str) -> Any:
    def get(obj: Object) -> str:
        found = dig(obj, *keys)
        if isinstance(found, bool):
            return str(found).lower()
        return "" if found is None else str(found)

    return get


POD = Resource(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    status=True,
    default=default_pod,
    prepare=prepare,
    prepares={"status": prepare_status, "ephemeralcontainers": prepare_ephemeral, "resize": prepare_resize},
    warn=pod_warnings,
    trusts_definition=False,
    by_version=by_version,
    **validation(LATEST),
    graceful=grace_period,
    returns_deleted=True,
    columns=(
        NAME,
        Column("Ready", ready_cell, description="The aggregate readiness state of this pod for accepting traffic."),
        Column("Status", status_cell, description="The aggregate status of the containers in this pod."),
        Column(
            "Restarts", restarts_cell, description="The number of times the containers in this pod have been restarted."
        ),
        AGE,
        Column("IP", address, priority=WIDE),
        Column("Node", field("spec", "nodeName"), priority=WIDE),
        Column("Nominated Node", field("status", "nominatedNodeName"), priority=WIDE),
        Column("Readiness Gates", readiness_gates, priority=WIDE),
    ),
    field_selectors={
        "spec.nodeName": getter("spec", "nodeName"),
        "spec.restartPolicy": getter("spec", "restartPolicy"),
        "spec.schedulerName": getter("spec", "schedulerName"),
        "spec.serviceAccountName": getter("spec", "serviceAccountName"),
        "spec.hostNetwork": lambda pod: "true" if dig(pod, "spec", "hostNetwork") else "false",
        "status.phase": getter("status", "phase"),
        "status.podIP": getter("status", "podIP"),
        "status.podIPs": lambda pod: ",".join(str(item.get("ip")) for item in items(pod, "status", "podIPs")),
        "status.nominatedNodeName": getter("status", "nominatedNodeName"),
    },
)
