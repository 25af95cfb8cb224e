"""Filter plugin InterPodAffinity: required affinity and anti-affinity to the pods of a topology domain.

A domain is all nodes with the same value of a term's ``topologyKey``. Anti-affinity counts both ways: the pod's own, and
that of pods which are there already. Source: core/v1 PodAffinityTerm, the messages of kube-scheduler.
"""

from __future__ import annotations

from typing import Any

from sampan.scheduler.node_state import NodeState
from sampan.schema.objects import Object
from sampan.schema.selectors import label_selector

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def inter_pod_affinity(pod: Object, node: NodeState) -> str | None:
    for term in required(pod, "podAntiAffinity"):
        if any(selects(term, pod, other) for other in node.domain_pods(term["topologyKey"])):
            return "node(s) didn't match pod anti-affinity rules"
    for peer in node.repellers.values():
        for other in peer.repellent:
            for term in required(other, "podAntiAffinity"):
                if selects(term, other, pod) and node.shares(peer, term["topologyKey"]):
                    return "node(s) didn't satisfy existing pods anti-affinity rules"
    terms = required(pod, "podAffinity")
    if not terms or all(near(term, pod, node) for term in terms):
        return None
    # the first of a group that wants to be together may go anywhere that has the topology
    alone = not any(
        all(selects(term, pod, other) for term in terms) for peer in node.cluster.values() for other in peer.pods
    )
    itself = all(selects(term, pod, pod) and term["topologyKey"] in node.labels for term in terms)
    return None if alone and itself else "node(s) didn't match pod affinity rules"


def near(term: Object, pod: Object, node: NodeState) -> bool:
    return any(selects(term, pod, other) for other in node.domain_pods(term["topologyKey"]))


def required(pod: Object, kind: str) -> list[Any]:
    """Return the required terms of ``podAffinity`` or ``podAntiAffinity``."""
    return ((pod["spec"].get("affinity") or {}).get(kind) or {}).get(REQUIRED) or []


def selects(term: Object, pod: Object, other: Object) -> bool:
    """Whether a term of ``pod`` means ``other``. A namespaceSelector is known only in its empty form: all namespaces."""
    namespaces = term.get("namespaces") or [pod["metadata"]["namespace"]]
    if other["metadata"]["namespace"] not in namespaces and term.get("namespaceSelector") != {}:
        return False
    return label_selector(term.get("labelSelector")).matches(other["metadata"].get("labels"))
