"""The Scale of what an autoscaler scales: read, and written whoever else writes to the target."""

from __future__ import annotations

import orjson

from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType
from sampan.schema.objects import Object

TRIES = 5


async def read_scale(client: Client, resource: ResourceType, namespace: str, name: str) -> Object:
    """Return the Scale of an object. Raises ``ApiError``."""
    status, body = await client.raw("GET", resource.path(namespace, name, "scale"))
    found: Object = orjson.loads(body)
    if status != 200:
        raise ApiError(status, found)
    return found


async def write_scale(client: Client, resource: ResourceType, scale: Object, replicas: int) -> None:
    """Set the replicas. Whoever changes something else of the target at that moment does not hinder it."""
    for left in reversed(range(TRIES)):
        wanted = {**scale, "spec": {**(scale.get("spec") or {}), "replicas": replicas}}
        try:
            await client.update(resource, wanted, subresource="scale")
            return
        except ApiError as error:
            if not (left and error.is_conflict):
                raise
        metadata = scale["metadata"]
        scale = await read_scale(client, resource, metadata["namespace"], metadata["name"])
