"""The kinds, the GatewayClass, the IngressClass and the XMesh are there before anything is watched. What exists
already stays as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS, INGRESS_CLASSES
from sampan.gateway import kinds
from sampan.gateway.kinds import resources as r
from sampan.schema.objects import Object


async def install(client: Client, *, makes_kinds: bool = True, gateway_class: str = r.CLASS) -> None:
    """Make what is missing; return when all kinds are served. Raises ``ApiError``. Without ``makes_kinds`` the
    kinds are waited for."""
    first, *others = kinds.definitions()
    if makes_kinds:
        await define(client, first)  # when the API listens, the others go side by side
        await side_by_side(define(client, definition) for definition in others)
    await side_by_side(until_served(client, resource) for resource in r.DEFINED)
    controller = r.controller_of(gateway_class)
    spec = {"controllerName": controller, "description": "Envoy with Python plugins, by Sampan"}
    made = {
        "apiVersion": r.GATEWAY_CLASSES.api_version,
        "kind": "GatewayClass",
        "metadata": {"name": gateway_class},
        "spec": spec,
    }
    await create_if_missing(client, r.GATEWAY_CLASSES, made)
    if gateway_class != r.CLASS:
        there = (await client.get(r.GATEWAY_CLASSES, gateway_class))["spec"]["controllerName"]
        if there != controller:
            text = f"GatewayClass {gateway_class} is another's (controllerName {there}): choose another --class"
            raise ApiError(409, {"reason": "Conflict", "message": text})
    ingress_class = {
        "apiVersion": INGRESS_CLASSES.api_version,
        "kind": INGRESS_CLASSES.kind,
        "metadata": {"name": gateway_class},
        "spec": {"controller": r.ingress_controller_of(gateway_class)},
    }
    await create_if_missing(client, INGRESS_CLASSES, ingress_class)
    if gateway_class != r.CLASS:
        return
    mesh = {"apiVersion": r.MESHES.api_version, "kind": r.MESHES.kind, "metadata": {"name": r.CLASS}}
    mesh_spec = {"controllerName": r.CONTROLLER, "description": "Routes of Services, without sidecars, by Sampan"}
    await create_if_missing(client, r.MESHES, {**mesh, "spec": mesh_spec})


async def define(client: Client, definition: Object) -> None:
    """Make a kind where it is missing. One of our own that is there from another version becomes this version's: what it
    does not know is pruned."""
    await create_if_missing(client, CUSTOM_RESOURCE_DEFINITIONS, definition)
    if definition["spec"]["group"] != r.OWN_GROUP:
        return
    name = definition["metadata"]["name"]
    there = await client.get(CUSTOM_RESOURCE_DEFINITIONS, name)
    schemas = [
        {version["name"]: version["schema"] for version in one["spec"]["versions"]} for one in (there, definition)
    ]
    if schemas[0] != schemas[1]:
        change = {"spec": {"versions": definition["spec"]["versions"]}}
        await client.patch(CUSTOM_RESOURCE_DEFINITIONS, name, change, type="merge")


async def side_by_side(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Return when all are done. Raises what the first that failed has raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except* Exception as failed:
        raise failed.exceptions[0] from None


async def create_if_missing(client: Client, resource: ResourceType, obj: Object) -> None:
    pause = 0.02
    while True:
        try:
            await client.create(resource, obj)
            return
        except ApiError as error:
            if error.already_exists:
                return
            raise
        except Exception as error:
            # the API is forked at the same moment as we are; nothing tells when it listens
            if not (isinstance(error, OSError) or type(error).__module__.startswith("aiohttp")):
                raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)


async def until_served(client: Client, resource: ResourceType) -> None:
    """Return when a new kind is served (a foreign API takes a moment to establish it)."""
    while True:
        try:
            await client.list(resource)
            return
        except ApiError as error:
            if not error.is_not_found:
                raise
            await asyncio.sleep(0.1)
