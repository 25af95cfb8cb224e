"""DaemonSet: one pod on every node that may have it. What should be is in ``daemon_set_plan.py``."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import DAEMON_SETS
from sampan.controllers import daemon_set_plan as plan
from sampan.controllers.claiming import ORPHANS, claim, namespace_of_orphan, orphans_owners
from sampan.controllers.expectations import BELIEVED_SECONDS, Expectations
from sampan.controllers.ownership import (
    BY_OWNER,
    controller_uid,
    is_pod_ready,
    owner_keys,
)
from sampan.controllers.pod_availability import soonest_available
from sampan.controllers.pod_control import PodControl, expectation_observer, name_by_chance
from sampan.controllers.replica_set import selector_of
from sampan.controllers.revisions import REVISION_LABEL, Revisions, hash_of
from sampan.schema.objects import Object

BURST = 250
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1.0, 900.0
"""A daemon pod that fails is replaced after a pause that doubles with each failure on its node."""


class DaemonSetController(Controller):
    name = "daemon-set-controller"

    def __init__(
        self,
        client: Client,
        daemon_sets: Informer,
        nodes: Informer,
        pods: Informer,
        revisions: Informer,
        events: EventRecorder,
    ) -> None:
        super().__init__(client)
        self.daemon_sets, self.nodes, self.pods, self.events = daemon_sets, nodes, pods, events
        self.revisions = Revisions(client, revisions, DAEMON_SETS)
        self.expectations = Expectations()
        self.pod_control = PodControl(client, events, self.expectations)
        self._ends: dict[tuple[str, str], tuple[int, float]] = {}
        pods.add_index(BY_OWNER, controller_uid)
        pods.add_index(ORPHANS, namespace_of_orphan)
        pods.add_handler(expectation_observer(self.expectations, "DaemonSet"))
        self.watch(daemon_sets)
        self.watch(pods, owner_keys("DaemonSet"))
        self.watch(pods, orphans_owners(daemon_sets, selector_of))
        self.watch(revisions, owner_keys("DaemonSet"))
        nodes.add_handler(self._on_node)
        self._informers.append(nodes)

    def _on_node(self, change: str, old: Object | None, new: Object) -> None:
        """Nodes change with every heartbeat: only those whose labels or taints did, or that came or went, matter."""
        if old is None or change == "DELETED" or _placing(old) != _placing(new):
            for key in self._every():
                self.queue.add(key)

    def _every(self) -> Iterable[str]:
        return [f"{d['metadata']['namespace']}/{d['metadata']['name']}" for d in self.daemon_sets]

    async def reconcile(self, key: str) -> float | None:
        daemon_set = self.daemon_sets.get(key)
        if daemon_set is None:
            self.expectations.forget(key)
            for known in [known for known in self._ends if known[0] == key]:
                del self._ends[known]
            return None
        pods = await claim(self.client, self.pods, daemon_set, DAEMON_SETS, selector_of(daemon_set))
        if "deletionTimestamp" in daemon_set["metadata"]:
            return None
        history = await self.revisions.of(daemon_set)
        hash = hash_of(history.present)
        nodes = self.nodes.all()
        wait: float | None = None
        is_acted_on = self.expectations.satisfied(key)
        try:
            if is_acted_on:
                wait = await self._act(key, daemon_set, plan.desired(daemon_set, nodes, pods, hash), hash)
        finally:
            found = plan.status_of(daemon_set, nodes, pods, hash, history.collisions, is_acted_on=is_acted_on)
            await self._write_status(daemon_set, found)
        live = {history.present["metadata"]["name"]}
        used = {(pod["metadata"].get("labels") or {}).get(REVISION_LABEL) for pod in pods}
        live |= {revision["metadata"]["name"] for revision in history.revisions if hash_of(revision) in used}
        await self.revisions.truncate(daemon_set, history, live)
        if not self.expectations.satisfied(key):
            return BELIEVED_SECONDS
        return min(
            (w for w in (wait, soonest_available(daemon_set, filter(is_pod_ready, pods))) if w is not None),
            default=None,
        )

    async def _act(self, key: str, daemon_set: Object, doing: plan.Plan, hash: str) -> float | None:
        """Make and delete pods; return in how many seconds a pod that ended may be deleted, if one waits."""
        waits = []
        delete = [pod for pod in doing.delete if pod not in doing.failed]
        for pod in doing.failed:
            where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']} on node {plan.node_of(pod)}"
            if pod["status"]["phase"] == "Succeeded":
                message = f"Found succeeded daemon pod {where}, will try to delete it"
                self.events.normal(daemon_set, "SucceededDaemonPod", message)
            elif (left := self._backoff_left(key, pod)) > 0:
                waits.append(left)
                continue
            else:
                message = f"Found failed daemon pod {where}, will try to kill it"
                self.events.warning(daemon_set, "FailedDaemonPod", message)
            delete.append(pod)
        name = daemon_set["metadata"]["name"]
        new = [plan.pod_for(daemon_set, node, name_by_chance(f"{name}-"), hash) for node in doing.create[:BURST]]
        await self.pod_control.create(key, daemon_set, new)
        await self.pod_control.delete(key, daemon_set, delete[:BURST])
        return min(waits, default=None)

    def _backoff_left(self, key: str, pod: Object) -> float:
        """Return the seconds until an ended pod may be replaced, and begin the next pause when it may."""
        at = (key, plan.node_of(pod))
        now = time.monotonic()
        count, last = self._ends.get(at, (0, 0.0))
        if count and now - last > 2 * LONGEST_BACKOFF_SECONDS:
            count = 0
        pause = min(FIRST_BACKOFF_SECONDS * 2 ** (count - 1), LONGEST_BACKOFF_SECONDS) if count else 0.0
        if now - last < pause:
            return pause - (now - last)
        self._ends[at] = (count + 1, now)
        return 0.0

    async def _write_status(self, daemon_set: Object, status: Object) -> None:
        if status != daemon_set.get("status"):
            try:
                await self.client.update(DAEMON_SETS, {**daemon_set, "status": status}, subresource="status")
            except ApiError as error:
                if not error.is_not_found:
                    raise


def _placing(node: Object) -> tuple[object, object]:
    return node["metadata"].get("labels"), node.get("spec", {}).get("taints")
