"""Playing the steps: one queue of objects to look at, one timer for all that is due later, writes in batches.

Flow: an event of an informer marks an object; the next round looks at all marked ones at once, asks ``steps`` for each, and
writes what is due in one go, so that the store commits it together. What is due later waits in a heap with one timer. An
object is looked at again only when it changed, so a stage that changes nothing ends by itself.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Iterable

from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import NODES, PODS
from sampan.schema.objects import Object
from sampan.simulation import nodes
from sampan.simulation.addresses import Addresses
from sampan.simulation.effects import resized, status_after
from sampan.simulation.logs import LogBook
from sampan.simulation.stages import Stage
from sampan.simulation.steps import Step, next_step, ordered

logger = logging.getLogger("sampan.simulation")

BATCH = 128
"""Objects written at a time."""
RETRY_SECONDS = 1.0
EARLY_SECONDS = 0.002
"""How much too early a loop's timer may ring: uvloop counts milliseconds."""
BY_NODE = "node"
BY_ADDRESS = "address"

Item = tuple[ResourceType, str]
REGISTER = Step("/register", 0.0, {})


class Player:
    """Plays stages for pods of simulated nodes, for these nodes, and for any kind that a stage names."""

    def __init__(
        self,
        client: Client,
        pods: Informer,
        node_informer: Informer,
        events: EventRecorder,
        log_book: LogBook,
        *,
        pod_cidr: str,
        node_cidr: str,
        kubelet_version: str,
    ) -> None:
        self.client = client
        self.events = events
        self.log_book = log_book
        self.kubelet_version = kubelet_version
        self.silenced: set[str] = set()
        """Nodes that a stage has made silent: nobody renews their leases."""
        self._informers: dict[ResourceType, Informer] = {}
        self._stages: dict[tuple[str, str], list[Stage]] = {}
        self._marked: dict[Item, None] = {}
        self._due: dict[Item, tuple[str, float]] = {}
        self._heap: list[tuple[float, int, Item]] = []
        self._count = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._written: dict[Item, int] = {}
        self._told: dict[Item, str] = {}
        pods.add_index(BY_NODE, lambda pod: [name] if (name := pod["spec"].get("nodeName")) else [])
        pods.add_index(BY_ADDRESS, lambda pod: [ip] if (ip := pod.get("status", {}).get("podIP")) else [])
        node_informer.add_index(BY_ADDRESS, lambda node: [nodes.internal_ip(node)])
        self.pods, self.nodes = pods, node_informer
        self._pod_addresses = Addresses(pod_cidr, lambda ip: bool(pods.by_index(BY_ADDRESS, ip)))
        self._node_addresses = Addresses(node_cidr, lambda ip: bool(node_informer.by_index(BY_ADDRESS, ip)))
        self.follow(PODS, pods)
        self.follow(NODES, node_informer)
        node_informer.add_handler(self._on_node)

    # what is looked at

    def follow(self, resource: ResourceType, informer: Informer) -> None:
        """Look at every object of a resource when it changes."""
        if resource not in self._informers:
            self._informers[resource] = informer
            informer.add_handler(lambda change, old, new: self._mark((resource, key_of(new))))

    def play_with(self, stages: Iterable[Stage]) -> None:
        """Take these stages from now on, and look at everything anew."""
        self._stages = {}
        for stage in ordered(stages):
            self._stages.setdefault(stage.resource, []).append(stage)
        for resource, informer in self._informers.items():
            for key in informer.objects:
                self._mark((resource, key))

    def _on_node(self, change: str, old: Object | None, new: Object) -> None:
        """Look at the pods of a node that has appeared."""
        if change == "ADDED":
            for pod in self.pods.by_index(BY_NODE, new["metadata"]["name"]):
                self._mark((PODS, key_of(pod)))

    def _mark(self, item: Item) -> None:
        self._marked[item] = None
        self._wake.set()

    def simulated(self, node_name: str | None) -> Object | None:
        """Return the node when it is one of ours."""
        node = self.nodes.get(node_name) if node_name else None
        return node if node is not None and nodes.is_simulated(node) else None

    # the loop

    async def run(self) -> None:
        """Play until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            marked, self._marked = self._marked, {}
            ready = [found for item in marked if (found := self._looked_at(item)) is not None]
            for start in range(0, len(ready), BATCH):
                await asyncio.gather(*(self._play(*found) for found in ready[start : start + BATCH]))

    def _looked_at(self, item: Item) -> tuple[Item, Object, Step] | None:
        try:
            return self._considered(item)
        except Exception:  # as in _play
            logger.exception("%s %s", item[0].plural, item[1])
            return None

    def _considered(self, item: Item) -> tuple[Item, Object, Step] | None:
        """Return what is to be done now for a marked object; remember what is due later."""
        resource, key = item
        obj = self._informers[resource].get(key)
        if obj is None:
            self._forget(item)
            return None
        if self._is_stale(item, obj) or not self._is_ours(resource, obj):
            return None
        step = next_step(obj, self._stages.get((resource.api_version, resource.kind), ()))
        if resource is NODES:
            step = self._node_step(obj, step)
        elif resource is PODS and step is None and (statuses := resized(obj)) is not None:
            step = Step("/resize", 0.0, {"status": {"containerStatuses": statuses}})
        if step is None:
            self._due.pop(item, None)
            return None
        now = asyncio.get_running_loop().time()
        known = self._due.get(item)
        due = known[1] if known is not None and known[0] == step.name else now + step.delay_seconds
        if due <= now:
            self._due.pop(item, None)
            return item, obj, step
        if known is None or known[0] != step.name:
            self._due[item] = (step.name, due)
            self._later(item, due)
        return None

    def _is_stale(self, item: Item, obj: Object) -> bool:
        """Whether the informer has not seen our last write yet: it will mark the object when it has."""
        written = self._written.get(item)
        if written is None:
            return False
        if int(obj["metadata"]["resourceVersion"]) < written:
            return True
        del self._written[item]
        return False

    def _is_ours(self, resource: ResourceType, obj: Object) -> bool:
        if resource is PODS:
            return self.simulated(obj["spec"].get("nodeName")) is not None
        return resource is not NODES or nodes.is_simulated(obj)

    def _node_step(self, node: Object, step: Step | None) -> Step | None:
        """A node without a stage of its own is registered, and says that it is Ready."""
        if step is None or not step.then.get("silent"):
            self.silenced.discard(node["metadata"]["name"])
        if "deletionTimestamp" in node["metadata"]:
            return step
        return REGISTER if step is None and not nodes.is_ready(node) else step

    def _forget(self, item: Item) -> None:
        resource, key = item
        self._due.pop(item, None)
        self._written.pop(item, None)
        self._told.pop(item, None)
        if resource is PODS:
            self._pod_addresses.release(key)
            self.log_book.forget(key)
        elif resource is NODES:
            self._node_addresses.release(key)
            self.silenced.discard(key)

    def _later(self, item: Item, due: float) -> None:
        heapq.heappush(self._heap, (due, next(self._count), item))
        if self._heap[0][0] == due:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._ring) if self._heap else None

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time() + EARLY_SECONDS
        while self._heap and self._heap[0][0] <= now:
            due, _, item = heapq.heappop(self._heap)
            known = self._due.get(item)
            if known is not None and known[1] <= due:
                self._due[item] = (known[0], 0.0)  # it is, whatever the clock says when it is looked at
            self._mark(item)
        self._timer = None
        self._set_timer()

    # doing

    async def _play(self, item: Item, obj: Object, step: Step) -> None:
        try:
            await self._apply(item, obj, step)
            self._told.pop(item, None)
        except ApiError as error:
            if error.is_conflict or error.is_not_found:
                return  # somebody was faster, and the informer will say so
            if self._told.get(item) != str(error):
                self._told[item] = str(error)
                logger.error("%s %s: %s: %s", item[0].plural, item[1], step.name, error)
            self._later(item, asyncio.get_running_loop().time() + RETRY_SECONDS)
        except Exception:  # an object of a shape that nobody thought of must not end all others
            logger.exception("%s %s: %s", item[0].plural, item[1], step.name)

    async def _apply(self, item: Item, obj: Object, step: Step) -> None:
        resource, key = item
        then = step.then
        metadata = obj["metadata"]
        if then.get("silent"):
            self.silenced.add(metadata["name"])
        if then.get("log"):
            self.log_book.write(key, metadata.get("uid", ""), then["log"])
        if then.get("event"):
            told = then["event"]
            self.events.record(obj, told.get("type", "Normal"), told["reason"], told["message"])
        if then.get("metadata"):
            obj = await self.client.patch(
                resource, metadata["name"], {"metadata": then["metadata"]}, metadata.get("namespace")
            )
        if then.get("delete"):
            await self._delete(resource, obj)
            return
        if step is REGISTER:
            status = nodes.status_of(obj, self._node_addresses.of(key), self.kubelet_version)
        else:
            status = self._status_after(resource, key, obj, then)
        if status != (obj.get("status") or {}):
            await self._write_status(item, {**obj, "status": status})
        if then.get("phase") == "Running" and obj.get("status", {}).get("phase", "Pending") == "Pending":
            self._tell_started(obj)

    def _status_after(self, resource: ResourceType, key: str, obj: Object, then: Object) -> Object:
        ip = host_ip = ""
        if resource is PODS:
            node = self.simulated(obj["spec"].get("nodeName"))
            host_ip = nodes.internal_ip(node) if node else ""
            ip = obj.get("status", {}).get("podIP") or (
                host_ip if obj["spec"].get("hostNetwork") else self._pod_addresses.of(key)
            )
        return status_after(obj, then, ip=ip, host_ip=host_ip, now=timestamp())

    async def _write_status(self, item: Item, obj: Object) -> None:
        try:
            written = await self.client.update(item[0], obj, subresource="status")
        except ApiError as error:
            if not error.is_not_found or item[0] in (PODS, NODES):
                raise
            written = await self.client.update(item[0], obj)  # a kind whose status is no subresource
        self._written[item] = int(written["metadata"]["resourceVersion"])

    async def _delete(self, resource: ResourceType, obj: Object) -> None:
        metadata = obj["metadata"]
        if resource is PODS:
            for container in obj["spec"]["containers"]:
                path = f"spec.containers{{{container['name']}}}"
                self.events.normal(obj, "Killing", f"Stopping container {container['name']}", path)
        grace = 0 if resource is PODS else None
        await self.client.delete(
            resource, metadata["name"], metadata.get("namespace"), grace_period_seconds=grace, uid=metadata["uid"]
        )

    def _tell_started(self, pod: Object) -> None:
        for container in pod["spec"]["containers"]:
            path = f"spec.containers{{{container['name']}}}"
            self.events.normal(pod, "Started", f"Started container {container['name']}", path)
