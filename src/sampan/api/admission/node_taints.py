"""TaintNodesByCondition and PodTopologyLabels: what nodes and the pods on them are marked with.

A new node takes no pods until it is ready: the node lifecycle controller takes the taint off. A pod carries the zone and
region of its node. Source: kubernetes plugin/pkg/admission/nodetaint, plugin/pkg/admission/podtopologylabels (KEP-4742).
"""

from __future__ import annotations

from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items, mapping, text
from sampan.store.layout import prefix_of

NODES = prefix_of("nodes")
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
TOPOLOGY = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class TaintNodesByCondition:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.kind == "Node" and not resource.group and not subresource and operation == "CREATE"

    async def admit(self, admission: Admission) -> None:
        if admission.object is None:
            return
        taints = items(admission.object, "spec", "taints")
        if not any(all(taint.get(key) == value for key, value in NOT_READY.items()) for taint in taints):
            admission.object.setdefault("spec", {})["taints"] = [*taints, dict(NOT_READY)]


class PodTopologyLabels:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.kind == "Pod" and not resource.group and subresource == "binding"

    async def admit(self, admission: Admission) -> None:
        pod = admission.object
        name = text(pod, "spec", "nodeName")
        record = admission.api.store.get(NODES + name) if name else None
        if pod is None or record is None:
            return
        labels = mapping(admission.api.parsed(record), "metadata", "labels")
        own = {key: labels[key] for key in TOPOLOGY if key in labels}
        if own:
            pod["metadata"]["labels"] = {**mapping(pod, "metadata", "labels"), **own}
