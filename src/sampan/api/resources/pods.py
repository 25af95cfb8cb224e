"""Pods: strategy, columns and the rule of what may change. Source: kubernetes pkg/registry/core/pod, pkg/printers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import AGE, NAME, WIDE, field
from sampan.api.resources.pod_spec import default_pod
from sampan.api.resources.pod_validation import pod_spec
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import forbidden
from sampan.schema.durations import age
from sampan.schema.objects import Object

UPDATE_MESSAGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


# strategy


def prepare(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {"phase": "Pending", "qosClass": qos_class(mapping(new, "spec"))}


def qos_class(spec: Object) -> str:
    """Return Guaranteed, Burstable or BestEffort (pkg/apis/core/helper/qos)."""
    any_set, guaranteed = False, True
    for container in [*items(spec, "containers"), *items(spec, "initContainers")]:
        limits, requests = mapping(container, "resources", "limits"), mapping(container, "resources", "requests")
        for name in ("cpu", "memory"):
            request = requests.get(name, limits.get(name))
            any_set = any_set or request is not None or name in limits
            guaranteed = guaranteed and name in limits and request == limits[name]
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def grace_period(pod: Object, asked: int | None) -> int:
    """Return the seconds a deleted pod keeps running; 0 for one that never ran or has ended."""
    if not text(pod, "spec", "nodeName") or text(pod, "status", "phase") in ("Succeeded", "Failed"):
        return 0
    if asked is None:
        asked = dig(pod, "spec", "terminationGracePeriodSeconds")
    if asked is None:
        return 30
    return 1 if asked < 0 else asked


def validate(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from pod_spec(mapping(new, "spec"))
    if old is not None:
        yield from changes(mapping(new, "spec"), mapping(old, "spec"))


def changes(new: Object, old: Object) -> Iterator[Cause]:
    """Yield what an update changes that it may not (``ValidatePodUpdate``)."""
    for kind in ("containers", "initContainers"):
        if len(items(new, kind)) != len(items(old, kind)):
            yield forbidden(f"spec.{kind}", "pod updates may not add or remove containers")
            return
    gone = [item for item in items(old, "tolerations") if item not in items(new, "tolerations")]
    if gone:
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
        return
    before, after = comparable(old, new), comparable(new, new)
    if before != after:
        yield forbidden("spec", UPDATE_MESSAGE + "\n" + "\n".join(difference("", before, after)))


def comparable(spec: Object, new: Object) -> Object:
    """Return a PodSpec with what may change set to what it becomes."""
    spec = {key: value for key, value in spec.items() if key not in ("tolerations", "ephemeralContainers")}
    for kind in ("containers", "initContainers"):
        if kind in spec:
            merged = zip(spec[kind], items(new, kind), strict=False)
            spec[kind] = [{**old, "image": n.get("image"), "resources": n.get("resources")} for old, n in merged]
    for key in ("activeDeadlineSeconds", "schedulingGates", "resources"):
        spec[key] = new.get(key)
    if not spec.get("nodeName"):
        spec["nodeName"] = new.get("nodeName")
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0 and new.get("terminationGracePeriodSeconds") == 1:
        spec["terminationGracePeriodSeconds"] = 1
    return spec


def difference(path: str, old: Any, new: Any) -> Iterator[str]:
    """Yield lines that name each changed field with both values."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from difference(f"{path}.{key}" if path else key, old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from difference(f"{path}[{index}]", before, after)
    else:
        yield f"- {path}: {orjson.dumps(old).decode()}"
        yield f"+ {path}: {orjson.dumps(new).decode()}"


# columns


def ready_cell(pod: Object) -> str:
    return summary(pod)[0]


def status_cell(pod: Object) -> str:
    return summary(pod)[1]


def restarts_cell(pod: Object) -> str:
    return summary(pod)[2]


def is_sidecar(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"


def condition_is_true(pod: Object, kind: str) -> bool:
    return any(c.get("type") == kind and c.get("status") == "True" for c in items(pod, "status", "conditions"))


def ended(terminated: Object, prefix: str = "") -> str:
    if terminated.get("reason"):
        return prefix + str(terminated["reason"])
    if terminated.get("signal"):
        return f"{prefix}Signal:{terminated['signal']}"
    return f"{prefix}ExitCode:{terminated.get('exitCode', 0)}"


def summary(pod: Object) -> tuple[str, str, str]:
    """Return the cells Ready, Status and Restarts as ``printPod`` computes them."""
    status = mapping(pod, "status")
    reason = status.get("reason") or status.get("phase") or ""
    for condition in items(status, "conditions"):
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    tally = Tally(pod)
    starting = tally.init_reason()
    if starting:
        reason = starting
    if not starting or condition_is_true(pod, "Initialized"):
        reason = tally.main_reason(reason)
    if dig(pod, "metadata", "deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            reason = "Terminating"
    restarts = str(tally.restarts)
    if tally.restarts and tally.last_restart:
        restarts = f"{tally.restarts} ({age(tally.last_restart)} ago)"
    return f"{tally.ready}/{tally.total}", str(reason), restarts


class Tally:
    """Counts over a pod's container statuses."""

    def __init__(self, pod: Object) -> None:
        self.pod = pod
        self.init_containers = {c.get("name"): c for c in items(pod, "spec", "initContainers")}
        sidecars = sum(1 for c in self.init_containers.values() if is_sidecar(c))
        self.total = len(items(pod, "spec", "containers")) + sidecars
        self.ready = 0
        self.restarts = 0
        self.last_restart = ""
        self.sidecar_restarts = 0
        self.sidecar_last_restart = ""

    def init_reason(self) -> str:
        """Count init containers; return why the pod is still initialising, "" where it is not."""
        for index, status in enumerate(items(self.pod, "status", "initContainerStatuses")):
            state = mapping(status, "state")
            sidecar = is_sidecar(self.init_containers.get(status.get("name"), {}))
            restarted = text(status, "lastState", "terminated", "finishedAt")
            self.restarts += status.get("restartCount", 0)
            self.last_restart = max(self.last_restart, restarted)
            if sidecar:
                self.sidecar_restarts += status.get("restartCount", 0)
                self.sidecar_last_restart = max(self.sidecar_last_restart, restarted)
            terminated = state.get("terminated")
            if terminated is not None and not terminated.get("exitCode"):
                continue
            if sidecar and status.get("started"):
                self.ready += bool(status.get("ready"))
                continue
            if terminated is not None:
                return ended(terminated, "Init:")
            waiting = text(state, "waiting", "reason")
            if waiting and waiting != "PodInitializing":
                return f"Init:{waiting}"
            return f"Init:{index}/{len(self.init_containers)}"
        return ""

    def main_reason(self, reason: str) -> str:
        """Count the containers; return the reason they give."""
        self.restarts, self.last_restart = self.sidecar_restarts, self.sidecar_last_restart
        running = False
        for status in reversed(items(self.pod, "status", "containerStatuses")):
            state = mapping(status, "state")
            self.restarts += status.get("restartCount", 0)
            self.last_restart = max(self.last_restart, text(status, "lastState", "terminated", "finishedAt"))
            waiting, terminated = text(state, "waiting", "reason"), state.get("terminated")
            if waiting:
                reason = waiting
            elif terminated is not None:
                reason = ended(terminated) if terminated.get("reason") or not reason else reason
            elif status.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if reason == "Completed" and running:
            return "Running" if condition_is_true(self.pod, "Ready") else "NotReady"
        return reason


def address(pod: Object) -> str:
    addresses = items(pod, "status", "podIPs")
    return str(addresses[0].get("ip")) if addresses else text(pod, "status", "podIP") or "<none>"


def readiness_gates(pod: Object) -> str:
    gates = items(pod, "spec", "readinessGates")
    if not gates:
        return "<none>"
    true = sum(condition_is_true(pod, gate.get("conditionType", "")) for gate in gates)
    return f"{true}/{len(gates)}"


def getter(*keys: str) -> Any:
    def get(obj: Object) -> str:
        found = dig(obj, *keys)
        if isinstance(found, bool):
            return str(found).lower()
        return "" if found is None else str(found)

    return get


POD = Resource(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    status=True,
    default=default_pod,
    prepare=prepare,
    validate=collect(validate),
    graceful=grace_period,
    returns_deleted=True,
    columns=(
        NAME,
        Column("Ready", ready_cell, description="The aggregate readiness state of this pod for accepting traffic."),
        Column("Status", status_cell, description="The aggregate status of the containers in this pod."),
        Column(
            "Restarts", restarts_cell, description="The number of times the containers in this pod have been restarted."
        ),
        AGE,
        Column("IP", address, priority=WIDE),
        Column("Node", field("spec", "nodeName"), priority=WIDE),
        Column("Nominated Node", field("status", "nominatedNodeName"), priority=WIDE),
        Column("Readiness Gates", readiness_gates, priority=WIDE),
    ),
    field_selectors={
        "spec.nodeName": getter("spec", "nodeName"),
        "spec.restartPolicy": getter("spec", "restartPolicy"),
        "spec.schedulerName": getter("spec", "schedulerName"),
        "spec.serviceAccountName": getter("spec", "serviceAccountName"),
        "spec.hostNetwork": lambda pod: "true" if dig(pod, "spec", "hostNetwork") else "false",
        "status.phase": getter("status", "phase"),
        "status.podIP": getter("status", "podIP"),
        "status.podIPs": lambda pod: ",".join(str(item.get("ip")) for item in items(pod, "status", "podIPs")),
        "status.nominatedNodeName": getter("status", "nominatedNodeName"),
    },
)
