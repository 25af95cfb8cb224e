"""Create, update, patch and delete as requests: what both transports share. A transport adds ``_object``.

Source: the Kubernetes API's paths, patch media types and ``DeleteOptions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.client.protocol import PatchType, ResourceType
from sampan.schema.objects import Object

PATCH_MEDIA: dict[PatchType, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class WritingClient:
    """The writing half of ``Client``. ``agent`` is who we are to the API where no field manager is given."""

    agent = "sampan"

    async def _object(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, media: str = "application/json"
    ) -> Object:
        """Send a request and return the object it answers. Raises ``ApiError``."""
        raise TypeError(f"{type(self).__name__} is no transport")

    async def create(
        self,
        resource: ResourceType,
        obj: Object,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        name: str | None = None,
    ) -> Object:
        namespace = namespace or obj.get("metadata", {}).get("namespace")
        return await self._object("POST", resource.path(namespace, name, subresource), {}, obj)

    async def update(self, resource: ResourceType, obj: Object, *, subresource: str | None = None) -> Object:
        metadata = obj["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"], subresource)
        return await self._object("PUT", path, {}, obj)

    async def patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        type: PatchType = "merge",
        subresource: str | None = None,
        field_manager: str | None = None,
        force: bool = False,
    ) -> Object:
        query: dict[str, str] = {}
        if field_manager or type == "apply":
            query["fieldManager"] = field_manager or self.agent
        if force:
            query["force"] = "true"
        path = resource.path(namespace, name, subresource)
        return await self._object("PATCH", path, query, patch, PATCH_MEDIA[type])

    async def delete(
        self,
        resource: ResourceType,
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
        uid: str | None = None,
    ) -> Object:
        options = delete_options(grace_period_seconds, propagation_policy, uid)
        return await self._object("DELETE", resource.path(namespace, name), {}, options)


def delete_options(grace_period_seconds: int | None, propagation_policy: str | None, uid: str | None) -> Object:
    """Return ``DeleteOptions`` with what is given."""
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
    if grace_period_seconds is not None:
        options["gracePeriodSeconds"] = grace_period_seconds
    if propagation_policy:
        options["propagationPolicy"] = propagation_policy
    if uid:
        options["preconditions"] = {"uid": uid}
    return options
