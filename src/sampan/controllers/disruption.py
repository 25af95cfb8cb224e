"""PodDisruptionBudget: how many pods are healthy, how many must be, and so how many may be evicted now.

``counted`` is pure: from a budget, its pods and the scale of what owns them to the status. The eviction subresource spends
``disruptionsAllowed`` and notes the pod in ``disruptedPods``; an entry goes when the pod is being deleted, or when nothing
has come of it for two minutes. Source: policy/v1, the disruption controller's documented arithmetic (percentages round up).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import orjson

from sampan.client.controller import Controller
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import DEPLOYMENTS, POD_DISRUPTION_BUDGETS, REPLICA_SETS
from sampan.controllers.deployment_plan import resolve
from sampan.controllers.gathering import Gathering
from sampan.controllers.graph import Graph
from sampan.controllers.ownership import BY_NAMESPACE, controller_of, is_pod_ready, namespace_of, with_condition
from sampan.schema.durations import seconds_since
from sampan.schema.objects import Object
from sampan.schema.selectors import label_selector

DISRUPTED_SECONDS = 120.0
CONDITION = "DisruptionAllowed"
UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of the PDB"
    " cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set"
    ' ".spec.minAvailable" field of the PDB to an integer value.'
)


class Expected(NamedTuple):
    """How many pods there should be, and how many of them healthy."""

    pods: int
    healthy: int


def expected(budget: Object, pods: list[Object], scale: int) -> Expected:
    """Return what a budget asks of its pods; ``scale`` is the sum of the replicas of what controls them."""
    spec = budget["spec"]
    if (most := spec.get("maxUnavailable")) is not None:
        return Expected(scale, max(scale - resolve(most, scale, up=True), 0))
    least = spec.get("minAvailable", 1)
    if isinstance(least, int):
        return Expected(len(pods), least)
    return Expected(scale, resolve(least, scale, up=True))


def needs_scale(budget: Object) -> bool:
    return budget["spec"].get("maxUnavailable") is not None or isinstance(budget["spec"].get("minAvailable"), str)


def still_disrupted(budget: Object, pods: list[Object]) -> dict[str, str]:
    """Return the entries of ``disruptedPods`` that still count: the pod is there, not yet being deleted, and recent."""
    there = {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
    noted = budget.get("status", {}).get("disruptedPods") or {}
    return {name: at for name, at in noted.items() if name in there and seconds_since(at) < DISRUPTED_SECONDS}


def counted(budget: Object, pods: list[Object], scale: int) -> Object:
    """Return the status of a budget."""
    disrupted = still_disrupted(budget, pods)
    wanted = expected(budget, pods, scale)
    healthy = sum(
        1
        for pod in pods
        if is_pod_ready(pod) and "deletionTimestamp" not in pod["metadata"] and pod["metadata"]["name"] not in disrupted
    )
    allowed = max(healthy - wanted.healthy, 0) if wanted.pods > 0 else 0
    reason = "SufficientPods" if allowed else "InsufficientPods"
    status = {
        "currentHealthy": healthy,
        "desiredHealthy": wanted.healthy,
        "expectedPods": wanted.pods,
        "disruptionsAllowed": allowed,
        "conditions": conditions(budget, str(allowed > 0), reason, ""),
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    return status | ({"disruptedPods": disrupted} if disrupted else {})


def failed(budget: Object, why: str) -> Object:
    """Return the status of a budget that cannot be counted: nothing may be disrupted."""
    return {
        **budget.get("status", {}),
        "disruptionsAllowed": 0,
        "conditions": conditions(budget, "False", "SyncFailed", why),
        "observedGeneration": budget["metadata"].get("generation", 0),
    }


def conditions(budget: Object, status: str, reason: str, message: str) -> list[Object]:
    new = {
        "type": CONDITION,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    return with_condition(list(budget.get("status", {}).get("conditions") or ()), new, timestamp())


class NoScale(Exception):
    """What controls a pod has no scale that could be read; the message says which and why."""


class DisruptionController(Controller):
    name = "disruption-controller"

    def __init__(
        self,
        client: Client,
        budgets: Informer,
        pods: Informer,
        replica_sets: Informer,
        deployments: Informer,
        graph: Graph,
        events: EventRecorder,
    ) -> None:
        super().__init__(client)
        self.budgets, self.pods, self.events = budgets, pods, events
        self.graph = graph
        self.gathering = Gathering()
        budgets.add_index(BY_NAMESPACE, namespace_of)
        pods.add_index(BY_NAMESPACE, namespace_of)
        budgets.add_handler(self._on_budget)
        pods.add_handler(self._on_pod)
        self._informers += [budgets, pods]
        for workloads in (replica_sets, deployments):  # their scale counts; other kinds' is read when their pods change
            self.watch(workloads, self._budgets_in)

    def _on_budget(self, change: str, old: Object | None, new: Object) -> None:
        """Have a budget looked at; what was just written of it is told, too."""
        key = key_of(new)
        self.queue.add_after(key, self.gathering.pause(key))

    def _on_pod(self, change: str, old: Object | None, new: Object) -> None:
        for pod in (new,) if old is None else (new, old):
            for key in self._budgets_of(pod):
                self.queue.add_after(key, self.gathering.pause(key))

    async def run(self) -> None:
        await self.graph.synced()
        await super().run()

    def _budgets_in(self, obj: Object) -> Iterable[str]:
        namespace = obj["metadata"].get("namespace", "")
        for budget in self.budgets.by_index(BY_NAMESPACE, namespace):
            if needs_scale(budget):
                yield f"{namespace}/{budget['metadata']['name']}"

    def _budgets_of(self, pod: Object) -> Iterable[str]:
        namespace, labels = pod["metadata"].get("namespace", ""), pod["metadata"].get("labels")
        for budget in self.budgets.by_index(BY_NAMESPACE, namespace):
            if label_selector(budget["spec"].get("selector")).matches(labels):
                yield f"{namespace}/{budget['metadata']['name']}"

    async def reconcile(self, key: str) -> float | None:
        budget = self.budgets.get(key)
        if budget is None:
            self.gathering.forget(key)
            return None
        return await self.gathering.look(key, self._look(key, budget))

    async def _look(self, key: str, budget: Object) -> float | None:
        selector = label_selector(budget["spec"].get("selector"))
        namespace = budget["metadata"]["namespace"]
        pods = [
            pod
            for pod in self.pods.by_index(BY_NAMESPACE, namespace)
            if selector.matches(pod["metadata"].get("labels"))
        ]
        if not pods:
            self.events.normal(budget, "NoPods", "No matching pods found")
        for pod in pods:
            at = (budget.get("status", {}).get("disruptedPods") or {}).get(pod["metadata"]["name"])
            if at and "deletionTimestamp" not in pod["metadata"] and seconds_since(at) >= DISRUPTED_SECONDS:
                message = f"Pod was expected by PDB {key} to be deleted but it wasn't"
                self.events.warning(pod, "NotDeleted", message)
        try:
            scale = await self._scale(budget, pods) if needs_scale(budget) else 0
            status = counted(budget, pods, scale)
        except NoScale as error:
            message = f"Failed to calculate the number of expected pods: {error}"
            self.events.warning(budget, "CalculateExpectedPodCountFailed", message)
            status = failed(budget, str(error))
        if status != budget.get("status"):
            await self.client.update(POD_DISRUPTION_BUDGETS, {**budget, "status": status}, subresource="status")
        entries = status.get("disruptedPods") or {}
        return min((DISRUPTED_SECONDS - seconds_since(at) for at in entries.values()), default=None)

    async def _scale(self, budget: Object, pods: list[Object]) -> int:
        """Return the sum of the replicas of everything that controls one of the pods. Raises ``NoScale``."""
        owners: dict[str, Object] = {}
        unmanaged = False
        for pod in pods:
            reference = controller_of(pod)
            if reference is None:
                unmanaged = True
                continue
            top = self._above(pod["metadata"]["namespace"], reference)
            owners[top["uid"]] = top
        if unmanaged:
            message = UNMANAGED.format(budget["spec"].get("selector"))
            self.events.warning(budget, "UnmanagedPods", message)
        namespace = budget["metadata"]["namespace"]
        return sum(await asyncio.gather(*(self._replicas(namespace, owner) for owner in owners.values())))

    def _above(self, namespace: str, reference: Object) -> Object:
        """Return the Deployment's reference where a pod's ReplicaSet belongs to one, which is what is scaled."""
        resource = self.graph.kind(reference["apiVersion"], reference["kind"])
        if resource != REPLICA_SETS:
            return reference
        found = self.graph.object_with(reference["uid"])
        above = controller_of(found[1]) if found else None
        return above if above is not None and above["kind"] == DEPLOYMENTS.kind else reference

    async def _replicas(self, namespace: str, reference: Object) -> int:
        resource = self.graph.kind(reference["apiVersion"], reference["kind"])
        found = self.graph.object_with(reference["uid"])
        if found is not None and resource in (DEPLOYMENTS, REPLICA_SETS):
            return int(found[1]["spec"].get("replicas", 1))
        what = f"{reference['kind']}.{reference['apiVersion']} {reference['name']}"
        if resource is None:
            raise NoScale(f"{what} is of no kind that is served")
        status, body = await self.client.raw("GET", resource.path(namespace, reference["name"], "scale"))
        if status == 404 and found is None:
            return 0  # it went; its pods go too
        if status != 200:
            raise NoScale(f"{what} does not implement the scale subresource")
        return int(orjson.loads(body)["spec"].get("replicas", 0))
