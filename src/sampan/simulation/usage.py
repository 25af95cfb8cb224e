"""What simulated pods use: declared, by an annotation of the pod or by ``ResourceUsage`` objects; nothing otherwise.

The smallest example: the pods labelled ``app: web`` have four cores of work to do together, however many they are, and each
of their containers holds 50Mi::

    kind: ResourceUsage
    metadata: {name: load}
    spec:
      selector: {matchLabels: {app: web}}
      shared: {cpu: "4"}
      usage: {memory: 50Mi}

An annotation (``sim.sampan.dev/usage-cpu``, ``usage-memory``: of each container) goes before; then the ResourceUsage with
the highest priority, then the first by name, for each resource by itself. A change counts at once. The ideas of kwok's
ResourceUsage and ClusterResourceUsage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sampan.client.informer import Informer
from sampan.node.stats import NANO, Container, Key, Pod, Rate, Snapshot, Usage
from sampan.schema.durations import parse_time
from sampan.schema.objects import Object
from sampan.schema.quantity import QuantityError, parse
from sampan.schema.selectors import LabelSelector, SelectorError, label_selector
from sampan.simulation.kinds import GROUP

RESOURCES = ("cpu", "memory")
WINDOW_NANOSECONDS = NANO


class UsageError(ValueError):
    """A ResourceUsage that cannot be understood; the message says why."""


@dataclass(frozen=True)
class Declared:
    """One ResourceUsage. Amounts are nano units by resource: of each container, and of all pods together."""

    name: str
    priority: int
    namespaces: frozenset[str]
    selector: LabelSelector
    containers: frozenset[str]
    each: dict[str, int]
    shared: dict[str, int]

    def matches(self, pod: Object) -> bool:
        metadata = pod["metadata"]
        if self.namespaces and metadata["namespace"] not in self.namespaces:
            return False
        return self.selector.matches(metadata.get("labels") or {})

    def containers_of(self, pod: Object) -> list[str]:
        """Return the containers of a pod that it is about."""
        names = [container["name"] for container in pod["spec"]["containers"]]
        return [name for name in names if not self.containers or name in self.containers]


def compiled(obj: Object) -> Declared:
    """Return what a ResourceUsage declares. Raises ``UsageError``."""
    spec = obj["spec"]
    try:
        return Declared(
            name=obj["metadata"]["name"],
            priority=spec.get("priority", 0),
            namespaces=frozenset(spec.get("namespaces") or ()),
            selector=label_selector(spec.get("selector") or {}),
            containers=frozenset(spec.get("containers") or ()),
            each={name: parse(amount).nano for name, amount in (spec.get("usage") or {}).items()},
            shared={name: parse(amount).nano for name, amount in (spec.get("shared") or {}).items()},
        )
    except (SelectorError, QuantityError) as error:
        raise UsageError(f"resource usage {obj['metadata']['name']}: {error}") from error


def is_running(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Running")


class Usages:
    """What the pods of an informer use; the informer has an index ``by_node``."""

    def __init__(self, pods: Informer, by_node: str, clock: Callable[[], int] = time.time_ns) -> None:
        self._pods, self._by_node, self._clock = pods, by_node, clock
        self._declared: list[Declared] = []
        self._sharing: dict[str, int] | None = None
        self._spent: dict[tuple[str, str], tuple[int, int]] = {}
        pods.add_handler(self._on_pod)

    def declare(self, declared: Iterable[Declared]) -> None:
        """Take these from now on."""
        self._declared = sorted(declared, key=lambda one: (-one.priority, one.name))
        self._sharing = None

    def _on_pod(self, change: str, old: Object | None, new: Object) -> None:
        self._sharing = None
        if change == "DELETED" and self._spent:
            for container in new["spec"]["containers"]:
                self._spent.pop((new["metadata"]["uid"], container["name"]), None)

    def _sharers(self, name: str) -> int:
        """Return how many containers share what a ResourceUsage gives them together."""
        if self._sharing is None:
            sharing = [one for one in self._declared if one.shared]
            self._sharing = {one.name: 0 for one in sharing}
            for pod in self._pods if sharing else ():
                for one in sharing:
                    if is_running(pod) and one.matches(pod):
                        self._sharing[one.name] += len(one.containers_of(pod))
        return max(self._sharing.get(name, 0), 1)

    def of(self, pod: Object, container: str) -> dict[str, int]:
        """Return nano units by resource."""
        annotations = pod["metadata"].get("annotations") or {}
        found: dict[str, int] = {}
        for resource in RESOURCES:
            amount = declared_amount(annotations.get(f"{GROUP}/usage-{resource}"))
            if amount is None:
                amount = next(
                    (
                        given
                        for one in self._declared
                        if (given := self._given(one, pod, container, resource)) is not None
                    ),
                    0,
                )
            found[resource] = amount
        return found

    def _given(self, one: Declared, pod: Object, container: str, resource: str) -> int | None:
        if (resource not in one.each and resource not in one.shared) or not one.matches(pod):
            return None
        if one.containers and container not in one.containers:
            return None
        if resource in one.each:
            return one.each[resource]
        return one.shared[resource] // self._sharers(one.name)

    def snapshot(self, node: Object) -> tuple[Snapshot, dict[Key, Rate]]:
        """Return what a node's kubelet would measure, and the rates."""
        now = self._clock()
        rates: dict[Key, Rate] = {}
        pods = []
        for pod in self._pods.by_index(self._by_node, node["metadata"]["name"]):
            if is_running(pod):
                pods.append(self._pod(pod, now, rates))
        cpu = sum(rates[(pod.uid,)].nano_cores for pod in pods)
        memory = sum(pod.usage.working_set_bytes or 0 for pod in pods)
        spent = sum(pod.usage.cpu_nanoseconds or 0 for pod in pods)
        rates[()] = Rate(cpu, WINDOW_NANOSECONDS)
        capacity = parse((node.get("status", {}).get("capacity") or {}).get("memory", "0")).value()
        usage = Usage(now, spent, memory, memory, memory, available_bytes=max(capacity - memory, 0))
        return Snapshot(
            node["metadata"]["name"], nanoseconds(node["metadata"]["creationTimestamp"]), usage, pods
        ), rates

    def _pod(self, pod: Object, now: int, rates: dict[Key, Rate]) -> Pod:
        metadata, uid = pod["metadata"], pod["metadata"]["uid"]
        containers = []
        for status in pod["status"].get("containerStatuses") or ():
            running = (status.get("state") or {}).get("running")
            if running is None:
                continue
            name, started = status["name"], nanoseconds(running["startedAt"])
            amounts = self.of(pod, name)
            cpu, memory = amounts["cpu"], amounts["memory"] // NANO
            spent = self._spend(uid, name, started, now, cpu)
            rates[uid, name] = Rate(cpu, WINDOW_NANOSECONDS)
            usage = Usage(now, spent, memory, memory, memory)
            containers.append(Container(name, name, status.get("image", ""), started, usage))
        total = Usage(now, *(sum(getattr(c.usage, field) or 0 for c in containers) for field in SUMMED))
        rates[(uid,)] = Rate(sum(rates[uid, c.name].nano_cores for c in containers), WINDOW_NANOSECONDS)
        return Pod(metadata["namespace"], metadata["name"], uid, pod["status"].get("startTime", ""), total, containers)

    def _spend(self, uid: str, container: str, started: int, now: int, nano_cores: int) -> int:
        """Return the CPU time a container has used: a counter that only grows, moved on when it is read."""
        since, spent = self._spent.get((uid, container), (started, 0))
        spent += max(now - since, 0) * nano_cores // NANO
        self._spent[uid, container] = (now, spent)
        return spent


SUMMED = ("cpu_nanoseconds", "memory_bytes", "working_set_bytes", "rss_bytes")


def declared_amount(text: Any) -> int | None:
    """Return the amount of an annotation; one that is none counts as not given."""
    try:
        return parse(text).nano if isinstance(text, str) else None
    except QuantityError:
        return None


def nanoseconds(timestamp: str) -> int:
    moment = parse_time(timestamp)
    return int(moment.timestamp()) * NANO if moment else 0
