"""NodeGroups: as many simulated Nodes as ``spec.replicas`` says, named after the group and counted from 0.

Nodes are owned by their group, so that the garbage collector takes them along with it; scaling down takes the last first.
"""

from __future__ import annotations

import asyncio

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import NODES
from sampan.schema.objects import Object
from sampan.simulation import nodes
from sampan.simulation.kinds import GROUP, NODE_GROUPS

LABEL = f"{GROUP}/node-group"
BY_GROUP = "node-group"
AT_A_TIME = 64


class NodeGroups(Controller):
    name = "simulated-node-groups"
    workers = 1

    def __init__(self, client: Client, groups: Informer, node_informer: Informer) -> None:
        super().__init__(client)
        self.groups, self.nodes = groups, node_informer
        node_informer.add_index(BY_GROUP, group_of)
        self.watch(groups)
        self.watch(node_informer, group_of)

    async def reconcile(self, key: str) -> float | None:
        group = self.groups.get(key)
        if group is None or "deletionTimestamp" in group["metadata"]:
            return None
        have = {node["metadata"]["name"]: node for node in self.nodes.by_index(BY_GROUP, key)}
        replicas = group["spec"].get("replicas", 1)
        missing = [ordinal for ordinal in range(replicas) if f"{key}-{ordinal}" not in have]
        wanted = {f"{key}-{ordinal}" for ordinal in range(replicas)}
        for start in range(0, len(missing), AT_A_TIME):
            await asyncio.gather(*(self._create(group, ordinal) for ordinal in missing[start : start + AT_A_TIME]))
        extra = [name for name in have if name not in wanted]
        for start in range(0, len(extra), AT_A_TIME):
            await asyncio.gather(*(self._delete(name) for name in extra[start : start + AT_A_TIME]))
        await self._write_status(group, list(have.values()))
        return None

    async def _create(self, group: Object, ordinal: int) -> None:
        try:
            await self.client.create(NODES, node_of(group, ordinal))
        except ApiError as error:
            if not error.already_exists:
                raise

    async def _delete(self, name: str) -> None:
        try:
            await self.client.delete(NODES, name)
        except ApiError as error:
            if not error.is_not_found:
                raise

    async def _write_status(self, group: Object, present: list[Object]) -> None:
        name = group["metadata"]["name"]
        ready = sum(nodes.is_ready(node) for node in present)
        status = {"replicas": len(present), "readyReplicas": ready, "selector": f"{LABEL}={name}"}
        if group.get("status") != status:
            await self.client.update(NODE_GROUPS, {**group, "status": status}, subresource="status")


def group_of(node: Object) -> list[str]:
    """Index function: the group a node belongs to."""
    name = (node["metadata"].get("labels") or {}).get(LABEL)
    return [name] if name else []


def node_of(group: Object, ordinal: int) -> Object:
    """Return a group's Node."""
    name = group["metadata"]["name"]
    template = group["spec"].get("template") or {}
    given = template.get("metadata") or {}
    labels = {LABEL: name, **(given.get("labels") or {})}
    if zones := template.get("zones"):
        labels.setdefault("topology.kubernetes.io/zone", zones[ordinal % len(zones)])
    node = nodes.node_object(f"{name}-{ordinal}", labels=labels, annotations=given.get("annotations"))
    if taints := template.get("taints"):
        node["spec"]["taints"] = taints
    node["metadata"]["ownerReferences"] = [
        {
            "apiVersion": NODE_GROUPS.api_version,
            "kind": NODE_GROUPS.kind,
            "name": name,
            "uid": group["metadata"]["uid"],
            "controller": True,
        }
    ]
    capacity = {resource: str(amount) for resource, amount in (template.get("capacity") or {}).items()}
    if capacity:
        node["status"] = {"capacity": capacity, "allocatable": capacity}
    return node
