"""What a failing test needs to see of its cluster: everything that is not ready, with conditions, events and logs.

Objects of every kind that has a status are asked whether they are ready; those that are not are shown with the events
about them and, for pods, the last lines of their containers. Warning events about anything else follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sampan.client import readiness
from sampan.client.discovery import ResourceMap
from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import EVENTS
from sampan.schema.objects import Object

SHOWN = 20
"""Objects, and events of nobody else, that are shown at most."""
LOG_LINES = 15
SKIPPED = {"events", "leases", "secrets", "configmaps", "endpoints", "endpointslices", "componentstatuses"}


async def not_ready(client: Client, resources: ResourceMap) -> str:
    """Return the report, ``""`` when everything is ready and nothing warned."""
    kinds = [known.resource for known in await resources.all(again=True) if shows_state(known.resource, known.verbs)]
    found = await asyncio.gather(*(objects_of(client, kind) for kind in unique(kinds)))
    failing = [(obj, why) for objects in found for obj in objects if (why := readiness.why_not_ready(obj))]
    events = await objects_of(client, EVENTS)
    events.sort(key=lambda event: event["metadata"].get("resourceVersion", "").rjust(20))
    lines: list[str] = []
    for obj, why in failing[:SHOWN]:
        lines += await about(client, obj, why, events)
    if len(failing) > SHOWN:
        lines.append(f"… and {len(failing) - SHOWN} more that are not ready")
    told = {uid_of(obj) for obj, _ in failing}
    others = [e for e in events if e.get("type") == "Warning" and e["involvedObject"].get("uid") not in told]
    lines += [f"event  {name_of(e['involvedObject'])}  {in_words(e)}" for e in others[-SHOWN:]]
    return "\n".join(lines)


def shows_state(resource: ResourceType, verbs: frozenset[str]) -> bool:
    return "list" in verbs and resource.plural not in SKIPPED


def unique(resources: Iterable[ResourceType]) -> list[ResourceType]:
    """Return one version of each resource: the first that discovery names."""
    chosen: dict[tuple[str, str], ResourceType] = {}
    for resource in resources:
        chosen.setdefault((resource.group, resource.plural), resource)
    return list(chosen.values())


async def objects_of(client: Client, resource: ResourceType) -> list[Object]:
    try:
        return (await client.list(resource)).items
    except (ApiError, OSError):
        return []


async def about(client: Client, obj: Object, why: str, events: list[Object]) -> list[str]:
    """Return the lines about one object."""
    lines = [f"{name_of({**obj['metadata'], 'kind': obj['kind']})}: {why}"]
    for found in (obj.get("status") or {}).get("conditions") or ():
        lines.append(f"    condition  {readiness.say(found)}")
    for event in [e for e in events if e["involvedObject"].get("uid") == uid_of(obj)][-SHOWN:]:
        lines.append(f"    event      {in_words(event)}")
    if obj["kind"] == "Pod":
        for container in obj["spec"]["containers"]:
            for line in await last_lines(client, obj, container["name"]):
                lines.append(f"    {container['name']} | {line}")
    return lines


async def last_lines(client: Client, pod: Object, container: str) -> list[str]:
    metadata = pod["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
    query = {"container": container, "tailLines": str(LOG_LINES)}
    try:
        status, body = await client.raw("GET", path, query=query)
    except OSError:
        return []
    return body.decode(errors="replace").splitlines() if status == 200 else []


def in_words(event: Object) -> str:
    count = event.get("count") or 1
    times = f" (x{count})" if count > 1 else ""
    return f"{event.get('type', '')} {event.get('reason', '')}: {event.get('message', '')}{times}"


def name_of(reference: Object) -> str:
    place = f"{reference['namespace']}/" if reference.get("namespace") else ""
    return f"{reference.get('kind', '')} {place}{reference.get('name', '')}"


def uid_of(obj: Object) -> str:
    return str(obj["metadata"].get("uid", ""))
