"""A profile: the plugins that pods of one ``schedulerName`` meet, and how each of their points is run.

Which plugin has which point is worked out once; a cycle then calls bound methods in a row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sampan.scheduler.framework import (
    SKIP,
    Code,
    CycleState,
    Interest,
    Narrow,
    NodeStatuses,
    Plugin,
    PostFilterResult,
    Skip,
    Status,
    Together,
    defines,
    failure,
    unresolvable,
    unschedulable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.nominations import Nominations
from sampan.scheduler.pod_info import PodInfo
from sampan.scheduler.remembered import Answer, Answers, local_points

logger = logging.getLogger("sampan.scheduler")

POINTS = (
    "pre_enqueue", "pre_filter", "filter", "post_filter", "pre_score", "score", "reserve", "permit", "pre_bind", "bind",
    "post_bind",
)  # fmt: skip
SKIPPED = "skipped filters", "skipped scores"
"""Where a cycle's state keeps the names of plugins that have nothing to say."""


class Profile:
    """``enabled`` has the plugins of each point in order, ``weights`` are of scores."""

    def __init__(
        self,
        name: str,
        enabled: dict[str, list[Plugin]],
        weights: dict[str, int],
        nominations: Nominations,
        percentage_of_nodes: int = 0,
    ) -> None:
        self.name = name
        self.enabled = {point: enabled.get(point, []) for point in POINTS}
        self.weights = weights
        self.nominations = nominations
        self.percentage_of_nodes = percentage_of_nodes
        self.plugins = {plugin.name: plugin for point in POINTS for plugin in self.enabled[point]}
        self._changing = [p for p in self.enabled["pre_filter"] if defines(p, "add_pod") or defines(p, "remove_pod")]
        self._reserving = [p for p in self.plugins.values() if defines(p, "reserve") or defines(p, "unreserve")]
        self._grouping = [p for p in self.plugins.values() if defines(p, "together")]
        for plugin in self.plugins.values():
            plugin.handle.filters = self.filter_with_nominated
            plugin.handle.pods_changed = self.pods_changed

    def interests(self) -> dict[str, Sequence[Interest]]:
        return {name: plugin.interests() for name, plugin in self.plugins.items()}

    def pre_enqueue(self, pod: PodInfo) -> Status | None:
        for plugin in self.enabled["pre_enqueue"]:
            status = plugin.pre_enqueue(pod)
            if status is not None:
                return status._replace(plugin=plugin.name)
        return None

    async def prepare(self) -> None:
        for plugin in self.plugins.values():
            await plugin.prepare()

    def together(self, pod: PodInfo) -> Together | None:
        for plugin in self._grouping:
            if (found := plugin.together(pod)) is not None:
                return found
        return None

    def not_together(self, together: Together, why: str) -> None:
        for plugin in self._grouping:
            plugin.not_together(together, why)

    # which nodes will do

    def pre_filter(
        self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]
    ) -> tuple[frozenset[str] | None, Status | None, list[str]]:
        """Return the names of the nodes that can do at all (None: any), or why none can; and who narrowed them."""
        skipped: set[str] = set()
        state[SKIPPED[0]] = skipped
        names: frozenset[str] | None = None
        narrowing: list[str] = []
        for plugin in self.enabled["pre_filter"]:
            answer = plugin.pre_filter(state, pod, nodes)
            if answer is SKIP:
                skipped.add(plugin.name)
            elif isinstance(answer, Status):
                return None, answer._replace(plugin=plugin.name), narrowing
            elif isinstance(answer, frozenset):
                narrowing.append(plugin.name)
                names = answer if names is None else names & answer
                if not names:
                    who = " ".join(narrowing)
                    together = " simultaneously" if len(narrowing) > 1 else ""
                    why = f"node(s) didn't satisfy plugin(s) [{who}]{together}"
                    return None, unresolvable(why)._replace(plugin=plugin.name), narrowing
        return names, None, narrowing

    def filters(self, state: CycleState, *, local: bool | None = None) -> Callable[[PodInfo, NodeInfo], Status | None]:
        """Return the check of one node, of the plugins that have something to say in this cycle; ``local``: only of those
        that are, or are not."""
        skipped = state.get(SKIPPED[0], ())
        calls = [
            (plugin.filter, plugin.name)
            for plugin in self.enabled["filter"]
            if plugin.name not in skipped and local in (None, plugin.local)
        ]

        known: dict[int, tuple[Status, Status]] = {}  # plugins answer most nodes with the same status

        def check(pod: PodInfo, node: NodeInfo) -> Status | None:
            for call, name in calls:
                status = call(state, pod, node)
                if status is not None:
                    found = known.get(id(status))
                    if found is None:
                        found = known[id(status)] = (status, status._replace(plugin=name))
                    return found[1]
            return None

        return check

    def filter_with_nominated(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        """Check a node with the pods counted that are nominated to it and no less important; and without them, since they
        may never come (and others' affinity must not rest on them)."""
        nominated = [
            other for other in self.nominations.on(node.name) if other.priority >= pod.priority and other.uid != pod.uid
        ]
        if nominated:
            with_them, trial = node.clone(), state.clone()
            for other in nominated:
                with_them.add(other.placed_on(node.name))
                self.pods_changed(trial, pod, other, with_them, 1)
            status = self.filters(trial)(pod, with_them)
            if status is not None:
                return status
        return self.filters(state)(pod, node)

    def pods_changed(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo, sign: int) -> Status | None:
        """Tell plugins that ``other`` comes to (1) or leaves (-1) a node in a trial."""
        skipped = state.get(SKIPPED[0], ())
        for plugin in self._changing:
            if plugin.name not in skipped:
                change = plugin.add_pod if sign > 0 else plugin.remove_pod
                status = change(state, pod, other, node)
                if status is not None:
                    return status._replace(plugin=plugin.name)
        return None

    async def before_post_filter(self, state: CycleState, pod: PodInfo, statuses: NodeStatuses, narrow: Narrow) -> None:
        for plugin in self.enabled["post_filter"]:
            await plugin.before_post_filter(state, pod, statuses, narrow)

    def post_filter(self, state: CycleState, pod: PodInfo, statuses: NodeStatuses) -> PostFilterResult:
        reasons: list[str] = []
        nominated: str | None = None
        for plugin in self.enabled["post_filter"]:
            result = plugin.post_filter(state, pod, statuses)
            if result.status is None or result.status.code in (Code.UNRESOLVABLE, Code.ERROR):
                return result
            reasons += [reason for reason in result.status.reasons if reason]
            nominated = result.nominated_node if result.nominated_node is not None else nominated
        return PostFilterResult(unschedulable(*reasons), nominated)

    def remembering_filters(self, state: CycleState, answers: Answers) -> Callable[[PodInfo, NodeInfo], Status | None]:
        """Return the same check; what local plugins say is remembered in ``answers``."""
        local, rest = self.filters(state, local=True), self.filters(state, local=False)
        others = any(not p.local and p.name not in state.get(SKIPPED[0], ()) for p in self.enabled["filter"])
        by_node = answers.by_node

        def check(pod: PodInfo, node: NodeInfo) -> Status | None:
            answer = by_node.get(node.name)
            if answer is None or answer.generation != node.generation:
                answer = by_node[node.name] = Answer(node.generation, local(pod, node))
            if answer.status is not None:
                return answer.status
            return rest(pod, node) if others else None

        return check

    # which of them is best

    def scores(
        self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo], answers: Answers | None = None
    ) -> list[int] | Status:
        """Return the weighted points of each node."""
        skipped: set[str] = set()
        for plugin in self.enabled["pre_score"]:
            answer = plugin.pre_score(state, pod, nodes)
            if isinstance(answer, Skip):
                skipped.add(plugin.name)
            elif answer is not None:
                return answer._replace(plugin=plugin.name)
        scoring = [plugin for plugin in self.enabled["score"] if plugin.name not in skipped]
        local = [(plugin, self.weights[plugin.name]) for plugin in scoring if plugin.local]
        total, raw = self._local_points(state, pod, nodes, local, answers or Answers())
        compared = [plugin for plugin, _ in local if defines(plugin, "normalize")]
        for place, plugin in enumerate(compared):
            scores = plugin.normalize(state, pod, nodes, [one[place] for one in raw])
            total = self._added(total, plugin, scores)
        for plugin in scoring:
            if not plugin.local:
                scores = plugin.scores(state, pod, nodes)
                if defines(plugin, "normalize"):
                    scores = plugin.normalize(state, pod, nodes, scores)
                total = self._added(total, plugin, scores)
        return total

    def _added(self, total: list[int], plugin: Plugin, scores: list[int]) -> list[int]:
        weight = self.weights[plugin.name]
        return [so_far + weight * more for so_far, more in zip(total, scores, strict=True)]

    def _local_points(
        self,
        state: CycleState,
        pod: PodInfo,
        nodes: Sequence[NodeInfo],
        plugins: Sequence[tuple[Plugin, int]],
        answers: Answers,
    ) -> tuple[list[int], list[tuple[int, ...]]]:
        """Return ``remembered.local_points``, asking only about nodes that changed (or when other plugins are asked)."""
        asked = tuple(plugin.name for plugin, _ in plugins)
        if answers.asked != asked:
            answers.asked = asked
            for one in answers.by_node.values():
                one.points = None
        found = [answers.of(node) for node in nodes]
        missing = [node for node, one in zip(nodes, found, strict=True) if one is None or one.points is None]
        for node, points, raw in zip(missing, *local_points(state, pod, missing, plugins), strict=True):
            known = answers.of(node)
            if known is None:
                known = answers.by_node[node.name] = Answer(node.generation, None)
            known.points, known.raw = points, raw
        answered = [answers.by_node[node.name] for node in nodes]
        return [one.points or 0 for one in answered], [one.raw for one in answered]

    # making it so

    def reserve(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        for plugin in self._reserving:
            status = plugin.reserve(state, pod, node)
            if status is not None:
                return status._replace(plugin=plugin.name)
        return None

    def unreserve(self, state: CycleState, pod: PodInfo, node: str) -> None:
        for plugin in reversed(self._reserving):
            try:
                plugin.unreserve(state, pod, node)
            except Exception:
                # what the others noted must be taken back all the same
                logger.exception("%s: %s failed to take its reservation back", pod.key, plugin.name)

    async def permit(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        for plugin in self.enabled["permit"]:
            status = await plugin.permit(state, pod, node)
            if status is not None:
                return status._replace(plugin=plugin.name)
        return None

    async def pre_bind(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        for plugin in self.enabled["pre_bind"]:
            status = await plugin.pre_bind(state, pod, node)
            if status is not None:
                return status._replace(plugin=plugin.name)
        return None

    async def bind(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        for plugin in self.enabled["bind"]:
            answer = await plugin.bind(state, pod, node)
            if not isinstance(answer, Skip):
                return answer._replace(plugin=plugin.name) if answer is not None else None
        return failure("no bind plugin took the pod")

    def post_bind(self, state: CycleState, pod: PodInfo, node: str) -> None:
        for plugin in self.enabled["post_bind"]:
            plugin.post_bind(state, pod, node)
