"""Who would have to go so that a pod fits: pure choices over trials. Source: pkg/scheduler/framework/preemption.

The fewest and least important pods are taken, and PodDisruptionBudgets are respected as long as there is another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sampan.scheduler.framework import CycleState, Status, unresolvable
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from sampan.schema.selectors import label_selector

NO_VICTIMS = unresolvable("No preemption victims found for incoming pod")
Filters = Callable[[CycleState, PodInfo, NodeInfo], "Status | None"]
PodsChanged = Callable[[CycleState, PodInfo, PodInfo, NodeInfo, int], "Status | None"]


@dataclass(frozen=True)
class Candidate:
    """A node, and who would have to go from it: the most important first."""

    node: str
    victims: tuple[PodInfo, ...]
    violations: int
    """How many of them a PodDisruptionBudget would keep."""


def started(pod: PodInfo) -> str:
    """Return when a pod started, as text that sorts; one that has not is the youngest."""
    return (pod.object.get("status") or {}).get("startTime") or "~"


def importance(pod: PodInfo) -> tuple[int, str, str]:
    """Return a key that sorts the most important pod first: by priority, then who runs longer."""
    return -pod.priority, started(pod), pod.key


class Trial:
    """A node of which pods are taken away and given back, to see whether the pod would fit."""

    def __init__(
        self, state: CycleState, pod: PodInfo, node: NodeInfo, filters: Filters, pods_changed: PodsChanged
    ) -> None:
        self.state, self.pod, self.node = state.clone(), pod, node.clone()
        self._filters, self._pods_changed = filters, pods_changed

    def take(self, other: PodInfo) -> None:
        self.node.remove(other.key)
        self._pods_changed(self.state, self.pod, other, self.node, -1)

    def give_back(self, other: PodInfo) -> None:
        self.node.add(other)
        self._pods_changed(self.state, self.pod, other, self.node, 1)

    def why_not(self) -> Status | None:
        return self._filters(self.state, self.pod, self.node)


def candidate(trial: Trial, budgets: Iterable[Object]) -> Candidate | Status:
    """Return who would have to go from the trial's node, or why that would not help: all that are less important are taken
    away, then as many as possible are given back, first those that budgets keep, the most important first."""
    pod = trial.pod
    lower = sorted((one for one in trial.node.pods.values() if one.priority < pod.priority), key=importance)
    if not lower:
        return NO_VICTIMS
    for one in lower:
        trial.take(one)
    why = trial.why_not()
    if why is not None:
        return why
    kept, free = split_by_budgets(lower, budgets)
    victims: list[PodInfo] = []

    def reprieve(one: PodInfo) -> bool:
        trial.give_back(one)
        if trial.why_not() is None:
            return True
        trial.take(one)
        victims.append(one)
        return False

    violations = sum(not reprieve(one) for one in kept)
    for one in free:
        reprieve(one)
    return Candidate(trial.node.name, tuple(sorted(victims, key=importance)), violations)


def split_by_budgets(pods: Sequence[PodInfo], budgets: Iterable[Object]) -> tuple[list[PodInfo], list[PodInfo]]:
    """Return the pods whose eviction would break a PodDisruptionBudget, and the others; both in the order given."""
    allowed = [
        ((one.get("status") or {}).get("disruptionsAllowed") or 0, one, label_selector((one["spec"]).get("selector")))
        for one in budgets
    ]
    left = [count for count, _, _ in allowed]
    kept: list[PodInfo] = []
    free: list[PodInfo] = []
    for pod in pods:
        breaks = False
        for index, (_, budget, selector) in enumerate(allowed):
            if budget["metadata"]["namespace"] != pod.namespace or not selector.matches(pod.labels):
                continue  # an empty selector means every pod, here as for evictions (kubernetes #141785)
            if pod.name in ((budget.get("status") or {}).get("disruptedPods") or {}):
                continue  # counted already: its eviction is under way
            left[index] -= 1
            breaks = breaks or left[index] < 0
        (kept if breaks else free).append(pod)
    return kept, free


def best(candidates: Sequence[Candidate]) -> Candidate:
    """Return where least is lost: the fewest broken budgets, then the least important victims (the most important of each,
    then all together), the fewest of them, and the ones that started last."""

    def loss(one: Candidate) -> tuple[int, int, int, int]:
        first = one.victims[0].priority if one.victims else -(2**31)
        # shifted, so that more victims never weigh less than fewer because priorities are negative
        total = sum(victim.priority + 2**31 for victim in one.victims)
        return one.violations, first, total, len(one.victims)

    least = min(map(loss, candidates))
    equal = [one for one in candidates if loss(one) == least]
    return max(equal, key=earliest_start)


def earliest_start(one: Candidate) -> str:
    """Return the earliest start among its most important victims."""
    highest = max((victim.priority for victim in one.victims), default=0)
    return min((started(victim) for victim in one.victims if victim.priority == highest), default="~")
