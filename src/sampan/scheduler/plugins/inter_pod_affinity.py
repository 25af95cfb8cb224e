"""InterPodAffinity: near some pods and away from others, where "near" is the same domain of a topology.

Required terms refuse nodes: the pod's own, and the anti-affinity of pods that are there. Preferred terms of both give
points. A domain is all nodes with the same value of a term's ``topologyKey``. Source: core/v1 PodAffinityTerm, KEP-2249
(namespaceSelector), KEP-3633 (matchLabelKeys), ``InterPodAffinityArgs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sampan.client.resources import NAMESPACES, NODES, PODS
from sampan.scheduler.framework import (
    ADD,
    DELETE,
    HIGHEST_SCORE,
    NODE_LABELS,
    POD_LABELS,
    SKIP,
    UPDATE,
    CycleState,
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
from sampan.scheduler.pod_info import AffinityTerm, PodInfo, info_of
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector

NOT_NEAR = unresolvable("node(s) didn't match pod affinity rules")
TOO_NEAR = unschedulable("node(s) didn't match pod anti-affinity rules")
REPELLED = unschedulable("node(s) didn't satisfy existing pods anti-affinity rules")

DomainCounts = dict[str, dict[str, int]]
"""By topology key and value."""


@dataclass
class Near:
    """How many pods matter to a pod, by domain."""

    repelling: DomainCounts
    """Of pods that are there and do not want it near."""
    wanted: DomainCounts
    """Of pods that it wants near: those that all its terms mean."""
    unwanted: DomainCounts

    def clone(self) -> Near:
        return Near(*({key: dict(values) for key, values in one.items()} for one in self.all()))

    def all(self) -> tuple[DomainCounts, DomainCounts, DomainCounts]:
        return self.repelling, self.wanted, self.unwanted


def has_any(counts: DomainCounts, labels: Mapping[str, str]) -> bool:
    """Whether a node of these labels is in a domain that counts."""
    for key, values in counts.items():
        value = labels.get(key)
        if value is not None and values.get(value, 0) > 0:
            return True
    return False


def change(counts: DomainCounts, key: str, value: str, by: int) -> None:
    values = counts.setdefault(key, {})
    values[value] = values.get(value, 0) + by


class InterPodAffinity(Plugin):
    name = "InterPodAffinity"
    ARGS: Mapping[str, Any] = {"hardPodAffinityWeight": 1, "ignorePreferredTermsOfExistingPods": False}

    @classmethod
    def check(cls, args: Mapping[str, Any]) -> None:
        if not 0 <= args["hardPodAffinityWeight"] <= 100:
            raise ValueError("hardPodAffinityWeight: not in valid range [0-100]")

    # as a filter

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        cluster = self.handle.cluster
        wanted, unwanted = pod.required_affinity, pod.required_anti_affinity
        near = Near({}, {}, {})
        for term, _, counts in cluster.repelling:
            if term.matches(pod, cluster.namespaces):
                self._count(near.repelling, term.topology_key, counts)
        if wanted:
            together = self._counts(wanted)
            for term in wanted:
                self._count(near.wanted, term.topology_key, together)
        for term in unwanted:
            self._count(near.unwanted, term.topology_key, self._counts([term]))
        if not (wanted or unwanted or any(near.repelling.values())):
            return SKIP
        state[self.name] = near
        return None

    def _counts(self, terms: Sequence[AffinityTerm]) -> Mapping[str, int]:
        """Return how many pods that all the terms mean each node has."""
        cluster = self.handle.cluster
        namespaces = self._namespaces(terms[0])
        for term in terms[1:]:
            namespaces &= self._namespaces(term)
        selector = together(term.selector for term in terms)
        found: dict[str, int] = {}
        if len(namespaces) == 1:
            return cluster.counts.of(next(iter(namespaces)), selector, with_terminating=True)
        for namespace in namespaces:
            for node, count in cluster.counts.of(namespace, selector, with_terminating=True).items():
                found[node] = found.get(node, 0) + count
        return found

    def _namespaces(self, term: AffinityTerm) -> frozenset[str]:
        chosen = term.namespace_selector
        if chosen is None:
            return term.namespaces
        known = self.handle.cluster.namespaces.items()
        return term.namespaces | {name for name, labels in known if chosen.matches(labels)}

    def _count(self, into: DomainCounts, topology_key: str, counts: Mapping[str, int], weight: int = 1) -> None:
        nodes, values = self.handle.cluster.nodes, into.setdefault(topology_key, {})
        for name, count in counts.items():
            node = nodes.get(name)
            value = node.labels.get(topology_key) if node is not None else None
            if value is not None:
                values[value] = values.get(value, 0) + count * weight

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        near: Near = state[self.name]
        labels = node.labels
        if pod.required_affinity and not self._has_wanted(near, pod, labels):
            return NOT_NEAR
        if has_any(near.unwanted, labels):
            return TOO_NEAR
        return REPELLED if has_any(near.repelling, labels) else None

    def _has_wanted(self, near: Near, pod: PodInfo, labels: Mapping[str, str]) -> bool:
        terms = pod.required_affinity
        if not all(term.topology_key in labels for term in terms):
            return False
        if all(near.wanted[term.topology_key].get(labels[term.topology_key], 0) > 0 for term in terms):
            return True
        # the first of a group that wants to be together may go anywhere that has the topology
        alone = not any(count > 0 for values in near.wanted.values() for count in values.values())
        return alone and all(term.matches(pod, self.handle.cluster.namespaces) for term in terms)

    def add_pod(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> Status | None:
        self._change(state[self.name], pod, other, node, 1)
        return None

    def remove_pod(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> Status | None:
        self._change(state[self.name], pod, other, node, -1)
        return None

    def _change(self, near: Near, pod: PodInfo, other: PodInfo, node: NodeInfo, sign: int) -> None:
        namespaces = self.handle.cluster.namespaces
        found = [(near.repelling, term) for term in other.required_anti_affinity if term.matches(pod, namespaces)] + [
            (near.unwanted, term) for term in pod.required_anti_affinity if term.matches(other, namespaces)
        ]
        wanted = pod.required_affinity
        if wanted and all(term.matches(other, namespaces) for term in wanted):
            found += [(near.wanted, term) for term in wanted]
        for counts, term in found:
            value = node.labels.get(term.topology_key)
            if value is not None:
                change(counts, term.topology_key, value, sign)

    # as a score

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        cluster = self.handle.cluster
        liked: DomainCounts = {}
        for sign, terms in ((1, pod.preferred_affinity), (-1, pod.preferred_anti_affinity)):
            for term in terms:
                self._count(liked, term.topology_key, self._counts([term]), sign * term.weight)
        hard = self.args["hardPodAffinityWeight"]
        if hard:
            for term, _, counts in cluster.requiring:
                if term.matches(pod, cluster.namespaces):
                    self._count(liked, term.topology_key, counts, hard)
        if not self.args["ignorePreferredTermsOfExistingPods"]:
            for term, weight, counts in cluster.preferring:
                if term.matches(pod, cluster.namespaces):
                    self._count(liked, term.topology_key, counts, weight)
        if not any(liked.values()):
            return SKIP
        state[f"{self.name} scores"] = liked
        return None

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        liked: DomainCounts = state[f"{self.name} scores"]
        return sum(values.get(node.labels.get(key, ""), 0) for key, values in liked.items() if key in node.labels)

    def normalize(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo], scores: list[int]) -> list[int]:
        lowest, highest = min(scores), max(scores)
        if lowest == highest:
            return [0] * len(scores)
        # by floating point, as kube-scheduler does
        return [int(HIGHEST_SCORE * ((score - lowest) / (highest - lowest))) for score in scores]

    # second chances

    def interests(self) -> tuple[Interest, ...]:
        return (
            interest(PODS, ADD, DELETE, POD_LABELS, hint=self._matters),
            interest(NODES, ADD, DELETE, NODE_LABELS, hint=may_be_near),
            interest(NAMESPACES, ADD, UPDATE),
        )

    def _matters(self, pod: PodInfo, old: Object | None, new: Object | None) -> bool:
        """Whether a pod that changed, came or went is wanted near, was unwanted, or kept this one away."""
        namespaces = self.handle.cluster.namespaces
        for other in (info_of(one) for one in (old, new) if one is not None):
            terms = (*pod.required_affinity, *pod.required_anti_affinity)
            if any(term.matches(other, namespaces) for term in terms):
                return True
            if any(term.matches(pod, namespaces) for term in other.required_anti_affinity):
                return True
        return False


def may_be_near(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
    """Whether a node that came, went or changed its labels may matter. Who wants to be near others needs a node with their
    topology; who is kept away may fit on any that has not, or in a domain that lost a node with those pods."""
    keys = {term.topology_key for term in pod.required_affinity}
    nodes = [node for node in (old, new) if node is not None]
    return not keys or any(keys & (node["metadata"].get("labels") or {}).keys() for node in nodes)


def together(selectors: Iterable[LabelSelector]) -> LabelSelector:
    """Return the selector of what all of them choose."""
    each = list(selectors)
    if any(one.nothing for one in each):
        return each[0] if each[0].nothing else next(one for one in each if one.nothing)
    if len(each) == 1:
        return each[0]
    return LabelSelector(sorted({requirement for one in each for requirement in one.requirements}))
