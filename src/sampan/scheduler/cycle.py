"""One scheduling cycle: a pod and the nodes go in, the node that is chosen comes out, or why there is none.

Of many nodes only some are looked at, as kube-scheduler does (percentageOfNodesToScore), beginning with another each time.
A cycle waits for nothing: it sees one state of the world. Source: pkg/scheduler/schedule_one.go.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sampan.scheduler.cluster_state import ClusterState
from sampan.scheduler.extenders import Extenders
from sampan.scheduler.framework import Code, CycleState, NodeStatuses, Status, unresolvable
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo
from sampan.scheduler.profile import Profile
from sampan.scheduler.remembered import Answers, Memory

FEWEST_NODES = 100
"""So many nodes that will do are always looked for."""
LOWEST_PERCENTAGE = 5
NO_NODES = "no nodes available to schedule pods"


@dataclass
class Refusal:
    """Why a pod found no node."""

    nodes: int
    statuses: NodeStatuses = field(default_factory=lambda: NodeStatuses({}, unresolvable()))
    pre_filter: Status | None = None
    post_filter: str = ""
    """What was tried to make room, and what came of it."""

    @property
    def plugins(self) -> set[str]:
        """Return who refused: the pod waits for what they have an interest in."""
        found = {status.plugin for status in self.statuses.by_node.values()}
        if self.pre_filter is not None:
            found.add(self.pre_filter.plugin)
        return found | set(filter(None, self.statuses.others.plugin.split(" ")))

    @property
    def pending(self) -> bool:
        statuses = [*self.statuses.by_node.values(), *([self.pre_filter] if self.pre_filter else ())]
        return any(status.code is Code.PENDING for status in statuses)

    @property
    def message(self) -> str:
        """Return Kubernetes' words: ``0/3 nodes are available: 2 Insufficient cpu, 1 Too many pods.``"""
        if not self.nodes:
            return NO_NODES
        text = f"0/{self.nodes} nodes are available:"
        if self.pre_filter is not None:
            text += f" {self.pre_filter.message}." if self.pre_filter.message else ""
        else:
            text += counted(self.statuses, self.nodes)
        return f"{text} {self.post_filter}" if self.post_filter else text


def refused_on(cluster: ClusterState, node: str, status: Status) -> Refusal:
    """Return the refusal of the one node that was chosen."""
    return Refusal(len(cluster.nodes), NodeStatuses({node: status}, unresolvable()))


def counted(statuses: NodeStatuses, nodes: int) -> str:
    """Return how many nodes each reason ruled out, sorted as text."""
    reasons: dict[str, int] = {}
    for status in statuses.by_node.values():
        for reason in status.reasons:
            reasons[reason] = reasons.get(reason, 0) + 1
    for reason in statuses.others.reasons:
        if (others := nodes - len(statuses.by_node)) > 0:
            reasons[reason] = reasons.get(reason, 0) + others
    listed = sorted(f"{count} {reason}" for reason, count in reasons.items())
    return f" {', '.join(listed)}." if listed else ""


def enough(nodes: int, percentage: int) -> int:
    """Return how many nodes that will do are looked for among so many; ``percentage`` 0: fewer of more."""
    if nodes < FEWEST_NODES or percentage >= 100:
        return nodes
    share = percentage or max(50 - nodes // 125, LOWEST_PERCENTAGE)
    return max(nodes * share // 100, FEWEST_NODES)


def one_of_the_best(nodes: Sequence[NodeInfo], scores: Sequence[int]) -> NodeInfo:
    """Return a node with the highest score: any of several, as kube-scheduler does, so that not one of many equal nodes gets
    all pods until its score falls."""
    highest = max(scores)
    return random.choice([node for node, score in zip(nodes, scores, strict=True) if score == highest])


class Cycles:
    """Runs cycles over one cluster, and remembers which node to begin with."""

    def __init__(self, cluster: ClusterState) -> None:
        self.cluster = cluster
        self._begin = 0
        self._refused: dict[str, Status] = {}
        """Why nodes of the last cycle will not do, where others will."""
        self._memories: dict[str, Memory] = {}

    def choose(self, profile: Profile, state: CycleState, pod: PodInfo) -> NodeInfo | Refusal | Status:
        """Return the best node, why there is none, or an error."""
        if not self.cluster.nodes:
            return Refusal(0)
        answers = self._memories.setdefault(profile.name, Memory()).of(pod, self.cluster.version)
        found = self.fitting(profile, state, pod, answers)
        if isinstance(found, Refusal | Status):
            return found
        if len(found) == 1:
            return found[0]
        scores = profile.scores(state, pod, found, answers)
        if isinstance(scores, Status):
            return scores
        return one_of_the_best(found, scores)

    async def choose_with(
        self, extenders: Extenders, profile: Profile, state: CycleState, pod: PodInfo
    ) -> NodeInfo | Refusal | Status:
        """Return the best node for a pod that extenders are asked about. The world goes on while they think: the node must
        still do when they have answered, and ``state`` is that of then."""
        if not self.cluster.nodes:
            return Refusal(0)
        answers = self._memories.setdefault(profile.name, Memory()).of(pod, self.cluster.version)
        found = self.fitting(profile, state, pod, answers)
        if isinstance(found, Refusal | Status):
            return found
        statuses, scores = self._refused, dict.fromkeys((node.name for node in found), 0)
        if len(found) > 1:
            points = profile.scores(state, pod, found, answers)
            if isinstance(points, Status):
                return points
            scores = dict(zip(scores, points, strict=True))
        kept = await extenders.filter(pod, found)
        if isinstance(kept, Status):
            return kept
        nodes, refused = kept
        if not nodes:
            return Refusal(len(self.cluster.nodes), NodeStatuses({**statuses, **refused}, unresolvable()))
        if len(nodes) > 1:
            for name, more in (await extenders.points(pod, nodes)).items():
                scores[name] = scores.get(name, 0) + more
        random.shuffle(nodes)  # any of several that are equal
        return self._still(profile, state, pod, sorted(nodes, key=lambda node: -scores[node.name]))

    def _still(
        self, profile: Profile, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]
    ) -> NodeInfo | Refusal | Status:
        """Return the first of the nodes that the plugins let through as things are now."""
        state.clear()
        names, status, _ = profile.pre_filter(state, pod, self.cluster.ordered())
        if status is not None:
            refusal = Refusal(len(self.cluster.nodes), NodeStatuses({}, status._replace(reasons=())), status)
            return status if status.code is Code.ERROR else refusal
        statuses: dict[str, Status] = {}
        for node in nodes:
            if self.cluster.nodes.get(node.name) is not node or (names is not None and node.name not in names):
                continue
            why = profile.filter_with_nominated(state, pod, node)
            if why is None:
                return node
            statuses[node.name] = why
        return Refusal(len(self.cluster.nodes), NodeStatuses(statuses, unresolvable()))

    def fitting(
        self, profile: Profile, state: CycleState, pod: PodInfo, answers: Answers
    ) -> list[NodeInfo] | Refusal | Status:
        """Return nodes that will do."""
        nodes = self.cluster.ordered()
        names, status, narrowing = profile.pre_filter(state, pod, nodes)
        if status is not None:
            if status.code is Code.ERROR:
                return status
            return Refusal(len(nodes), NodeStatuses({}, status._replace(reasons=())), status)
        check = profile.filter_with_nominated if profile.nominations else None
        plain = profile.remembering_filters(state, answers)
        statuses: dict[str, Status] = {}

        def will_do(node: NodeInfo) -> bool:
            why = check(state, pod, node) if check is not None else plain(pod, node)
            if why is not None:
                statuses[node.name] = why
            return why is None

        first = self.cluster.nodes.get(pod.nominated) if pod.nominated else None
        if first is not None and (names is None or first.name in names) and will_do(first):
            return [first]
        statuses.clear()
        found = self._look(profile, nodes, names, will_do)
        error = next((status for status in statuses.values() if status.code is Code.ERROR), None)
        if error is not None and not found:
            return error
        if found:
            self._refused = statuses
            return found
        others = unresolvable()
        if names is not None:
            others = unresolvable(f"node(s) didn't satisfy plugin(s) [{' '.join(narrowing)}]")
            others = others._replace(plugin=" ".join(narrowing))
        return Refusal(len(nodes), NodeStatuses(statuses, others))

    def _look(
        self, profile: Profile, nodes: list[NodeInfo], names: frozenset[str] | None, will_do: Callable[[NodeInfo], bool]
    ) -> list[NodeInfo]:
        if names is not None:
            chosen = [node for name in names if (node := self.cluster.nodes.get(name)) is not None]
            return [node for node in chosen if will_do(node)]
        wanted = enough(len(nodes), profile.percentage_of_nodes)
        if wanted == len(nodes):
            return [node for node in nodes if will_do(node)]
        found: list[NodeInfo] = []
        begin = self._begin % len(nodes)
        looked_at = 0
        for node in (*nodes[begin:], *nodes[:begin]):
            looked_at += 1
            if will_do(node):
                found.append(node)
                if len(found) == wanted:
                    break
        self._begin = (begin + looked_at) % len(nodes)
        return found
