"""The status of a pod, from what the runtime says and what the probes found. Pure.

Source: core/v1 PodStatus, the pod lifecycle page of Kubernetes (phase, conditions), CRI ContainerStatus.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from sampan.node import cri_pb2 as cri
from sampan.node.resources import qos_class
from sampan.schema.objects import Object


@dataclass(slots=True)
class ContainerView:
    """What is known of one container of the Pod: its latest instance and the one before, why it waits, its probes."""

    current: cri.ContainerStatus | None = None
    last: cri.ContainerStatus | None = None
    waiting_reason: str = ""
    waiting_message: str = ""
    ready: bool = False
    started: bool = False
    message: str = ""
    last_message: str = ""

    @property
    def running(self) -> bool:
        return self.current is not None and self.current.state == cri.CONTAINER_RUNNING

    @property
    def exited(self) -> bool:
        return self.current is not None and self.current.state == cri.CONTAINER_EXITED

    @property
    def succeeded(self) -> bool:
        return self.exited and self.current is not None and self.current.exit_code == 0

    @property
    def restarts(self) -> int:
        return self.current.metadata.attempt if self.current is not None else 0


@dataclass(slots=True)
class PodView:
    """What is known of the pod on this node."""

    containers: dict[str, ContainerView] = field(default_factory=dict)
    sandbox_id: str = ""
    sandbox_ready: bool = False
    ip: str = ""
    failed_reason: str = ""
    failed_message: str = ""

    def of(self, name: str) -> ContainerView:
        return self.containers.setdefault(name, ContainerView())


def moment(nanoseconds: int) -> str | None:
    """Return a CRI time as ``metav1.Time``."""
    if nanoseconds <= 0:
        return None
    when = datetime.datetime.fromtimestamp(nanoseconds // 1_000_000_000, datetime.UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def is_sidecar(container: Object) -> bool:
    """Whether an init container keeps running beside the others (KEP-753)."""
    return bool(container.get("restartPolicy") == "Always")


def state_of(status: cri.ContainerStatus, message: str) -> Object:
    if status.state == cri.CONTAINER_RUNNING:
        return {"running": {"startedAt": moment(status.started_at)}}
    if status.state == cri.CONTAINER_EXITED:
        reason = status.reason or ("Completed" if status.exit_code == 0 else "Error")
        state: Object = {
            "exitCode": status.exit_code,
            "reason": reason,
            "startedAt": moment(status.started_at),
            "finishedAt": moment(status.finished_at),
            "containerID": f"containerd://{status.id}",
        }
        if message or status.message:
            state["message"] = message or status.message
        return {"terminated": state}
    return {"waiting": {"reason": "ContainerCreating"}}


def container_status(container: Object, view: ContainerView, waits_for: str) -> Object:
    """Return one entry of ``containerStatuses``."""
    current = view.current
    status: Object = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "restartCount": view.restarts,
        "ready": view.ready,
        "started": view.started,
    }
    if current is not None:
        status["image"] = current.image.image or container["image"]
        status["imageID"] = current.image_ref
        status["containerID"] = f"containerd://{current.id}"
    if view.waiting_reason and not view.running:
        status["state"] = {"waiting": {"reason": view.waiting_reason}}
        if view.waiting_message:
            status["state"]["waiting"]["message"] = view.waiting_message
        previous = current if view.exited else view.last
        previous_message = view.message if view.exited else view.last_message
    else:
        status["state"] = state_of(current, view.message) if current is not None else {"waiting": {"reason": waits_for}}
        previous, previous_message = view.last, view.last_message
    status["lastState"] = state_of(previous, previous_message) if previous is not None else {}
    return status


def phase_of(pod: Object, view: PodView) -> str:
    """Return the phase: Pending until every container has started once; then by what runs and how it ended."""
    if view.failed_reason:
        return "Failed"
    spec = pod["spec"]
    policy = spec.get("restartPolicy", "Always")
    for container in spec.get("initContainers") or ():
        seen = view.of(container["name"])
        if is_sidecar(container):
            if not seen.running and not seen.exited:
                return "Pending"
            continue
        if seen.exited and not seen.succeeded and policy == "Never":
            return "Failed"
        if not seen.succeeded:
            return "Pending"
    views = [view.of(container["name"]) for container in spec["containers"]]
    if any(seen.current is None or seen.current.state == cri.CONTAINER_CREATED for seen in views):
        return "Pending"
    if any(seen.running for seen in views) or policy == "Always":
        return "Running"
    if policy == "OnFailure" and not all(seen.succeeded for seen in views):
        return "Running"
    return "Succeeded" if all(seen.succeeded for seen in views) else "Failed"


def initialized(pod: Object, view: PodView) -> bool:
    for container in pod["spec"].get("initContainers") or ():
        seen = view.of(container["name"])
        if not (seen.started if is_sidecar(container) else seen.succeeded):
            return False
    return True


def condition(type: str, well: bool, reason: str = "", message: str = "") -> Object:
    result: Object = {"type": type, "status": "True" if well else "False"}
    if reason:
        result["reason"] = reason
    if message:
        result["message"] = message
    return result


def conditions_of(pod: Object, view: PodView, phase: str) -> list[Object]:
    spec = pod["spec"]
    names = [container["name"] for container in spec["containers"]]
    unready = [name for name in names if not view.of(name).ready]
    complete = phase in ("Succeeded", "Failed")
    why = ("PodCompleted" if phase == "Succeeded" else "PodFailed", "") if complete else ("", "")
    not_ready = why if complete else ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    is_initialized = initialized(pod, view)
    incomplete = [
        container["name"]
        for container in spec.get("initContainers") or ()
        if not (view.of(container["name"]).succeeded or view.of(container["name"]).started)
    ]
    gates = [gate["conditionType"] for gate in spec.get("readinessGates") or ()]
    set_ = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions") or ()}
    closed = [gate for gate in gates if set_.get(gate) != "True"]
    containers_ready = not unready and not complete
    ready = condition("Ready", True) if containers_ready and not closed else condition("Ready", False, *not_ready)
    if containers_ready and closed:
        text = f'corresponding condition of pod readiness gate "{closed[0]}" does not exist or is not "True".'
        ready = condition("Ready", False, "ReadinessGatesNotReady", text)
    return [
        condition("PodReadyToStartContainers", view.sandbox_ready),
        condition("Initialized", True, "PodCompleted" if phase == "Succeeded" else "")
        if is_initialized
        else condition(
            "Initialized",
            False,
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(incomplete)}]",
        ),
        ready,
        condition("ContainersReady", True) if containers_ready else condition("ContainersReady", False, *not_ready),
        condition("PodScheduled", True),
    ]


def stamped(new: list[Object], old: list[Object], now: str) -> list[Object]:
    """Give conditions their transition times; keep those of other writers."""
    before = {entry["type"]: entry for entry in old}
    result = []
    for entry in new:
        known = before.pop(entry["type"], None)
        same = known is not None and known["status"] == entry["status"]
        since = known.get("lastTransitionTime", now) if same and known is not None else now
        result.append({**entry, "lastProbeTime": None, "lastTransitionTime": since})
    return result + list(before.values())


def status_of(pod: Object, view: PodView, host_ip: str, now: str) -> Object:
    """Return the whole status of the pod."""
    spec, old = pod["spec"], pod.get("status", {})
    phase = phase_of(pod, view)
    has_init = bool(spec.get("initContainers"))
    waits = "PodInitializing" if has_init and not initialized(pod, view) else "ContainerCreating"
    status: Object = {
        "phase": phase,
        "conditions": stamped(conditions_of(pod, view, phase), old.get("conditions") or [], now),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "startTime": old.get("startTime", now),
        "qosClass": qos_class(pod),
        "observedGeneration": pod["metadata"].get("generation", 1),
    }
    ip = host_ip if spec.get("hostNetwork") else view.ip or old.get("podIP", "")
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    if view.failed_reason:
        status |= {"reason": view.failed_reason, "message": view.failed_message}
    for key, field_name, waiting in (
        ("containers", "containerStatuses", waits),
        ("initContainers", "initContainerStatuses", "PodInitializing"),
        ("ephemeralContainers", "ephemeralContainerStatuses", "ContainerCreating"),
    ):
        if spec.get(key):
            status[field_name] = [container_status(c, view.of(c["name"]), waiting) for c in spec[key]]
    return status


def restart_wanted(pod: Object, container: Object, view: ContainerView) -> bool:
    """Whether an exited container is to be started again by policy."""
    policy: str = container.get("restartPolicy") or pod["spec"].get("restartPolicy", "Always")
    return policy == "Always" or (policy == "OnFailure" and not view.succeeded)
