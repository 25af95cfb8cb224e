"""Topology spread constraints, read: a pod's own, or the defaults that spread replicas of a Service or workload.

Source: KEP-895, KEP-1258 (default constraints), KEP-3022 (minDomains), KEP-3094 (which nodes count), KEP-3243
(matchLabelKeys).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from sampan.client.informer import Informer
from sampan.client.protocol import ResourceType
from sampan.client.resources import REPLICA_SETS, REPLICATION_CONTROLLERS, SERVICES, STATEFUL_SETS
from sampan.scheduler.cluster_state import ClusterState
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.plugins.taint_toleration import untolerated
from sampan.scheduler.pod_info import PodInfo, narrowed
from sampan.schema.node_selectors import may_be_on
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector, Requirement, label_selector

HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
REQUIRED, OPTIONAL = "DoNotSchedule", "ScheduleAnyway"
SYSTEM_DEFAULTS: list[Object] = [
    {"maxSkew": 3, "topologyKey": HOSTNAME, "whenUnsatisfiable": OPTIONAL},
    {"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": OPTIONAL},
]
OWNERS = (REPLICATION_CONTROLLERS, REPLICA_SETS, STATEFUL_SETS)


@dataclass(frozen=True)
class Constraint:
    topology_key: str
    max_skew: int
    min_domains: int
    selector: LabelSelector
    honor_affinity: bool
    honor_taints: bool

    def counts_node(self, pod: PodInfo, node: NodeInfo) -> bool:
        """Whether a node is among the domains."""
        if self.honor_affinity and not may_be_on(pod.spec, node.name, node.labels):
            return False
        return not self.honor_taints or untolerated(pod, node.taints) is None

    def selects(self, pod: PodInfo, other: PodInfo) -> bool:
        """Whether another pod is of the group that the pod's constraint spreads."""
        return other.namespace == pod.namespace and self.selector.matches(other.labels)


def constraints(pod: PodInfo, when: str) -> list[Constraint]:
    """Return the pod's own constraints of a kind: ``DoNotSchedule`` or ``ScheduleAnyway``."""
    found = pod.spec.get("topologySpreadConstraints") or ()
    return [
        constraint_of(one, narrowed(one, pod.labels)) for one in found if one.get("whenUnsatisfiable", REQUIRED) == when
    ]


def constraint_of(one: Object, selector: LabelSelector) -> Constraint:
    return Constraint(
        topology_key=one["topologyKey"],
        max_skew=one["maxSkew"],
        min_domains=one.get("minDomains") or 1,
        selector=selector,
        honor_affinity=(one.get("nodeAffinityPolicy") or "Honor") == "Honor",
        honor_taints=(one.get("nodeTaintsPolicy") or "Ignore") == "Honor",
    )


class Defaults:
    """The constraints of pods that have none of their own: those of the configuration, over the pods that the same Services
    and the same owner choose."""

    def __init__(self, args: Any, informer_of: Callable[[ResourceType], Informer]) -> None:
        self.system = args["defaultingType"] == "System"
        self.constraints: list[Object] = SYSTEM_DEFAULTS if self.system else args["defaultConstraints"] or []
        if self.constraints:
            self.services = informer_of(SERVICES)
            self.services.add_index("namespace", lambda service: [service["metadata"]["namespace"]])
            self.owners = {resource.kind: informer_of(resource) for resource in OWNERS}

    def of(self, pod: PodInfo, when: str) -> list[Constraint]:
        wanted = [one for one in self.constraints if one["whenUnsatisfiable"] == when]
        if not wanted:
            return []
        selector = self.selector(pod)
        return [constraint_of(one, selector) for one in wanted] if not selector.empty else []

    def selector(self, pod: PodInfo) -> LabelSelector:
        """Return what all Services of a pod and its owner ask for together."""
        found: set[Requirement] = set()
        for service in self.services.by_index("namespace", pod.namespace):
            wanted = (service.get("spec") or {}).get("selector")
            if wanted and wanted.items() <= pod.labels.items():
                found |= set(label_selector({"matchLabels": wanted}).requirements)
        found |= set(self._of_owner(pod))
        return LabelSelector(sorted(found))

    def _of_owner(self, pod: PodInfo) -> Iterable[Requirement]:
        controller = pod.controller
        informer = self.owners.get(controller["kind"]) if controller is not None else None
        owner = informer.get(f"{pod.namespace}/{controller['name']}") if informer and controller else None
        if owner is None:
            return ()
        selector = (owner.get("spec") or {}).get("selector")
        if owner.get("kind") == "ReplicationController" or (selector and "matchLabels" not in selector
                                                            and "matchExpressions" not in selector):  # fmt: skip
            selector = {"matchLabels": selector or {}}
        return label_selector(selector or {}).requirements


REMEMBERED = 32


class KnownDomains:
    """Which domain each node is of, for pods that may be on the same nodes: until a node's object changes."""

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self._known: OrderedDict[bytes, tuple[int, dict[str, str]]] = OrderedDict()

    def of(self, pod: PodInfo, constraint: Constraint, keys: frozenset[str]) -> dict[str, str]:
        """Return the domain by node, of the nodes that count: those with all the keys that the policies do not leave out."""
        where = (pod.spec.get("nodeSelector"), pod.affinity.get("nodeAffinity")) if constraint.honor_affinity else None
        borne = pod.tolerations if constraint.honor_taints else None
        key = orjson.dumps([constraint.topology_key, sorted(keys), where, borne, constraint.honor_affinity])
        found = self._known.get(key)
        if found is not None and found[0] == self._cluster.version:
            self._known.move_to_end(key)
            return found[1]
        domains = {
            node.name: node.labels[constraint.topology_key]
            for node in self._cluster.nodes.values()
            if keys <= node.labels.keys() and constraint.counts_node(pod, node)
        }
        self._known[key] = (self._cluster.version, domains)
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return domains
