"""ReplicaSet and ReplicationController: as many pods of a template as asked for, the right ones deleted first, a status
that counts them. The two differ in how they write their selector, so the second is the first with another one.

``desired`` is pure: it says which pods are to be deleted and how many made. Source: the ReplicaSet controller's
documented ranking of pods for deletion, KEP-2185 (random ties), KEP-2255 (pod-deletion-cost).
"""

from __future__ import annotations

from typing import NamedTuple

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import REPLICA_SETS, REPLICATION_CONTROLLERS
from sampan.controllers.claiming import claim, orphans_owners
from sampan.controllers.expectations import BELIEVED_SECONDS, Expectations
from sampan.controllers.ownership import (
    BY_NAMESPACE,
    BY_OWNER,
    controller_uid,
    is_pod_active,
    is_pod_ready,
    namespace_of,
    owned_by,
    owner_keys,
    with_condition,
)
from sampan.controllers.pod_availability import seconds_until_available, soonest_available
from sampan.controllers.pod_control import PodControl, expectation_observer, name_by_chance, pod_of
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector, label_selector

BURST = 500
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


class Plan(NamedTuple):
    create: int
    delete: list[Object]


def desired(replica_set: Object, pods: list[Object]) -> Plan:
    """Return what brings the active pods to ``spec.replicas``."""
    wanted = replica_set["spec"].get("replicas", 1)
    active = [pod for pod in pods if is_pod_active(pod)]
    if len(active) <= wanted:
        return Plan(min(wanted - len(active), BURST), [])
    ranked = sorted(active, key=deletion_rank)
    return Plan(0, ranked[: min(len(active) - wanted, BURST)])


def deletion_rank(pod: Object) -> tuple[bool, int, bool, int, int, str]:
    """Sort key: unassigned before assigned, pending before running, not ready before ready, cheap before dear, many
    restarts before few, young before old."""
    status = pod.get("status", {})
    phase_rank = {"Pending": 0, "Unknown": 1, "Running": 2}.get(status.get("phase", "Pending"), 0)
    try:
        cost = int(pod["metadata"].get("annotations", {}).get(DELETION_COST, 0))
    except ValueError:
        cost = 0
    restarts = max((c.get("restartCount", 0) for c in status.get("containerStatuses") or ()), default=0)
    created = pod["metadata"].get("creationTimestamp", "")
    young_first = "".join(chr(255 - ord(char)) for char in created)
    return bool(pod["spec"].get("nodeName")), phase_rank, is_pod_ready(pod), cost, -restarts, young_first


def status_of(replica_set: Object, pods: list[Object], failure: str | None) -> Object:
    """Return the status that the pods amount to; ``failure`` is why pods cannot be made."""
    active = [pod for pod in pods if is_pod_active(pod)]
    template_labels = replica_set["spec"].get("template", {}).get("metadata", {}).get("labels") or {}
    ready = [pod for pod in active if is_pod_ready(pod)]
    old = replica_set.get("status", {})
    status: Object = {"replicas": len(active), "observedGeneration": replica_set["metadata"].get("generation", 0)}
    labelled = [pod for pod in active if template_labels.items() <= (pod["metadata"].get("labels") or {}).items()]
    counts = {
        "fullyLabeledReplicas": len(labelled),
        "readyReplicas": len(ready),
        "availableReplicas": len(available(ready, replica_set["spec"].get("minReadySeconds", 0))),
    }
    status |= {name: count for name, count in counts.items() if count}
    terminating = sum(1 for pod in pods if "deletionTimestamp" in pod["metadata"])
    if terminating or "terminatingReplicas" in old:
        status["terminatingReplicas"] = terminating
    conditions = list(old.get("conditions") or ())
    failed = [condition for condition in conditions if condition["type"] == "ReplicaFailure"]
    if failure is None:
        conditions = [condition for condition in conditions if condition not in failed]
    elif not failed:  # the first failure stays: every later one names another pod, and would wake this controller again
        new = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": failure}
        conditions = with_condition(conditions, new, timestamp())
    if conditions:
        status["conditions"] = conditions
    return status


def available(ready: list[Object], min_ready_seconds: int) -> list[Object]:
    """Return the ready pods that have been so for long enough."""
    if not min_ready_seconds:
        return ready
    return [pod for pod in ready if seconds_until_available(pod, min_ready_seconds) <= 0]


def selector_of(owner: Object) -> LabelSelector:
    """Return what chooses the pods of a ReplicaSet, or of a ReplicationController (labels without a matchLabels)."""
    selector = owner["spec"].get("selector")
    return label_selector({"matchLabels": selector} if owner["kind"] == REPLICATION_CONTROLLERS.kind else selector)


class ReplicaSetController(Controller):
    name = "replicaset-controller"
    resource: ResourceType = REPLICA_SETS

    def __init__(self, client: Client, replica_sets: Informer, pods: Informer, events: EventRecorder) -> None:
        super().__init__(client)
        self.replica_sets = replica_sets
        self.pods = pods
        self.expectations = Expectations()
        self.pod_control = PodControl(client, events, self.expectations)
        pods.add_index(BY_OWNER, controller_uid)
        pods.add_index(BY_NAMESPACE, namespace_of)
        pods.add_handler(expectation_observer(self.expectations, self.resource.kind))
        self.watch(replica_sets)
        self.watch(pods, owner_keys(self.resource.kind))
        self.watch(pods, orphans_owners(replica_sets, selector_of))

    async def reconcile(self, key: str) -> float | None:
        replica_set = self.replica_sets.get(key)
        if replica_set is None:
            self.expectations.forget(key)
            return None
        pods = await claim(self.client, self.pods, replica_set, self.resource, selector_of(replica_set))
        failure: str | None = None
        if self.expectations.satisfied(key) and "deletionTimestamp" not in replica_set["metadata"]:
            plan = desired(replica_set, pods)
            name = replica_set["metadata"]["name"]
            new = [pod_of(replica_set, self.resource, name_by_chance(f"{name}-")) for _ in range(plan.create)]
            try:
                await self.pod_control.create(key, replica_set, new)
            except ApiError as error:
                failure = str(error)
            await self.pod_control.delete(key, replica_set, plan.delete)
        await self._write_status(replica_set, owned_by(self.pods, replica_set), failure)
        if failure is not None:
            raise ApiError(422, {"reason": "FailedCreate", "message": failure})
        if not self.expectations.satisfied(key):
            return BELIEVED_SECONDS
        return soonest_available(replica_set, [pod for pod in pods if is_pod_active(pod) and is_pod_ready(pod)])

    async def _write_status(self, replica_set: Object, pods: list[Object], failure: str | None) -> None:
        status = status_of(replica_set, pods, failure)
        if status != replica_set.get("status"):
            updated = {**replica_set, "status": status}
            await self.client.update(self.resource, updated, subresource="status")


class ReplicationControllerController(ReplicaSetController):
    name = "replication-controller"
    resource = REPLICATION_CONTROLLERS
