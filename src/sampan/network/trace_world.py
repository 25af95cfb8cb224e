"""What a trace looks at: the objects of a cluster, read once, and what is found in them by name and by address."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import ENDPOINT_SLICES, NAMESPACES, NETWORK_POLICIES, NODES, PODS, SERVICES
from sampan.network.families import Address, parse_address
from sampan.network.policy_model import PodFacts, Policy, cluster_network_policy, network_policy, pod_facts
from sampan.network.service_endpoints import Place
from sampan.schema.objects import Object

CLUSTER_GROUP, CLUSTER_PLURAL, VERSIONS = "policy.networking.k8s.io", "clusternetworkpolicies", ("v1beta1", "v1alpha2")


@dataclass
class World:
    pods: dict[str, Object] = field(default_factory=dict)
    namespaces: dict[str, Mapping[str, str]] = field(default_factory=dict)
    services: dict[str, Object] = field(default_factory=dict)
    slices: list[Object] = field(default_factory=list)
    nodes: list[Object] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    cluster_domain: str = "cluster.local"

    def facts(self, pod: str) -> PodFacts | None:
        """Return what policies ask of a pod; None for one of the host's network."""
        return pod_facts(self.pods[pod])

    def pod_at(self, address: Address) -> PodFacts | None:
        """Return the pod whose address this is; one of the host's network has none of its own."""
        for pod in self.pods.values():
            facts = pod_facts(pod)
            if facts is not None and address in facts.addresses:
                return facts
        return None

    def node_at(self, address: Address) -> str:
        """Return the node whose address this is, or ``""``."""
        for node in self.nodes:
            for entry in (node.get("status") or {}).get("addresses") or ():
                if parse_address(entry.get("address")) == address:
                    return str(node["metadata"]["name"])
        return ""

    def slices_of(self, service: Object) -> list[Object]:
        metadata = service["metadata"]
        return [
            piece
            for piece in self.slices
            if piece["metadata"].get("namespace") == metadata.get("namespace")
            and (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == metadata["name"]
        ]

    def place(self, node_name: str) -> Place:
        """Return where a node picks endpoints."""
        for node in self.nodes:
            if node["metadata"]["name"] == node_name:
                zone = (node["metadata"].get("labels") or {}).get("topology.kubernetes.io/zone", "")
                listed = [
                    parse_address(each.get("address")) for each in (node.get("status") or {}).get("addresses") or ()
                ]
                return Place(node_name, zone, tuple(address for address in listed if address))
        return Place(node_name)


async def read_world(client: Client, cluster_domain: str) -> World:
    """Read a cluster's objects. Raises ``ApiError``."""

    async def items(resource: ResourceType) -> list[Object]:
        return list((await client.list(resource)).items)

    resources = (PODS, NAMESPACES, SERVICES, ENDPOINT_SLICES, NODES, NETWORK_POLICIES)
    pods, namespaces, services, slices, nodes, policies = await asyncio.gather(*map(items, resources))
    return World(
        pods=_by_key(pods),
        namespaces={one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in namespaces},
        services=_by_key(services),
        slices=slices,
        nodes=nodes,
        policies=[*map(network_policy, policies), *map(cluster_network_policy, await tiered(client))],
        cluster_domain=cluster_domain,
    )


async def tiered(client: Client) -> list[Object]:
    """Return the ClusterNetworkPolicies; none where there is no such kind."""
    for version in VERSIONS:
        resource = ResourceType(CLUSTER_GROUP, version, CLUSTER_PLURAL, "ClusterNetworkPolicy", namespaced=False)
        try:
            return list((await client.list(resource)).items)
        except ApiError as error:
            if error.code != 404:
                raise
    return []


def _by_key(objects: Iterable[Object]) -> dict[str, Object]:
    return {f"{one['metadata'].get('namespace')}/{one['metadata']['name']}": one for one in objects}
