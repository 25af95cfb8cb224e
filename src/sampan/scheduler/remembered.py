"""What plugins said of a node, remembered for pods that are alike: replicas ask the same of hundreds of nodes.

A plugin is ``local`` when its filter and score depend on nothing but the pod's signature and the node. Such an answer is
good for as long as the node's ``generation`` is the same, so after each binding one node is asked anew and not all. What
depends on other pods or on volumes is never remembered. Source of the idea: KEP-5598 (pods are alike by their signature).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import orjson

from sampan.scheduler.framework import CycleState, Plugin, Status, defines
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo

SIGNATURES = 32
"""How many kinds of pods are remembered."""
SIGNED = ("affinity", "nodeName", "nodeSelector", "overhead", "resources", "tolerations", "topologySpreadConstraints")
SIGNED_OF_CONTAINERS = ("image", "ports", "resources", "restartPolicy")


def signature(pod: PodInfo) -> bytes:
    """Return what local plugins may look at, as bytes: equal for replicas (their volumes have names of their own)."""
    spec = pod.spec
    containers = (*(spec.get("containers") or ()), {}, *(spec.get("initContainers") or ()))
    each = [[container.get(name) for name in SIGNED_OF_CONTAINERS] for container in containers]
    status = pod.object.get("status") or {}
    held = status.get("containerStatuses")  # of a pod that waits: none, but for one that was moved by hand
    return orjson.dumps([pod.namespace, pod.labels, [spec.get(name) for name in SIGNED], each, held])


class Answer:
    """What local plugins said of one node."""

    __slots__ = ("generation", "points", "raw", "status")

    def __init__(self, generation: int, status: Status | None) -> None:
        self.generation = generation
        self.status = status
        self.points: int | None = None
        """Its weighted points of plugins whose scores are final; None: not asked yet."""
        self.raw: tuple[int, ...] = ()
        """Its scores of plugins that compare nodes with each other (``normalize``)."""


class Answers:
    """The answers about all nodes for one signature, and one version of all nodes' objects together."""

    def __init__(self) -> None:
        self.by_node: dict[str, Answer] = {}
        self.asked: tuple[str, ...] = ()
        """Whose scores the points are: a plugin may have had nothing to say before."""

    def of(self, node: NodeInfo) -> Answer | None:
        found = self.by_node.get(node.name)
        return found if found is not None and found.generation == node.generation else None


class Memory:
    """Answers by signature; the one that was not asked for longest makes room."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[int, Answers]] = OrderedDict()

    def of(self, pod: PodInfo, version: int) -> Answers:
        """Return the answers for pods like this one; ``version`` is that of all nodes' objects (``ClusterState.version``)."""
        key = signature(pod)
        known = self._known.get(key)
        if known is not None and known[0] == version:
            self._known.move_to_end(key)
            return known[1]
        answers = Answers()
        self._known[key] = (version, answers)
        self._known.move_to_end(key)
        if len(self._known) > SIGNATURES:
            self._known.popitem(last=False)
        return answers


def local_points(
    state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo], plugins: Sequence[tuple[Plugin, int]]
) -> tuple[list[int], list[tuple[int, ...]]]:
    """Return of each node the weighted points of the plugins whose scores are final, and the scores of the others."""
    final = [0] * len(nodes)
    raw: list[list[int]] = []
    for plugin, weight in plugins:
        scores = plugin.scores(state, pod, nodes)
        if defines(plugin, "normalize"):
            raw.append(scores)
        else:
            final = [so_far + weight * score for so_far, score in zip(final, scores, strict=True)]
    return final, list(zip(*raw, strict=True)) if raw else [()] * len(nodes)
