"""What may change of a pod, on each of its paths: itself, status, ephemeralcontainers, resize.

``prepare`` functions put back what a path does not touch (strategies of pkg/registry/core/pod); the checks are
ValidatePodUpdate, ValidatePodStatusUpdate, ValidatePodEphemeralContainersUpdate and ValidatePodResize of
pkg/apis/core/validation. KEP-277, KEP-1287, KEP-3838.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.difference import changed, same
from sampan.api.resources.pod_annotations import MIRROR, annotation_changes
from sampan.api.resources.quantities import less
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.scheduling_validation import REQUIRED
from sampan.schema.causes import forbidden, invalid
from sampan.schema.objects import Object

UPDATE_MESSAGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
MAX_INT32 = 2**31 - 1
KINDS = ("containers", "initContainers")
STATUS_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")
ONLY_CPU_AND_MEMORY = "only cpu and memory resources are mutable"


def pod_changes(new: Object, old: Object) -> Iterator[Cause]:
    """Yield what an update of a pod changes that it may not."""
    noted, before_noted = mapping(new, "metadata", "annotations"), mapping(old, "metadata", "annotations")
    if noted != before_noted:
        yield from annotation_changes(noted, before_noted, "metadata.annotations")
    spec, before = mapping(new, "spec"), mapping(old, "spec")
    for kind in KINDS:
        if len(items(spec, kind)) != len(items(before, kind)):
            yield forbidden(f"spec.{kind}", "pod updates may not add or remove containers")
            return
    refusal = deadline(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    if refusal is not None:
        yield refusal
        if spec.get("activeDeadlineSeconds") is not None:
            return
    yield from only_added(items(spec, "tolerations"), items(before, "tolerations"))
    yield from only_removed(items(spec, "schedulingGates"), items(before, "schedulingGates"))
    if spec == before:
        return
    munged = munge(spec, before)
    if before.get("schedulingGates"):
        yield from gated(munged, before)
    difference = changed(before, munged)
    if difference:
        yield forbidden("spec", f"{UPDATE_MESSAGE}\n{difference}")


def deadline(new: Any, old: Any) -> Cause | None:
    """activeDeadlineSeconds may be set, and then only become shorter."""
    path = "spec.activeDeadlineSeconds"
    if new is None:
        why = "must not update from a positive integer to nil value"
        return invalid(path, None, why) if old is not None else None
    if not 0 <= new <= MAX_INT32:
        return invalid(path, new, f"must be between 0 and {MAX_INT32}, inclusive")
    if old is not None and old < new:
        return invalid(path, new, "must be less than or equal to previous value")
    return None


def only_added(new: Sequence[Object], old: Sequence[Object]) -> Iterator[Cause]:
    for toleration in old:
        if not any({**toleration, **seconds(other)} == other for other in map(dict, new)):
            without = {key: value for key, value in toleration.items() if key != "tolerationSeconds"}
            if not any({**without, **seconds(other)} == other for other in new):
                why = "existing toleration can not be modified except its tolerationSeconds"
                yield forbidden("spec.tolerations", why)
                return


def seconds(toleration: Object) -> Object:
    return {key: value for key, value in toleration.items() if key == "tolerationSeconds"}


def only_removed(new: Sequence[Object], old: Sequence[Object]) -> Iterator[Cause]:
    known = {gate.get("name") for gate in old}
    for index, gate in enumerate(new):
        if gate.get("name") not in known:
            why = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            yield forbidden(f"spec.schedulingGates[{index}].name", why)


def munge(spec: Object, before: Object) -> Object:
    """Return the new spec with what may change set to what it was."""
    munged = dict(spec)
    for kind in KINDS:
        if kind in spec:
            pairs = zip(spec[kind], items(before, kind), strict=True)
            munged[kind] = [{**new, "image": old.get("image")} for new, old in pairs]
    for key in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        munged[key] = before.get(key)
    was = before.get("terminationGracePeriodSeconds")
    if was is not None and was < 0 and munged.get("terminationGracePeriodSeconds") == 1:
        munged["terminationGracePeriodSeconds"] = was
    return munged


def gated(munged: Object, before: Object) -> Iterator[Cause]:
    """A pod that waits behind gates may still be narrowed: more node labels, more of node affinity."""
    labels, had = mapping(munged, "nodeSelector"), mapping(before, "nodeSelector")
    if labels != had:
        if any(labels.get(key) != value for key, value in had.items()):
            why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            yield invalid("spec.nodeSelector", labels, why)
        munged["nodeSelector"] = before.get("nodeSelector")
    affinity, old = dig(munged, "affinity", "nodeAffinity"), dig(before, "affinity", "nodeAffinity")
    if not same(affinity, old):
        yield from narrowed(affinity, old)
        rest = {key: value for key, value in mapping(munged, "affinity").items() if key != "nodeAffinity"}
        if old is not None:
            rest["nodeAffinity"] = old
        munged["affinity"] = rest


def narrowed(affinity: Any, old: Any) -> Iterator[Cause]:
    path = f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
    had, terms = items(old, REQUIRED, "nodeSelectorTerms"), items(affinity, REQUIRED, "nodeSelectorTerms")
    if not had:
        return
    if len(had) != len(terms):
        yield invalid(path, terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
        return
    for index, (term, was) in enumerate(zip(terms, had, strict=True)):
        if not only_longer(term, was):
            yield invalid(f"{path}[{index}]", term, "only additions are allowed (no mutations or deletions)")


def only_longer(term: Object, was: Object) -> bool:
    lists = [(items(term, key), items(was, key)) for key in ("matchExpressions", "matchFields")]
    if not any(old for _, old in lists):
        return not any(new for new, _ in lists)
    return all(new[: len(old)] == old for new, old in lists)


# status


def prepare_status(new: Object, old: Object | None) -> None:
    """Keep what the status path may not touch (podStatusStrategy)."""
    if old is None:
        return
    keep_metadata(new, old, ("ownerReferences",))
    status, before = new.setdefault("status", {}), mapping(old, "status")
    if not status.get("qosClass") and before.get("qosClass"):
        status["qosClass"] = before["qosClass"]
    if not status.get("observedGeneration") and before.get("observedGeneration"):
        status["observedGeneration"] = before["observedGeneration"]
    generations: dict[Any, list[int]] = {}
    for condition in items(before, "conditions"):
        generations.setdefault(condition.get("type"), []).append(condition.get("observedGeneration") or 0)
    for condition in items(status, "conditions"):
        known = generations.get(condition.get("type"))
        had = known.pop(0) if known else 0
        if had and not condition.get("observedGeneration"):
            condition["observedGeneration"] = had


def keep_metadata(new: Object, old: Object, fields: Sequence[str]) -> None:
    for key in fields:
        if key in old["metadata"]:
            new["metadata"][key] = old["metadata"][key]
        else:
            new["metadata"].pop(key, None)


# ephemeral containers


def prepare_ephemeral(new: Object, old: Object | None) -> None:
    """Drop everything but the new ephemeral containers."""
    if old is None:
        return
    wanted = items(new, "spec", "ephemeralContainers")
    spec = {key: value for key, value in mapping(old, "spec").items() if key != "ephemeralContainers"}
    new["spec"] = {**spec, "ephemeralContainers": wanted} if wanted else spec
    keep_metadata(new, old, STATUS_METADATA)


def ephemeral_changes(new: Object, old: Object) -> Iterator[Cause]:
    if MIRROR in mapping(old, "metadata", "annotations"):
        yield forbidden("", "static pods do not support ephemeral containers")
        return
    known = {container.get("name"): container for container in items(new, "spec", "ephemeralContainers")}
    for container in items(old, "spec", "ephemeralContainers"):
        name = container.get("name")
        if name not in known:
            yield forbidden("spec.ephemeralContainers", f'existing ephemeral containers "{name}" may not be removed\n')
        elif not same(container, known[name]):
            why = f'existing ephemeral containers "{name}" may not be changed\n{changed(container, known[name])}'
            yield forbidden("spec.ephemeralContainers", why)


# resize


def prepare_resize(new: Object, old: Object | None) -> None:
    """Drop everything but resources and resize policies; containers that do not match are left for validation."""
    if old is None:
        return
    spec, before = mapping(new, "spec"), mapping(old, "spec")
    names = [[[c.get("name") for c in items(of, kind)] for kind in KINDS] for of in (spec, before)]
    if names[0] != names[1]:
        return
    merged = dict(before)
    for kind in KINDS:
        if kind in before:
            merged[kind] = [resized(c, was) for c, was in zip(spec[kind], before[kind], strict=True)]
    new["spec"] = merged
    keep_metadata(new, old, STATUS_METADATA)


def resized(container: Object, was: Object) -> Object:
    merged = {key: value for key, value in was.items() if key not in ("resources", "resizePolicy")}
    return merged | {key: container[key] for key in ("resources", "resizePolicy") if key in container}


def resize_changes(new: Object, old: Object, qos: tuple[str, str]) -> Iterator[Cause]:
    """``qos``: the pod's quality of service, before and after."""
    spec, before = mapping(new, "spec"), mapping(old, "spec")
    if any(mapping(of, "resources", kind) for of in (spec, before) for kind in ("limits", "requests")):
        yield forbidden("", "pods with pod-level resources cannot be resized")
        return
    if MIRROR in mapping(old, "metadata", "annotations"):
        yield forbidden("", "static pods cannot be resized")
        return
    if text(before, "os", "name") == "windows":
        yield forbidden("", "windows pods cannot be resized")
        return
    for kind in KINDS:
        if [c.get("name") for c in items(spec, kind)] != [c.get("name") for c in items(before, kind)]:
            yield forbidden("spec", "containers may not be added, removed, reordered, or renamed on resize")
            return
    if qos[0] != qos[1]:
        yield invalid("spec", qos[1], "Pod QOS Class may not change as a result of resizing")
    running = [c for c in items(old, "status", "containerStatuses") if dig(c, "state", "running") is not None]
    if running and running[0].get("resources") is None:
        yield forbidden("spec", "Pod running on node without support for resize")
    for kind in reversed(KINDS):
        for index, (container, was) in enumerate(zip(items(spec, kind), items(before, kind), strict=True)):
            yield from one_resize(container, was, kind, f"spec.{kind}[{index}].resources")
    if not same(without_amounts(spec), without_amounts(before)):
        yield forbidden("spec", ONLY_CPU_AND_MEMORY)


def one_resize(container: Object, was: Object, kind: str, path: str) -> Iterator[Cause]:
    sidecar = container.get("restartPolicy") == "Always"
    if kind == "initContainers" and not sidecar:
        if not same(container, was):
            yield forbidden("spec", "resources for non-sidecar init containers are immutable")
        return
    for amounts in ("requests", "limits"):
        if set(mapping(was, "resources", amounts)) - set(mapping(container, "resources", amounts)):
            yield forbidden(f"{path}.{amounts}", f"resource {amounts} cannot be removed")
    others = [other_amounts(c) for c in (container, was)]
    if others[0] != others[1]:
        what = " for sidecar containers" if kind == "initContainers" else ""
        yield forbidden("spec", f"only cpu and memory resources{what} are mutable")


def other_amounts(container: Object) -> Any:
    resources = mapping(container, "resources")
    kinds = ("limits", "requests")
    return [{k: v for k, v in mapping(resources, kind).items() if k not in ("cpu", "memory")} for kind in kinds]


def without_amounts(spec: Object) -> Object:
    bare = {kind: [{**c, "resources": None, "resizePolicy": None} for c in items(spec, kind)] for kind in KINDS}
    return {**spec, **bare}


def shrinks_memory(container: Object, was: Object) -> bool:
    """Whether a resize lowers a memory limit, which before 1.34 needed a restart."""
    limit, had = (
        mapping(container, "resources", "limits").get("memory"),
        mapping(was, "resources", "limits").get("memory"),
    )
    ways = {p.get("resourceName"): p.get("restartPolicy") for p in items(container, "resizePolicy")}
    if ways.get("memory") == "RestartContainer" or limit is None:
        return False
    return had is None or less(limit, had)
