"""Applying manifests of any kind: server-side apply in an order that works.

Definitions of custom resources and namespaces go first, and the resources a definition brings are waited for, so that one
call takes a whole folder of manifests, whatever order its files are in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sampan.client.discovery import ResourceMap
from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS
from sampan.client.waiting import wait_for
from sampan.schema.objects import Object

FIRST = ("CustomResourceDefinition", "Namespace", "ServiceAccount", "ClusterRole", "Role")
ESTABLISHED_SECONDS = 10.0


async def apply(
    client: Client,
    objects: Sequence[Object],
    *,
    namespace: str = "default",
    field_manager: str = "",
    resources: ResourceMap | None = None,
) -> list[Object]:
    """Apply the objects and return them as the API answered, in the order they were given. Objects that name no namespace
    go to ``namespace``. Raises ``ApiError`` and ``UnknownResource``."""
    resources = resources or ResourceMap(client)
    applied: dict[int, Object] = {}
    order = sorted(range(len(objects)), key=lambda at: rank(objects[at]))
    defined: list[str] = []
    for at in order:
        obj = objects[at]
        if defined and rank(obj) > 0:
            for name in defined:
                await wait_for(client, CUSTOM_RESOURCE_DEFINITIONS, name, established, seconds=ESTABLISHED_SECONDS)
            defined = []
        resource = await resources.of_kind(obj["apiVersion"], obj["kind"])
        metadata = obj["metadata"]
        where = metadata.get("namespace", namespace) if resource.namespaced else None
        if "name" not in metadata and "generateName" in metadata:
            applied[at] = await client.create(resource, obj, where)
            continue
        applied[at] = await client.patch(
            resource, metadata["name"], obj, where, type="apply", field_manager=field_manager or None, force=True
        )
        if obj["kind"] == "CustomResourceDefinition":
            defined.append(metadata["name"])
    return [applied[at] for at in range(len(objects))]


async def delete(client: Client, objects: Iterable[Object], *, namespace: str = "default") -> None:
    """Delete what ``apply`` made, last things first; what is gone already is well."""
    resources = ResourceMap(client)
    for obj in sorted(objects, key=rank, reverse=True):
        resource = await resources.of_kind(obj["apiVersion"], obj["kind"])
        where = obj["metadata"].get("namespace", namespace) if resource.namespaced else None
        try:
            await client.delete(resource, obj["metadata"]["name"], where, propagation_policy="Background")
        except ApiError as error:
            if not error.is_not_found:
                raise


def rank(obj: Object) -> int:
    """Return when an object is applied: lower is sooner."""
    kind = obj.get("kind", "")
    return FIRST.index(kind) if kind in FIRST else len(FIRST)


def established(crd: Object | None) -> str:
    """Return why a definition is not served yet, ``""`` when it is."""
    if crd is None:
        return "it does not exist"
    for condition in crd.get("status", {}).get("conditions") or ():
        if condition["type"] == "Established" and condition["status"] == "True":
            return ""
    return "it is not Established"
