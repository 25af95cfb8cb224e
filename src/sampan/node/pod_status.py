"""The status of a pod, from what the runtime says and what the probes found. Pure.

Source: core/v1 PodStatus, the pod lifecycle page of Kubernetes (phase, conditions), CRI ContainerStatus.
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.node import cri_pb2 as cri
from sampan.node.container_status import container_status
from sampan.node.pod_plan import ENDED, has_begun, initialized
from sampan.node.pod_view import PodView
from sampan.node.resources import qos_class
from sampan.node.restart_policy import is_sidecar, restart_wanted
from sampan.schema.objects import Object

PASSING = ("PodResizePending", "PodResizeInProgress")
"""Conditions of this node that are there only while they hold."""


def phase_of(pod: Object, view: PodView, *, over: bool = False) -> str:
    """Return the phase: Pending until every container has started once; then by what runs and how it ended. ``over``: nothing
    is started any more (the pod is deleted, evicted), so what has ended has ended for good."""
    if view.failed_reason:
        return "Failed"
    spec = pod["spec"]

    def again(container: Object) -> bool:
        return not over and restart_wanted(pod, container, view.of(container["name"]))

    for container in () if has_begun(pod, view) else spec.get("initContainers") or ():
        seen = view.of(container["name"])
        if is_sidecar(container):
            if not seen.running and not seen.exited and not over:
                return "Pending"
        elif seen.exited and not seen.succeeded and not again(container):
            return "Failed"
        elif not seen.succeeded:
            return "Pending"
    views = [view.of(container["name"]) for container in spec["containers"]]
    if any(seen.current is None or seen.current.state == cri.CONTAINER_CREATED for seen in views):
        return "Pending"
    if any(not seen.exited or again(container) for seen, container in zip(views, spec["containers"], strict=True)):
        return "Running"
    return "Succeeded" if all(seen.succeeded for seen in views) else "Failed"


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
    complete = phase in ENDED
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
        *([condition("DisruptionTarget", True, "TerminationByKubelet", view.failed_message)] if view.disrupted else []),
        *resize_conditions(view, pod["metadata"].get("generation", 1)),
    ]


def resize_conditions(view: PodView, generation: int) -> list[Object]:
    """Return what is to be said of a resize that is not done (KEP-1287)."""
    result = []
    if view.resize_pending is not None:
        result.append(condition("PodResizePending", True, *view.resize_pending))
    if view.resizing:
        reason = ("Error", view.resize_problem) if view.resize_problem else ("", "")
        result.append(condition("PodResizeInProgress", True, *reason))
    return [{**entry, "observedGeneration": generation} for entry in result]


def stamped(new: list[Object], old: list[Object], now: str) -> list[Object]:
    """Give conditions their transition times; keep those of other writers."""
    before = {entry["type"]: entry for entry in old}
    result = []
    for entry in new:
        known = before.pop(entry["type"], None)
        same = known is not None and known["status"] == entry["status"]
        since = known.get("lastTransitionTime", now) if same and known is not None else now
        result.append({**entry, "lastProbeTime": None, "lastTransitionTime": since})
    return result + [entry for entry in before.values() if entry["type"] not in PASSING]


def status_of(pod: Object, view: PodView, host_ips: Sequence[str], now: str, *, over: bool = False) -> Object:
    """Return the whole status of the pod. A phase that has ended stays as it is told; ``over``: see ``phase_of``."""
    spec, old = pod["spec"], pod.get("status", {})
    phase = old["phase"] if old.get("phase") in ENDED else phase_of(pod, view, over=over)
    has_init = bool(spec.get("initContainers"))
    waits = "PodInitializing" if has_init and not initialized(pod, view) else "ContainerCreating"
    status: Object = {
        "phase": phase,
        "conditions": stamped(conditions_of(pod, view, phase), old.get("conditions") or [], now),
        "hostIP": host_ips[0],
        "hostIPs": [{"ip": ip} for ip in host_ips],
        "startTime": old.get("startTime", now),
        "qosClass": qos_class(pod),
        "observedGeneration": pod["metadata"].get("generation", 1),
    }
    told = [{"ip": ip} for ip in (host_ips if spec.get("hostNetwork") else view.ips)] or old.get("podIPs") or []
    if told:
        status |= {"podIP": told[0]["ip"], "podIPs": told}
    if view.failed_reason:
        status |= {"reason": view.failed_reason, "message": view.failed_message}
    for key, field_name, waiting in (
        ("containers", "containerStatuses", waits),
        ("initContainers", "initContainerStatuses", "PodInitializing"),
        ("ephemeralContainers", "ephemeralContainerStatuses", "ContainerCreating"),
    ):
        if spec.get(key) and not view.rejected:
            told = {entry["name"]: entry for entry in old.get(field_name) or ()}
            status[field_name] = [
                container_status(
                    c, view.of(c["name"]), waiting, view.runtime, told.get(c["name"], {}), over=phase in ENDED
                )
                for c in spec[key]
            ]
    return status
