"""scheduling.k8s.io: PriorityClass, and the workloads that are scheduled as a whole (Workload, PodGroup).

Source: kubernetes pkg/apis/scheduling (validation), KEP-4671 (gang scheduling).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, immutable, label, one_of, subdomain
from sampan.api.resources.columns import AGE, NAME, field, number
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import duplicate, forbidden, invalid, required, too_many
from sampan.schema.objects import Object

GROUP = "scheduling.k8s.io"
HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PREFIX = "system-"
SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
MAX_POD_GROUPS = 8


def default_class(priority_class: Object) -> None:
    priority_class.setdefault("preemptionPolicy", "PreemptLowerPriority")


def validate_class(new: Object, old: Object | None) -> Iterator[Cause]:
    name, value = text(new, "metadata", "name"), new.get("value") or 0
    if name.startswith(SYSTEM_PREFIX):
        wrong = system_class(name, value, bool(new.get("globalDefault"))) if old is None else ""
        if wrong:
            reserved = f"priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: "
            yield forbidden("metadata.name", reserved + wrong)
    elif value > HIGHEST_USER_PRIORITY:
        yield forbidden("value", f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}")
    yield from one_of("preemptionPolicy", new.get("preemptionPolicy"), ("PreemptLowerPriority", "Never"))
    if old is not None:
        if value != (old.get("value") or 0):
            yield forbidden("value", "may not be changed in an update.")
        yield from immutable("preemptionPolicy", new.get("preemptionPolicy"), old.get("preemptionPolicy"))


def system_class(name: str, value: int, global_default: bool) -> str:
    """Return why a class may not have a name of the system's, "" where it may."""
    wanted = SYSTEM_CLASSES.get(name)
    if wanted is None:
        return f"{name} is not a known system priority class"
    if value != wanted:
        return f"value of {name} PriorityClass must be {wanted}"
    return f"globalDefault of {name} PriorityClass must be false" if global_default else ""


PRIORITY_CLASS = Resource(
    group=GROUP,
    version="v1",
    kind="PriorityClass",
    plural="priorityclasses",
    namespaced=False,
    short_names=("pc",),
    default=default_class,
    validate=collect(validate_class),
    columns=(
        NAME,
        Column("Value", number("value"), type="integer"),
        Column("Global-Default", lambda o: str(bool(o.get("globalDefault"))).lower(), type="boolean"),
        AGE,
        Column("PreemptionPolicy", ".preemptionPolicy"),
    ),
)

# workloads


def policy(spec: Object, path: str, name: str, count: str) -> Iterator[Cause]:
    """Exactly one of basic and gang; a gang has a positive count."""
    chosen = mapping(spec, name)
    given = [key for key in ("basic", "gang") if chosen.get(key) is not None]
    if not given:
        yield required(f"{path}.{name}", "must specify one of: `basic`, `gang`")
    elif len(given) > 1:
        yield invalid(f"{path}.{name}", "{basic, gang}", "must specify exactly one of: `basic`, `gang`")
    least = dig(chosen, "gang", count)
    if chosen.get("gang") is not None and (not isinstance(least, int) or least < 1):
        yield invalid(f"{path}.{name}.gang.{count}", least or 0, "must be greater than or equal to 1")


def group_policy(spec: Object, path: str) -> Iterator[Cause]:
    """The policy of pods, or of groups of pods, under either of the two names that it has had."""
    name = "policy" if "policy" in spec else "schedulingPolicy"
    count = "minGroupCount" if dig(spec, name, "gang", "minGroupCount") is not None else "minCount"
    yield from policy(spec, path, name, count)


def unique(entries: Iterable[Any], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        name = entry.get("name") or ""
        yield from label(f"{path}[{index}].name", name)
        if name and name in seen:
            yield duplicate(f"{path}[{index}]", {"name": name})
        seen.add(name)


def templates(spec: Object, path: str) -> Iterator[Cause]:
    """Templates of groups, and of groups of groups in each other."""
    for key in ("podGroups", "podGroupTemplates", "compositePodGroupTemplates"):
        entries = items(spec, key)
        if len(entries) > MAX_POD_GROUPS:
            yield too_many(f"{path}.{key}", len(entries), MAX_POD_GROUPS)
            continue
        yield from unique(entries, f"{path}.{key}")
        for index, entry in enumerate(entries):
            yield from group_policy(entry, f"{path}.{key}[{index}]")
            yield from subdomain(
                f"{path}.{key}[{index}].priorityClassName", entry.get("priorityClassName"), needed=False
            )
            if key == "compositePodGroupTemplates":
                yield from templates(entry, f"{path}.{key}[{index}]")


def validate_workload(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    if not any(items(spec, key) for key in ("podGroups", "podGroupTemplates", "compositePodGroupTemplates")):
        field_name = "podGroups" if new.get("apiVersion") == f"{GROUP}/v1alpha1" else "podGroupTemplates"
        yield required(f"spec.{field_name}", "must have at least one item")
    yield from templates(spec, "spec")
    reference = spec.get("controllerRef")
    if reference is not None:
        yield from subdomain("spec.controllerRef.apiGroup", reference.get("apiGroup"), needed=False)
        for key in ("kind", "name"):
            if not reference.get(key):
                yield required(f"spec.controllerRef.{key}")
    if old is not None:
        for key in ("podGroups", "podGroupTemplates", "compositePodGroupTemplates"):
            yield from immutable(f"spec.{key}", spec.get(key), dig(old, "spec", key))
        if dig(old, "spec", "controllerRef") is not None:
            yield from immutable("spec.controllerRef", reference, dig(old, "spec", "controllerRef"))


def validate_group(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    yield from group_policy(spec, "spec")
    yield from subdomain("spec.priorityClassName", spec.get("priorityClassName"), needed=False)
    if old is not None:
        yield from immutable("spec", without_counts(spec), without_counts(mapping(old, "spec")))


def without_counts(spec: Object) -> Object:
    """Return what of a group never changes: all but how many make the gang."""
    gang = dig(spec, "schedulingPolicy", "gang")
    return {**spec, "schedulingPolicy": "gang"} if gang is not None else spec


def drop_status(new: Object, old: Object | None) -> None:
    if old is None:
        new.pop("status", None)


def workload(version: str) -> Resource:
    return Resource(
        group=GROUP,
        version=version,
        kind="Workload",
        plural="workloads",
        validate=collect(validate_workload),
        columns=(NAME, AGE),
    )


def pod_group(version: str, kind: str = "PodGroup") -> Resource:
    return Resource(
        group=GROUP,
        version=version,
        kind=kind,
        plural=kind.lower() + "s",
        status=True,
        prepare=drop_status,
        validate=collect(validate_group),
        columns=(
            NAME,
            Column("Workload", field("spec", "workloadRef", "workloadName")),
            AGE,
        ),
    )


POD_GROUPS = tuple(pod_group(version) for version in ("v1beta1", "v1alpha3", "v1alpha2"))
RESOURCES = (
    PRIORITY_CLASS,
    *(workload(version) for version in ("v1beta1", "v1alpha3", "v1alpha2", "v1alpha1")),
    *POD_GROUPS,
    pod_group("v1alpha3", "CompositePodGroup"),
)
