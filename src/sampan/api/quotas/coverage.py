"""Which quotas an object falls under: by the resources that they bound and by their scopes.

Source: k8s.io/apiserver pkg/quota/v1/generic (Matches), kubernetes pkg/quota/v1/evaluator/core.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sampan.api.quotas.amounts import read
from sampan.api.quotas.usage import ALIASES, DEVICE_CLASS, HUGE_PAGES, STORAGE_CLASS, counted, named
from sampan.api.resources.pods import qos_class
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.objects import Object

COMPUTE_NAMES = frozenset(
    ("pods", "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage",
     "limits.cpu", "limits.memory", "limits.ephemeral-storage")
)  # fmt: skip
MUST_BE_SAID = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
"""Bounded, they must be said by every container: a rule that stays for those who rely on it."""

SERVICE_NAMES = ("services", "services.nodeports", "services.loadbalancers")
CLAIM_NAMES = ("persistentvolumeclaims", "requests.storage")


def tracked(group: str, plural: str, name: str) -> bool:
    """Whether objects of a resource use what is bounded under ``name``."""
    if name == counted(group, plural):
        return True
    if (group, plural) == ("resource.k8s.io", "resourceclaims"):
        return name.endswith(f".{DEVICE_CLASS}/devices")
    if group:
        return False
    if plural == "pods":
        bare = name.removeprefix("requests.")
        extended = bare != name and "/" in bare and not bare.partition("/")[0].endswith("kubernetes.io")
        return name in COMPUTE_NAMES or bare.startswith(HUGE_PAGES) or extended
    if plural == "services":
        return name in SERVICE_NAMES
    if plural == "persistentvolumeclaims":
        return name in CLAIM_NAMES or any(name.endswith(f".{STORAGE_CLASS}/{kind}") for kind in CLAIM_NAMES)
    return plural in ALIASES and name == plural


def selectors_of(quota: Object) -> Iterator[Object]:
    """Yield the scopes of a quota as selectors."""
    spec = mapping(quota, "spec")
    for scope in items(spec, "scopes"):
        yield {"scopeName": scope, "operator": "Exists"}
    yield from items(spec, "scopeSelector", "matchExpressions")


def covers(quota: Object, group: str, plural: str, obj: Object) -> list[str]:
    """Return the resources that an object uses of a quota, [] where it does not fall under it."""
    hard = mapping(quota, "status", "hard")
    names = [name for name in hard if tracked(group, plural, name)]
    if not names or not all(in_scope(selector, group, plural, obj) for selector in selectors_of(quota)):
        return []
    return names


def in_scope(selector: Object, group: str, plural: str, obj: Object) -> bool:
    scope, operator = selector.get("scopeName"), selector.get("operator")
    if (group, plural) == ("", "pods"):
        spec = mapping(obj, "spec")
        if scope == "PriorityClass":
            return selected(operator, items(selector, "values"), text(spec, "priorityClassName"))
        return pod_in_scope(str(scope), spec)
    if (group, plural) == ("", "persistentvolumeclaims") and scope == "VolumeAttributesClass":
        names = {text(obj, *path) for path in ATTRIBUTES} - {""}
        values = items(selector, "values")
        return any(selected(operator, values, name) for name in names) if names else selected(operator, values, "")
    return False


ATTRIBUTES = (
    ("spec", "volumeAttributesClassName"),
    ("status", "currentVolumeAttributesClassName"),
    ("status", "modifyVolumeStatus", "targetVolumeAttributesClassName"),
)


def selected(operator: Any, values: list[Any], value: str) -> bool:
    return {
        "Exists": bool(value),
        "DoesNotExist": not value,
        "In": bool(value) and value in values,
        "NotIn": value not in values,
    }.get(str(operator), False)


def pod_in_scope(scope: str, spec: Object) -> bool:
    if scope in ("Terminating", "NotTerminating"):
        deadline = spec.get("activeDeadlineSeconds")
        return (deadline is not None and deadline >= 0) == (scope == "Terminating")
    if scope in ("BestEffort", "NotBestEffort"):
        return (qos_class(spec) == "BestEffort") == (scope == "BestEffort")
    return scope == "CrossNamespacePodAffinity" and crosses_namespaces(spec)


def crosses_namespaces(spec: Object) -> bool:
    """Whether a pod's affinity looks at pods of other namespaces."""
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = mapping(spec, "affinity", kind)
        terms = [*items(affinity, "requiredDuringSchedulingIgnoredDuringExecution")]
        for weighted in items(affinity, "preferredDuringSchedulingIgnoredDuringExecution"):
            terms.append(mapping(weighted, "podAffinityTerm"))
        if any(items(term, "namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def unsaid(group: str, plural: str, names: Iterable[str], obj: Object) -> str:
    """Return what a pod's containers must say and do not (``must specify limits.cpu for: a``), "" where all is said."""
    spec = mapping(obj, "spec")
    if (group, plural) != ("", "pods") or mapping(spec, "resources"):
        return ""
    wanted = [name for name in names if name in MUST_BE_SAID]
    missing: dict[str, set[str]] = {}
    for container in (*items(spec, "containers"), *items(spec, "initContainers")) if wanted else ():
        said = named(read(mapping(container, "resources", "requests")), read(mapping(container, "resources", "limits")))
        for name in wanted:
            if name not in said:
                missing.setdefault(name, set()).add(str(container.get("name")))
    lines = [f"{name} for: {','.join(sorted(containers))}" for name, containers in sorted(missing.items())]
    return f"must specify {'; '.join(lines)}" if lines else ""
