"""The role of the cluster's own node: a label that a node may not give itself (NodeRestriction), and an administrator does.

Source: kubeadm's phase mark-control-plane.
"""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import NODES

LABEL = "node-role.kubernetes.io/control-plane"


class ControlPlaneLabel(Controller):
    name = "control-plane-label"

    def __init__(self, client: Client, nodes: Informer, node_name: str) -> None:
        super().__init__(client)
        self.nodes, self.node_name = nodes, node_name
        self.watch(nodes)

    async def reconcile(self, key: str) -> float | None:
        node = self.nodes.get(key)
        if key == self.node_name and node is not None and LABEL not in (node["metadata"].get("labels") or {}):
            await self.client.patch(NODES, key, {"metadata": {"labels": {LABEL: ""}}}, type="merge")
        return None
