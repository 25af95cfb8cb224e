"""Which pods are a workload's own: orphans that its selector matches are adopted, pods that it no longer matches let go.

Source: the contract of ``ControllerRefManager`` (adoption needs a live owner and an orphan without a deletion).
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import PODS
from sampan.controllers.ownership import controller_of, is_pod_active, owned_by, owner_reference
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector

ORPHANS = "orphans"


def namespace_of_orphan(obj: Object) -> list[str]:
    """Index function: the namespace of an object that nobody controls."""
    return [] if controller_of(obj) is not None else [obj["metadata"].get("namespace", "")]


async def claim(
    client: Client,
    pods: Informer,
    owner: Object,
    resource: ResourceType,
    selector: LabelSelector,
    may_adopt: Callable[[Object], bool] = is_pod_active,
    finalizer: str = "",
) -> list[Object]:
    """Return the pods that an owner controls from now on. ``pods`` has the indexes ``BY_OWNER`` and ``ORPHANS``.
    ``finalizer``: what pods of the owner have, and pods that are let go have no more."""
    namespace, uid = owner["metadata"]["namespace"], owner["metadata"]["uid"]
    mine: list[Object] = []
    for pod in owned_by(pods, owner):
        if selector.matches(pod["metadata"].get("labels")):
            mine.append(pod)
        elif "deletionTimestamp" not in pod["metadata"]:
            others = [reference for reference in pod["metadata"]["ownerReferences"] if reference["uid"] != uid]
            kept = [one for one in pod["metadata"].get("finalizers") or () if one != finalizer]
            await set_owners(client, pod, others, finalizers=kept if finalizer else None)
    if "deletionTimestamp" in owner["metadata"]:
        return mine
    for pod in pods.by_index(ORPHANS, namespace):
        if not may_adopt(pod):
            continue
        if selector.matches(pod["metadata"].get("labels")):
            owners = [*(pod["metadata"].get("ownerReferences") or ()), owner_reference(owner, resource)]
            held = [*(pod["metadata"].get("finalizers") or ()), finalizer] if finalizer else None
            mine.append(await set_owners(client, pod, owners, finalizers=held))
    return mine


async def set_owners(
    client: Client,
    obj: Object,
    owners: list[Object],
    resource: ResourceType = PODS,
    finalizers: list[str] | None = None,
) -> Object:
    """Write an object's owners, and its finalizers where they are given. Raises a conflict where ``obj`` is old: what others
    wrote meanwhile would be lost."""
    metadata = obj["metadata"]
    patch: Object = {"resourceVersion": metadata["resourceVersion"], "ownerReferences": owners}
    if finalizers is not None:
        patch["finalizers"] = sorted(set(finalizers))
    return await client.patch(resource, metadata["name"], {"metadata": patch}, metadata.get("namespace"))


def orphans_owners(
    workloads: Informer, selector_of: Callable[[Object], LabelSelector]
) -> Callable[[Object], list[str]]:
    """Return a function from a pod without a controller to the keys of the workloads whose selector matches it."""

    def keys(pod: Object) -> list[str]:
        if controller_of(pod) is not None:
            return []
        namespace = pod["metadata"].get("namespace", "")
        labels = pod["metadata"].get("labels") or {}
        return [
            f"{namespace}/{workload['metadata']['name']}"
            for workload in workloads
            if workload["metadata"]["namespace"] == namespace and selector_of(workload).matches(labels)
        ]

    return keys
