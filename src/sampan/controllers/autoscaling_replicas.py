"""How many replicas a metric asks for. Pure: pods and measured values in, a proposal out.

Amounts are thousandths, as everywhere in autoscaling. Pods that are ending or have failed are ignored; those that are not
ready, or of which nothing is known, are counted so that the proposal never overshoots: as idle where it would grow, as
busy where it would shrink. Source: kubernetes pkg/controller/podautoscaler (replica_calculator), KEP-4951 (tolerance).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sampan.controllers.ownership import condition_of
from sampan.schema.durations import parse_time
from sampan.schema.objects import Object
from sampan.schema.quantity import parse

Assume = Callable[[list[str], list[str]], float]


class MetricError(Exception):
    """No proposal can be made; the message is Kubernetes'."""


class Measured(NamedTuple):
    """A value of one pod: thousandths, the moment of the measurement and its window, in seconds."""

    value: int
    at: float = 0.0
    window: float = 0.0


class Tolerance(NamedTuple):
    """How far usage may be from the target, as a part of it, in each direction."""

    up: float = 0.1
    down: float = 0.1

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Proposal(NamedTuple):
    """``usage`` is the average in thousandths, ``utilization`` the percentage of what is requested."""

    replicas: int
    usage: int
    utilization: int | None = None


@dataclass(frozen=True, slots=True)
class Startup:
    """For how long the CPU of a young pod says little (``--horizontal-pod-autoscaler-…``)."""

    cpu_initialization_seconds: float = 300.0
    readiness_delay_seconds: float = 30.0


class Groups(NamedTuple):
    """Pods by what their metric is worth; names but for the number of ready ones."""

    ready: int
    unready: list[str]
    missing: list[str]
    ignored: list[str]


def moment(text: str | None) -> float | None:
    found = parse_time(text) if text else None
    return found.timestamp() if found else None


def groups_of(
    pods: list[Object], metrics: Mapping[str, Measured], resource: str, startup: Startup, now: float
) -> Groups:
    """Sort the pods of a target. ``resource`` is empty for what is no resource of pods."""
    found = Groups(0, [], [], [])
    ready = 0
    for pod in pods:
        name = pod["metadata"]["name"]
        phase = pod.get("status", {}).get("phase")
        if "deletionTimestamp" in pod["metadata"] or phase == "Failed":
            found.ignored.append(name)
        elif phase == "Pending":
            found.unready.append(name)
        elif name not in metrics:
            found.missing.append(name)
        elif resource == "cpu" and is_starting(pod, metrics[name], startup, now):
            found.unready.append(name)
        else:
            ready += 1
    return found._replace(ready=ready)


def is_starting(pod: Object, metric: Measured, startup: Startup, now: float) -> bool:
    """Whether the CPU of a pod is that of its start rather than of its work."""
    ready, started = condition_of(pod, "Ready"), moment(pod["status"].get("startTime"))
    since = moment(ready.get("lastTransitionTime")) if ready else None
    if ready is None or started is None:
        return True
    unready = ready["status"] == "False"
    if started + startup.cpu_initialization_seconds > now:
        return unready or (since is not None and metric.at < since + metric.window)
    return unready and since is not None and started + startup.readiness_delay_seconds > since


def requests_of(pods: list[Object], resource: str, container: str) -> dict[str, int]:
    """Return pod → what it (or its container of that name) requests. Raises ``MetricError``."""
    return {
        pod["metadata"]["name"]: requests_of_pod(pod, resource)
        if not container and (pod["spec"].get("resources") or {}).get("requests")
        else requests_of_containers(pod, resource, container)
        for pod in pods
    }


def requests_of_pod(pod: Object, resource: str) -> int:
    """Return what a pod requests that says so as a whole (KEP-2837); of what it does not say, what its containers do."""
    spec, total, peak = pod["spec"], 0, 0
    for one in spec.get("initContainers") or ():
        peak = max(peak, total + (request_of(one, resource) or 0))
        if one.get("restartPolicy") == "Always":
            total += request_of(one, resource) or 0
    asked = [*spec["containers"], *(spec.get("initContainers") or ())]
    total = max(peak, total + sum(request_of(one, resource) or 0 for one in spec["containers"]))
    whole = request_of(spec, resource)
    if whole is None and all(request_of(one, resource) is None for one in asked):
        raise MetricError(f"missing pod-level request for {resource} in Pod {pod['metadata']['name']}")
    return total if whole is None else whole


def request_of(spec: Object, resource: str) -> int | None:
    """Return what a container, or the spec of a pod, requests itself."""
    found = ((spec.get("resources") or {}).get("requests") or {}).get(resource)
    return None if found is None else parse(found).milli()


def requests_of_containers(pod: Object, resource: str, container: str) -> int:
    """Return what all that run all the time request, or one of them."""
    name, total = pod["metadata"]["name"], 0
    sidecars = [c for c in pod["spec"].get("initContainers") or () if c.get("restartPolicy") == "Always"]
    containers = [*pod["spec"]["containers"], *sidecars]
    chosen = [one for one in containers if not container or one["name"] == container]
    if not chosen:
        raise MetricError(f"container {container} not found in Pod {name}")
    for one in chosen:
        request = request_of(one, resource)
        if request is None:
            raise MetricError(f"missing request for {resource} in container {one['name']} of Pod {name}")
        total += request
    return total


def utilization_of(metrics: Mapping[str, int], requests: Mapping[str, int], target: int) -> tuple[float, int, int]:
    """Return ratio to the target, utilization in percent, average usage. Raises ``MetricError``."""
    known = [name for name in metrics if name in requests]
    requested = sum(requests[name] for name in known)
    if not requested:
        raise MetricError("no metrics returned matched known pods")
    used = sum(metrics[name] for name in known)
    percent = used * 100 // requested
    return percent / target, percent, used // len(known)


def usage_of(metrics: Mapping[str, int], target: int) -> tuple[float, int]:
    """Return ratio to the target, average usage."""
    average = sum(metrics.values()) // len(metrics)
    return average / target, average


def of_utilization(
    pods: list[Object],
    metrics: Mapping[str, Measured],
    current: int,
    target: int,
    *,
    resource: str,
    container: str,
    tolerance: Tolerance,
    startup: Startup,
    now: float,
) -> Proposal:
    """Propose by the percentage of requests that is used. Raises ``MetricError``."""
    groups, values = counted(pods, metrics, resource, startup, now)
    requests = requests_of(pods, resource, container)
    ratio, percent, average = utilization_of(values, requests, target)

    def again(idle: list[str], busy: list[str]) -> float:
        assumed = dict.fromkeys(idle, 0)
        assumed |= {name: requests[name] * max(100, target) // 100 for name in busy}
        values.update(assumed)
        return utilization_of(values, requests, target)[0]

    return Proposal(settled(groups, values, current, ratio, tolerance, again), average, percent)


def of_average(
    pods: list[Object],
    metrics: Mapping[str, Measured],
    current: int,
    target: int,
    *,
    resource: str,
    tolerance: Tolerance,
    startup: Startup,
    now: float,
) -> Proposal:
    """Propose by the average value of the pods. Raises ``MetricError``."""
    groups, values = counted(pods, metrics, resource, startup, now)
    ratio, average = usage_of(values, target)

    def again(idle: list[str], busy: list[str]) -> float:
        values.update(dict.fromkeys(idle, 0) | dict.fromkeys(busy, target))
        return usage_of(values, target)[0]

    return Proposal(settled(groups, values, current, ratio, tolerance, again), average)


def counted(
    pods: list[Object], metrics: Mapping[str, Measured], resource: str, startup: Startup, now: float
) -> tuple[Groups, dict[str, int]]:
    """Return the groups, and the values of the pods that count. Raises ``MetricError``."""
    if not pods:
        raise MetricError("no pods returned by selector while calculating replica count")
    groups = groups_of(pods, metrics, resource, startup, now)
    left_out = {*groups.ignored, *groups.unready}
    values = {name: measured.value for name, measured in metrics.items() if name not in left_out}
    if not values:
        raise MetricError("did not receive metrics for targeted pods (pods might be unready)")
    return groups, values


def settled(
    groups: Groups, values: dict[str, int], current: int, ratio: float, tolerance: Tolerance, again: Assume
) -> int:
    """Return the replicas; ``again`` gives the ratio once pods are taken for idle or busy, and adds them to ``values``."""
    grows_unready = bool(groups.unready) and ratio > 1.0
    if not grows_unready and not groups.missing:
        return current if tolerance.covers(ratio) else math.ceil(ratio * groups.ready)
    idle = list(groups.unready) if grows_unready else []
    idle += groups.missing if ratio > 1.0 else []
    new = again(idle, groups.missing if ratio < 1.0 else [])
    if tolerance.covers(new) or (ratio < 1.0 < new) or (new < 1.0 < ratio):
        return current
    replicas = math.ceil(new * len(values))
    if (new < 1.0 and replicas > current) or (new > 1.0 and replicas < current):
        return current
    return replicas


def of_total(usage: int, current: int, target: int, ready: int, tolerance: Tolerance) -> int:
    """Propose by a value that is not the pods' own, against its target (``Value``). ``ready``: how many pods are."""
    ratio = usage / target
    if current == 0:
        return math.ceil(ratio)
    return current if tolerance.covers(ratio) else math.ceil(ratio * ready)


def of_share(usage: int, replicas: int, target: int, tolerance: Tolerance) -> Proposal:
    """Propose by such a value divided among the replicas there are (``AverageValue``)."""
    wanted = replicas
    if not replicas or not tolerance.covers(usage / (target * replicas)):
        wanted = math.ceil(usage / target)
    return Proposal(wanted, math.ceil(usage / replicas) if replicas else 0)


def ready_pods(pods: list[Object]) -> int:
    """Return how many pods are running and ready. Raises ``MetricError``."""
    if not pods:
        raise MetricError(
            "unable to calculate ready pods: no pods returned by selector while calculating replica count"
        )
    running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
    return sum((condition_of(pod, "Ready") or {}).get("status") == "True" for pod in running)
