"""PodTopologySpread: pods of a group spread evenly over the domains of a topology.

``DoNotSchedule`` constraints refuse nodes that would make the spread too uneven, ``ScheduleAnyway`` ones prefer domains with
fewer pods of the group. Source: KEP-895, pkg/scheduler/framework/plugins/podtopologyspread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sampan.client.resources import NODES, PODS
from sampan.scheduler.framework import (
    ADD,
    DELETE,
    HIGHEST_SCORE,
    NODE_LABELS,
    POD_LABELS,
    SKIP,
    TAINTS,
    CycleState,
    Handle,
    Interest,
    Plugin,
    PreFilterAnswer,
    Skip,
    Status,
    interest,
    unresolvable,
    unschedulable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.plugins.resource_scores import rounded
from sampan.scheduler.plugins.spread_constraints import (
    HOSTNAME,
    OPTIONAL,
    REQUIRED,
    Constraint,
    Defaults,
    KnownDomains,
    constraints,
)
from sampan.scheduler.pod_info import PodInfo, info_of
from sampan.schema.objects import Object

UNEVEN = "node(s) didn't match pod topology spread constraints"
TOO_UNEVEN = unschedulable(UNEVEN)
NO_DOMAIN = unresolvable(f"{UNEVEN} (missing required label)")
IGNORED = -1
"""The score of a node that has not the labels of all constraints."""


class Domains:
    """How many pods of a constraint's group each domain has."""

    __slots__ = ("_fewest", "constraint", "counts", "itself")

    def __init__(self, constraint: Constraint, counts: dict[str, int], itself: int) -> None:
        self.constraint, self.counts = constraint, counts
        self.itself = itself
        """1 if the pod is of the group itself."""
        self._fewest: int | None = None

    def clone(self) -> Domains:
        return Domains(self.constraint, dict(self.counts), self.itself)

    def change(self, domain: str, by: int) -> None:
        self.counts[domain] = self.counts.get(domain, 0) + by
        self._fewest = None

    @property
    def fewest(self) -> int:
        """How many the domain has that has fewest; 0 if there are fewer domains than asked for."""
        if self._fewest is None:
            few = len(self.counts) < self.constraint.min_domains
            self._fewest = 0 if few else min(self.counts.values(), default=0)
        return self._fewest


class Spread(list[Domains]):
    def clone(self) -> Spread:
        return Spread(one.clone() for one in self)


@dataclass
class Preferences:
    """What is known of the nodes before they are scored."""

    domains: list[tuple[Constraint, float, Mapping[str, int]]]
    """Each constraint with its weight, and the pods of its group by domain (by node, of the hostname's)."""
    ignored: set[str]


class PodTopologySpread(Plugin):
    name = "PodTopologySpread"
    ARGS: Mapping[str, Any] = {"defaultConstraints": [], "defaultingType": "System"}

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.defaults = Defaults(args, handle.informer_of)
        self._known = KnownDomains(handle.cluster)

    @classmethod
    def check(cls, args: Mapping[str, Any]) -> None:
        if args["defaultingType"] not in ("System", "List"):
            raise ValueError(
                f'defaultingType: Unsupported value: "{args["defaultingType"]}": supported: "List", "System"'
            )
        if args["defaultingType"] == "System" and args["defaultConstraints"]:
            raise ValueError('defaultConstraints: when .defaultingType is "System" must not be set')
        for one in args["defaultConstraints"] or ():
            if "labelSelector" in one:
                raise ValueError(
                    "defaultConstraints: constraint must not define a selector: it is deduced for each pod"
                )
            if one.get("whenUnsatisfiable") not in (REQUIRED, OPTIONAL) or not one.get("topologyKey"):
                raise ValueError("defaultConstraints: topologyKey and whenUnsatisfiable are required")
            if one.get("maxSkew", 0) <= 0:
                raise ValueError("defaultConstraints: maxSkew must be greater than zero")

    def constraints(self, pod: PodInfo, when: str) -> list[Constraint]:
        if pod.spec.get("topologySpreadConstraints"):
            return constraints(pod, when)
        return self.defaults.of(pod, when)

    def _on_nodes(self, pod: PodInfo, constraint: Constraint) -> Mapping[str, int]:
        return self.handle.cluster.counts.of(pod.namespace, constraint.selector, with_terminating=False)

    # as a filter

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        wanted = self.constraints(pod, REQUIRED)
        if not wanted:
            return SKIP
        keys = frozenset(constraint.topology_key for constraint in wanted)
        state[self.name] = Spread(self._domains(pod, constraint, keys) for constraint in wanted)
        return None

    def _domains(self, pod: PodInfo, constraint: Constraint, keys: frozenset[str]) -> Domains:
        domain_of = self._known.of(pod, constraint, keys)
        counts = dict.fromkeys(domain_of.values(), 0)
        for name, count in self._on_nodes(pod, constraint).items():
            domain = domain_of.get(name)
            if domain is not None:
                counts[domain] += count
        return Domains(constraint, counts, int(constraint.selector.matches(pod.labels)))

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        for one in state[self.name]:
            domain = node.labels.get(one.constraint.topology_key)
            if domain is None:
                return NO_DOMAIN
            if one.counts.get(domain, 0) + one.itself - one.fewest > one.constraint.max_skew:
                return TOO_UNEVEN
        return None

    def add_pod(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> Status | None:
        self._change(state, pod, other, node, 1)
        return None

    def remove_pod(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> Status | None:
        self._change(state, pod, other, node, -1)
        return None

    def _change(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo, sign: int) -> None:
        spread: Spread = state[self.name]
        if other.terminating or any(one.constraint.topology_key not in node.labels for one in spread):
            return
        for one in spread:
            if one.constraint.selects(pod, other) and one.constraint.counts_node(pod, node):
                one.change(node.labels[one.constraint.topology_key], sign)

    # as a score

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        wanted = self.constraints(pod, OPTIONAL)
        if not wanted:
            return SKIP
        # of the system's own defaults, clusters without zones just have none of the zones' spread
        whole = bool(pod.spec.get("topologySpreadConstraints")) or not self.defaults.system
        keys = {constraint.topology_key for constraint in wanted}
        ignored = {node.name for node in nodes if whole and not keys <= node.labels.keys()}
        domains = []
        for constraint in wanted:
            counts, size = self._preferred(pod, constraint, nodes, ignored, keys if whole else set())
            domains.append((constraint, math.log(size + 2), counts))
        state[f"{self.name} scores"] = Preferences(domains, ignored)
        return None

    def _preferred(
        self, pod: PodInfo, constraint: Constraint, nodes: Sequence[NodeInfo], ignored: set[str], keys: set[str]
    ) -> tuple[Mapping[str, int], int]:
        """Return the pods of the group by domain (by node, of the hostname's), and how many domains there are."""
        on_node = self._on_nodes(pod, constraint)
        key = constraint.topology_key
        if key == HOSTNAME:
            return on_node, len(nodes) - len(ignored)
        counts = {node.labels[key]: 0 for node in nodes if key in node.labels and node.name not in ignored}
        for name, count in on_node.items():
            node = self.handle.cluster.nodes.get(name)
            if node is None or not keys <= node.labels.keys() or node.labels.get(key) not in counts:
                continue
            if constraint.counts_node(pod, node):
                counts[node.labels[key]] += count
        return counts, len(counts)

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        known: Preferences = state[f"{self.name} scores"]
        totals = [0.0] * len(nodes)
        for constraint, weight, counts in known.domains:
            key, extra = constraint.topology_key, constraint.max_skew - 1
            for index, node in enumerate(nodes):
                domain = node.labels.get(key)
                if domain is not None:
                    totals[index] += counts.get(node.name if key == HOSTNAME else domain, 0) * weight + extra
        ignored = known.ignored
        return [IGNORED if node.name in ignored else rounded(total) for node, total in zip(nodes, totals, strict=True)]

    def normalize(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo], scores: list[int]) -> list[int]:
        counted = [score for score in scores if score != IGNORED]
        if not counted:
            return [0] * len(scores)
        lowest, highest = min(counted), max(counted)
        if not highest:
            return [0 if score == IGNORED else HIGHEST_SCORE for score in scores]
        return [0 if score == IGNORED else HIGHEST_SCORE * (highest + lowest - score) // highest for score in scores]

    def interests(self) -> tuple[Interest, ...]:
        def same_group(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
            wanted = self.constraints(pod, REQUIRED)
            others = [info_of(other) for other in (old, new) if other is not None]
            return any(one.selects(pod, other) for one in wanted for other in others)

        def has_domains(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
            keys = {one.topology_key for one in self.constraints(pod, REQUIRED)}
            nodes = [node for node in (old, new) if node is not None]
            return any(keys <= (node["metadata"].get("labels") or {}).keys() for node in nodes)

        return (
            interest(PODS, ADD, DELETE, POD_LABELS, hint=same_group),
            interest(NODES, ADD, DELETE, NODE_LABELS, TAINTS, hint=has_domains),
        )
