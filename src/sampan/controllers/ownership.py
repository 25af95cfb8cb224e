"""Who owns what: owner references, adoption and selectors, shared by the controllers that make objects.

Source: ``k8s.io/apimachinery`` meta/v1 OwnerReference and the garbage collection design.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sampan.client.informer import Informer
from sampan.client.protocol import ResourceType
from sampan.schema.objects import Object

BY_OWNER = "controller-uid"
BY_NAMESPACE = "namespace"


def controller_of(obj: Object) -> Object | None:
    """Return the owner reference with ``controller: true``."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def controller_uid(obj: Object) -> list[str]:
    """Index function: the uid of an object's controller."""
    reference = controller_of(obj)
    return [reference["uid"]] if reference else []


def namespace_of(obj: Object) -> list[str]:
    """Index function: the namespace of an object."""
    return [obj["metadata"].get("namespace", "")]


def owner_reference(owner: Object, resource: ResourceType) -> Object:
    """Return the reference that makes ``owner`` the controller of an object."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owner_keys(kind: str) -> Callable[[Object], Iterable[str]]:
    """Return a function from an object to the key of its controller of that kind."""

    def keys(obj: Object) -> Iterable[str]:
        reference = controller_of(obj)
        if reference is not None and reference.get("kind") == kind:
            yield f"{obj['metadata'].get('namespace', '')}/{reference['name']}"

    return keys


def owned_by(informer: Informer, owner: Object) -> list[Object]:
    """Return the objects that an owner controls; the informer has the index ``BY_OWNER``."""
    return informer.by_index(BY_OWNER, owner["metadata"]["uid"])


def condition_of(obj: Object, type: str) -> Object | None:
    """Return a condition of an object's status."""
    for condition in obj.get("status", {}).get("conditions") or ():
        if condition.get("type") == type:
            found: Object = condition
            return found
    return None


def with_condition(conditions: list[Object], new: Object, now: str) -> list[Object]:
    """Return conditions with one set; its transition time changes only with its status."""
    result = []
    stamped = {"lastTransitionTime": now, **new}
    for condition in conditions:
        if condition["type"] != new["type"]:
            result.append(condition)
        elif condition.get("status") == new["status"]:
            stamped["lastTransitionTime"] = condition.get("lastTransitionTime", now)
    return [*result, stamped]


def is_pod_ready(pod: Object) -> bool:
    condition = condition_of(pod, "Ready")
    return condition is not None and condition["status"] == "True"


def is_pod_active(pod: Object) -> bool:
    """Whether a pod counts: neither finished nor being deleted."""
    phase = pod.get("status", {}).get("phase")
    return phase not in ("Succeeded", "Failed") and "deletionTimestamp" not in pod["metadata"]
