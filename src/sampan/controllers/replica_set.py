"""ReplicaSet and ReplicationController: as many pods of a template as asked for, the right ones deleted first, a status
that counts them. The two differ in how they write their selector, so the second is the first with another one.

``desired`` is pure: it says which pods are to be deleted and how many made; ``pod_ranking.py`` says which of them are worth
least.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import REPLICA_SETS, REPLICATION_CONTROLLERS
from sampan.controllers.claiming import ORPHANS, claim, namespace_of_orphan, orphans_owners
from sampan.controllers.expectations import BELIEVED_SECONDS, Expectations
from sampan.controllers.ownership import (
    BY_OWNER,
    controller_of,
    controller_uid,
    is_pod_active,
    is_pod_ready,
    owned_by,
    owner_keys,
    with_condition,
)
from sampan.controllers.pod_availability import seconds_until_available, soonest_available
from sampan.controllers.pod_control import PodControl, expectation_observer, name_by_chance, pod_of
from sampan.controllers.pod_ranking import counted_by_node, ranked
from sampan.controllers.pod_tally import Tallies, Tally, tally_of
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector, label_selector

BURST = 500


class Failure(NamedTuple):
    """Why there are not as many pods as there should be: ``FailedCreate`` or ``FailedDelete``, and what the API said."""

    reason: str
    message: str


class Plan(NamedTuple):
    create: int
    delete: list[Object]


def desired(replica_set: Object, pods: list[Object], related: Iterable[Object] = ()) -> Plan:
    """Return what brings the active pods to ``spec.replicas``. ``related``: the pods of all ReplicaSets of the same owner; of
    a node that has many of them one goes first."""
    wanted = replica_set["spec"].get("replicas", 1)
    active = [pod for pod in pods if is_pod_active(pod)]
    if len(active) <= wanted:
        return Plan(min(wanted - len(active), BURST), [])
    first = ranked(active, counted_by_node(related))
    return Plan(0, first[: min(len(active) - wanted, BURST)])


def status_of(replica_set: Object, pods: Tally, available: int, failure: Failure | None) -> Object:
    """Return the status that the pods amount to."""
    template_labels = replica_set["spec"].get("template", {}).get("metadata", {}).get("labels") or {}
    old = replica_set.get("status", {})
    status: Object = {"replicas": pods.active, "observedGeneration": replica_set["metadata"].get("generation", 0)}
    counts = {
        "fullyLabeledReplicas": pods.labelled(template_labels),
        "readyReplicas": pods.ready,
        "availableReplicas": available,
    }
    status |= {name: count for name, count in counts.items() if count}
    if pods.terminating or "terminatingReplicas" in old:
        status["terminatingReplicas"] = pods.terminating
    conditions = list(old.get("conditions") or ())
    failed = [condition for condition in conditions if condition["type"] == "ReplicaFailure"]
    if failure is None:
        conditions = [condition for condition in conditions if condition not in failed]
    elif not failed:  # the first failure stays: every later one names another pod, and would wake this controller again
        new = {"type": "ReplicaFailure", "status": "True", **failure._asdict()}
        conditions = with_condition(conditions, new, timestamp())
    if conditions:
        status["conditions"] = conditions
    return status


def selector_of(owner: Object) -> LabelSelector:
    """Return what chooses the pods of a ReplicaSet, or of a ReplicationController (labels without a matchLabels)."""
    selector = owner["spec"].get("selector")
    return label_selector({"matchLabels": selector} if owner["kind"] == REPLICATION_CONTROLLERS.kind else selector)


def may_be_adopted(orphan: Object, selector: LabelSelector) -> bool:
    return is_pod_active(orphan) and selector.matches(orphan["metadata"].get("labels"))


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
        replica_sets.add_index(BY_OWNER, controller_uid)
        pods.add_index(ORPHANS, namespace_of_orphan)
        self.tallies = Tallies(pods, self.resource.kind)
        pods.add_handler(expectation_observer(self.expectations, self.resource.kind))
        self.watch(replica_sets)
        self.watch(pods, owner_keys(self.resource.kind))
        self.watch(pods, orphans_owners(replica_sets, selector_of))

    async def reconcile(self, key: str) -> float | None:
        replica_set = self.replica_sets.get(key)
        if replica_set is None:
            self.expectations.forget(key)
            return None
        uid = replica_set["metadata"]["uid"]
        tally = await self._claimed(replica_set)
        failure: Failure | None = None
        problem: ApiError | None = None
        if self.expectations.satisfied(key) and "deletionTimestamp" not in replica_set["metadata"]:
            missing = replica_set["spec"].get("replicas", 1) - tally.active
            name = replica_set["metadata"]["name"]
            count = range(min(missing, BURST))
            new = [pod_of(replica_set, self.resource, name_by_chance(f"{name}-")) for _ in count]
            try:
                await self.pod_control.create(key, replica_set, new)
                if missing < 0:
                    surplus = desired(replica_set, owned_by(self.pods, replica_set), self._related(replica_set)).delete
                    await self.pod_control.delete(key, replica_set, surplus)
            except ApiError as error:
                if not error.has_cause("NamespaceTerminating"):  # there, nothing will ever be made
                    failure, problem = Failure("FailedCreate" if missing > 0 else "FailedDelete", str(error)), error
        wait = await self._write_status(replica_set, self.tallies.of(uid), failure)
        if problem is not None:
            raise problem
        return wait if self.expectations.satisfied(key) else BELIEVED_SECONDS

    def _related(self, replica_set: Object) -> Iterator[Object]:
        """Yield the pods of all ReplicaSets that the same owner has: the old and the new ones of a Deployment."""
        owner = controller_of(replica_set)
        siblings = self.replica_sets.by_index(BY_OWNER, owner["uid"]) if owner is not None else [replica_set]
        for one in siblings:
            yield from owned_by(self.pods, one)

    async def _claimed(self, replica_set: Object) -> Tally:
        """Return the tally of the ReplicaSet's pods, once strays are let go and orphans adopted, where there are any."""
        selector, metadata = selector_of(replica_set), replica_set["metadata"]
        tally = self.tallies.of(metadata["uid"])
        orphans = self.pods.by_index(ORPHANS, metadata["namespace"])
        if not tally.has_strays(selector) and not any(may_be_adopted(pod, selector) for pod in orphans):
            return tally
        return tally_of(await claim(self.client, self.pods, replica_set, self.resource, selector))

    async def _write_status(self, replica_set: Object, tally: Tally, failure: Failure | None) -> float | None:
        """Write the status, where it changed; return when the next pod will count as available."""
        available, wait, seconds = tally.ready, None, replica_set["spec"].get("minReadySeconds", 0)
        if seconds:
            ready = [pod for pod in owned_by(self.pods, replica_set) if is_pod_active(pod) and is_pod_ready(pod)]
            available = sum(1 for pod in ready if seconds_until_available(pod, seconds) <= 0)
            wait = soonest_available(replica_set, ready)
        status = status_of(replica_set, tally, available, failure)
        if status != replica_set.get("status"):
            updated = {**replica_set, "status": status}
            await self.client.update(self.resource, updated, subresource="status")
        return wait


class ReplicationControllerController(ReplicaSetController):
    name = "replication-controller"
    resource = REPLICATION_CONTROLLERS
