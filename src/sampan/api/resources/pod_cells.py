"""Cells of ``kubectl get pods``. Source: kubernetes pkg/printers/internalversion (printPod)."""

from __future__ import annotations

from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.durations import age
from sampan.schema.objects import Object


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
