"""The workers of a node, one a pod: begun, woken and ended by what informers, the runtime and the folder of static pods say.

On start the pods that the runtime still has are adopted, and those that nobody knows are removed, with all they left here.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from grpclib.const import Status

from sampan.client.informer import Informer
from sampan.node import cri_pb2 as cri
from sampan.node import orphans
from sampan.node.context import NodeContext
from sampan.node.csi.driver import CsiFailure
from sampan.node.patience import patiently
from sampan.node.pod_config import NODE, UID
from sampan.node.pod_plan import ENDED
from sampan.node.pod_worker import PodWorker
from sampan.node.runtime import RuntimeFailure
from sampan.node.static_pods import is_mirror, is_static
from sampan.node.volumes import csi, removal
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.node")

RESUBSCRIBED_SECONDS = 2.0
"""When events are heard again at the latest: what ended between the first look and that is seen by another."""


class Node:
    """The workers of this node, by the uid of their pods."""

    def __init__(
        self, context: NodeContext, pods: Informer, group: asyncio.TaskGroup, runtime_changed: Callable[[], None]
    ) -> None:
        self.context = context
        self._runtime_changed = runtime_changed
        """Called when the runtime went away: it may have come back already."""
        self.pods = pods
        self.workers: dict[str, PodWorker] = {}
        self._waiting: dict[str, Object] = {}
        """Static pods that begin when an older one of their name has ended, by namespace and name."""
        self._group = group
        context.end_pod, context.is_ending, context.is_gone = self.end_pod, self.is_ending, self.is_gone
        self._met: set[str] | None = None
        """The uids of pods that the runtime may have something of; None until it was asked."""

    def on_pod(self, change: str, old: Object | None, new: Object) -> None:
        if is_mirror(new):
            return  # what it shows is run from its file
        uid = new["metadata"]["uid"]
        worker = self.workers.get(uid)
        if worker is not None:
            if change == "DELETED":  # deleted without grace: everything of it must go here too
                gone = {"deletionTimestamp": "now", **new["metadata"], "deletionGracePeriodSeconds": 0}
                new = {**new, "metadata": gone}
            worker.update(new, gone=change == "DELETED")
        elif is_static(new) and (older := self._of_name(new)) is not None:
            self._waiting[older.key] = new
        elif change != "DELETED":
            if (new.get("status") or {}).get("phase") not in ENDED and self.context.allocations.is_kept(uid):
                self.context.allocations.admit(new)  # before pods that are new here
                self.context.devices.adopt(uid)
                self.context.cpus.adopt(uid)
                self.context.memory.adopt(uid)
            fresh = self._met is not None and uid not in self._met
            if self._met is not None:
                self._met.add(uid)
            worker = self.workers[uid] = PodWorker(self.context, new, fresh=fresh)
            self._group.create_task(self._run(uid, worker), name=f"pod-{worker.key}")

    async def _run(self, uid: str, worker: PodWorker) -> None:
        while True:
            try:
                await worker.run()
                break
            except* Exception as errors:
                # a defect of one pod's worker must not end the others; it begins anew from what is there
                logger.error("pod %s: %s", worker.key, errors.exceptions[0], exc_info=errors)
                worker.wake_after(1.0)
        del self.workers[uid]
        if self._met is not None:
            self._met.discard(uid)
        worker.local.disown()
        self.context.tokens.forget(uid)
        self.context.certificates.forget(uid)
        self.context.images.forget(uid)
        self.context.materials.release(uid)
        if (waiting := self._waiting.pop(worker.key, None)) is not None:
            self.on_pod("ADDED", None, waiting)
        still = self.pods.get(worker.key)
        if still is not None and still["metadata"]["uid"] != uid:
            self.on_pod("ADDED", None, still)

    def _of_name(self, pod: Object) -> PodWorker | None:
        key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        return next((worker for worker in self.workers.values() if worker.key == key), None)

    def end_pod(self, uid: str, reason: str, message: str, grace_seconds: int | None = None) -> None:
        """End a pod for the node's sake; ``grace_seconds``: the most it has for that, where it is not the pod's own."""
        if (worker := self.workers.get(uid)) is not None:
            worker.end(reason, message, grace_seconds)

    def is_ending(self, uid: str) -> bool:
        worker = self.workers.get(uid)
        return worker is None or bool(worker.view.failed_reason) or "deletionTimestamp" in worker.pod["metadata"]

    def is_gone(self, uid: str) -> bool:
        worker = self.workers.get(uid)
        return worker is None or worker.local.gone

    def on_material(self, namespace: str) -> None:
        """A ConfigMap or Secret changed: the pods of its namespace look at it again."""
        for worker in self.workers.values():
            if worker.pod["metadata"]["namespace"] == namespace:
                worker.nudge()

    def on_certificate(self, uid: str) -> None:
        """A request for a pod's certificate changed: it looks at it again."""
        if (worker := self.workers.get(uid)) is not None:
            worker.nudge()

    def on_allocation(self) -> None:
        """What pods were given changed: those that wait for more look at it again, the most important ones first."""
        waiting = [
            worker
            for worker in self.workers.values()
            if worker.view.resize_pending is not None or worker.view.waits_for_room
        ]
        for worker in sorted(waiting, key=lambda worker: -(worker.pod["spec"].get("priority") or 0)):
            worker.nudge()

    def on_cpus(self) -> None:
        """The CPUs that containers share changed: all that run are moved."""
        for worker in self.workers.values():
            worker.nudge()

    async def follow_exits(self) -> None:
        """Wake workers by containerd's events; other runtimes are looked at every second while pods run."""
        told = ""
        while True:
            try:
                async for container_id in self.context.runtime.exits():
                    on_exit = self.context.owners.get(container_id)
                    if on_exit is not None:
                        on_exit(container_id)
            except RuntimeFailure as error:
                if str(error) != told:  # a runtime without events is told of once
                    told = str(error)
                    logger.warning("events of the runtime: %s", error)
                if error.reason != Status.UNIMPLEMENTED.name:
                    self._runtime_changed()
            await asyncio.sleep(1.0)
            self.wake_all()  # what happened meanwhile
            asyncio.get_running_loop().call_later(RESUBSCRIBED_SECONDS, self.wake_all)

    def on_clock(self) -> None:
        """The clock on the wall was set: deadlines and the ends of tokens and certificates are reckoned anew."""
        self.context.tokens.renew()
        self.wake_all()

    def wake_all(self) -> None:
        """Have all workers look at the runtime. (A worker's own timer would be forgotten when it is woken earlier.)"""
        for worker in self.workers.values():
            worker.wake()

    async def remove_strangers(self) -> None:
        """Remove what there is of pods that the API does not know (any more): sandboxes, folders, logs, cgroups."""
        known = {pod["metadata"]["uid"] for pod in self.pods} | set(self.workers)
        sandboxes = await self.context.runtime.list_pod_sandboxes()
        self._met = {sandbox.labels.get(UID, "") for sandbox in sandboxes} | known
        strangers = [sandbox.id for sandbox in sandboxes if self._is_strange(sandbox, known)]
        try:
            await self._remove_sandboxes(strangers)
        except RuntimeFailure as error:  # one that cannot go keeps no others from running
            logger.warning("sandboxes of pods that are not known: %s", error)
            work = patiently(lambda: self._remove_sandboxes(strangers), "sandboxes of pods that are not known")
            self._group.create_task(work, name="strangers")
        await self.remove_folders()
        for folder in await asyncio.to_thread(orphans.logs, self.context.pod_log_dir, known):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await asyncio.to_thread(orphans.remove_cgroups, self.context.cgroup, known)

    def _is_strange(self, sandbox: cri.PodSandbox, known: set[str]) -> bool:
        uid = sandbox.labels.get(UID, "")
        # a runtime that others use, too, has pods of other nodes
        ours = self.context.own_runtime or sandbox.labels.get(NODE) == self.context.node_name
        return bool(uid) and uid not in known and ours

    async def _remove_sandboxes(self, ids: list[str]) -> None:
        """Remove sandboxes, and take those that are gone out of the list. Raises ``RuntimeFailure`` for what is left."""
        problem: RuntimeFailure | None = None
        for sandbox_id in list(ids):
            try:
                await self.context.runtime.kill_pod_sandbox(sandbox_id)
                await self.context.runtime.remove_pod_sandbox(sandbox_id)
            except RuntimeFailure as error:
                problem = error
            else:
                ids.remove(sandbox_id)
        if problem is not None:
            raise problem

    async def remove_folders(self) -> None:
        """Remove what is left on disk of pods that are not known here; what cannot go yet (its CSI driver is not there) goes
        when a driver comes."""
        for uid in await asyncio.to_thread(names_in, self.context.kubelet_dir / "pods"):
            # asked of each at its turn: pods come while others are removed
            if uid not in self.workers and not any(pod["metadata"]["uid"] == uid for pod in self.pods):
                try:
                    await removal.tear_down(self.context, self.context.kubelet_dir / "pods" / uid)
                except OSError as error:
                    logger.warning("volumes of pod %s: %s", uid, error)

    def on_plugins(self) -> None:
        """CSI drivers came or went: pods that wait for one look again, and what was left to one is cleaned up."""
        for worker in self.workers.values():
            worker.nudge()
        self._group.create_task(self._clean_with_drivers(), name="csi-clean-up")

    async def _clean_with_drivers(self) -> None:
        await self.remove_folders()
        try:
            await csi.clean_staged(self.context)
        except (CsiFailure, OSError) as error:
            logger.warning("staged volumes: %s", error)


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
