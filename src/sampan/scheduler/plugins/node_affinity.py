"""NodeAffinity: ``nodeSelector`` and node affinity, required and preferred, and what the profile adds to every pod's.

A term that names nodes (``matchFields`` on ``metadata.name``) makes the cycle look at those only: DaemonSets' pods cost one
node each, not all. Source: core/v1 NodeAffinity; ``NodeAffinityArgs``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sampan.client.resources import NODES
from sampan.scheduler.framework import (
    ADD,
    NODE_LABELS,
    SKIP,
    CycleState,
    Handle,
    Interest,
    Plugin,
    PreFilterAnswer,
    Skip,
    Status,
    default_normalize,
    interest,
    unresolvable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PREFERRED, REQUIRED, PodInfo
from sampan.schema.node_selectors import may_be_on, term_matches
from sampan.schema.objects import Object

ELSEWHERE = unresolvable("node(s) didn't match Pod's node affinity/selector")
ENFORCED = unresolvable("node(s) didn't match scheduler-enforced node affinity")
CONFLICT = unresolvable("pod affinity terms conflict")


def node_terms(pod: PodInfo) -> list[Object] | None:
    """Return the required terms, None when there is no required node affinity."""
    required = (pod.affinity.get("nodeAffinity") or {}).get(REQUIRED)
    return None if required is None else required.get("nodeSelectorTerms") or []


def named_nodes(terms: Sequence[Object]) -> frozenset[str] | None:
    """Return the only nodes that the terms can choose, None when one of them does not name nodes."""
    names: set[str] = set()
    for term in terms:
        of_term: set[str] | None = None
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name" and field["operator"] == "In":
                values = set(field.get("values") or ())
                of_term = values if of_term is None else of_term & values
        if of_term is None:
            return None
        names |= of_term
    return frozenset(names)


class NodeAffinity(Plugin):
    name = "NodeAffinity"
    local = True
    ARGS: Mapping[str, Any] = {"addedAffinity": {}}

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        added = args["addedAffinity"] or {}
        self.enforced: Object = {"affinity": {"nodeAffinity": {REQUIRED: added[REQUIRED]}}} if REQUIRED in added else {}
        self.preferred: list[Object] = added.get(PREFERRED) or []

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        terms = node_terms(pod)
        if terms is None and not pod.spec.get("nodeSelector"):
            return None if self.enforced else SKIP
        names = named_nodes(terms) if terms else None
        return CONFLICT if names is not None and not names else names

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        if self.enforced and not may_be_on(self.enforced, node.name, node.labels):
            return ENFORCED
        return None if may_be_on(pod.spec, node.name, node.labels) else ELSEWHERE

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Skip | None:
        terms = [*((pod.affinity.get("nodeAffinity") or {}).get(PREFERRED) or ()), *self.preferred]
        if not terms:
            return SKIP
        state[self.name] = terms
        return None

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        return sum(
            int(term["weight"])
            for term in state[self.name]
            if term_matches(term["preference"], node.name, node.labels) or term["preference"] == {}
        )

    def normalize(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo], scores: list[int]) -> list[int]:
        return default_normalize(scores)

    def interests(self) -> tuple[Interest, ...]:
        def chosen(pod: PodInfo, old: Object | None, new: Object | None) -> bool:
            if new is None:
                return False
            name, labels = new["metadata"]["name"], new["metadata"].get("labels") or {}
            return may_be_on(pod.spec, name, labels) and (not self.enforced or may_be_on(self.enforced, name, labels))

        return (interest(NODES, ADD, NODE_LABELS, hint=chosen),)
