"""Whether an object of any kind is ready, in words when it is not: the rules people know from ``kubectl rollout status``
and from kstatus.

Each built-in kind has its rule in ``RULES``; everything else is ready when its controller has seen it and no condition
says otherwise. Source: apps/v1, batch/v1, core/v1 status fields; the kstatus conventions (observedGeneration, Ready,
Reconciling, Stalled).
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.schema.objects import Object


def why_not_ready(obj: Object | None) -> str:
    """Return the reason, ``""`` when the object is ready."""
    if obj is None:
        return "it does not exist"
    if "deletionTimestamp" in obj["metadata"]:
        return "it is being deleted"
    status = obj.get("status") or {}
    generation = obj["metadata"].get("generation")
    observed = status.get("observedGeneration")
    if observed is not None and generation is not None and observed < generation:
        return f"generation {generation} has not been observed yet"
    rule = RULES.get((obj.get("apiVersion", "").partition("/")[0], obj.get("kind", "")))
    return rule(obj) if rule else of_conditions(obj)


def condition(obj: Object, type: str) -> Object | None:
    """Return a condition of the status."""
    for found in (obj.get("status") or {}).get("conditions") or ():
        if found.get("type") == type:
            return dict(found)
    return None


def say(found: Object) -> str:
    """Return a condition in words."""
    text = f"{found['type']}={found['status']}"
    if found.get("reason"):
        text += f" ({found['reason']})"
    return text + (f": {found['message']}" if found.get("message") else "")


def needs(obj: Object, type: str) -> str:
    found = condition(obj, type)
    if found is None:
        return f"it has no condition {type}"
    return "" if found["status"] == "True" else say(found)


def of_conditions(obj: Object) -> str:
    for type, good in (("Stalled", "False"), ("Reconciling", "False"), ("Ready", "True"), ("Available", "True")):
        found = condition(obj, type)
        if found is not None and found["status"] != good:
            return say(found)
    return ""


def deployment(obj: Object) -> str:
    wanted, status = obj["spec"].get("replicas", 1), obj.get("status") or {}
    progressing = condition(obj, "Progressing")
    if progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded":
        return say(progressing)
    if "observedGeneration" not in status:
        return "its controller has not seen it yet"
    for field, what in (("updatedReplicas", "updated"), ("availableReplicas", "available")):
        if status.get(field, 0) < wanted:
            return f"{status.get(field, 0)} of {wanted} replicas are {what}"
    if status.get("replicas", 0) > status.get("updatedReplicas", 0):
        return f"{status['replicas'] - status.get('updatedReplicas', 0)} old replicas are still there"
    return ""


def replicas(obj: Object) -> str:
    wanted, status = obj["spec"].get("replicas", 1), obj.get("status") or {}
    ready = status.get("readyReplicas", 0)
    if status.get("observedGeneration") is None:
        return "its controller has not seen it yet"
    return "" if ready >= wanted else f"{ready} of {wanted} replicas are ready"


def daemon_set(obj: Object) -> str:
    status = obj.get("status") or {}
    if status.get("observedGeneration") is None:
        return "its controller has not seen it yet"
    wanted = status.get("desiredNumberScheduled", 0)
    for field, what in (("updatedNumberScheduled", "updated"), ("numberReady", "ready")):
        if status.get(field, 0) < wanted:
            return f"{status.get(field, 0)} of {wanted} pods are {what}"
    return ""


def job(obj: Object) -> str:
    failed = condition(obj, "Failed")
    if failed is not None and failed["status"] == "True":
        return say(failed)
    return needs(obj, "Complete")


def pod(obj: Object) -> str:
    status = obj.get("status") or {}
    phase = status.get("phase", "Pending")
    if phase == "Succeeded":
        return ""
    if phase == "Running" and not needs(obj, "Ready"):
        return ""
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        state = container.get("state") or {}
        stopped = state.get("waiting") or state.get("terminated") or {}
        if stopped.get("reason") and stopped["reason"] != "Completed":
            text = f"{phase}: container {container['name']} {stopped['reason']}"
            if "exitCode" in stopped:
                text += f", exit code {stopped['exitCode']}"
            return text + (f": {stopped['message']}" if stopped.get("message") else "")
    scheduled = condition(obj, "PodScheduled")
    if scheduled is not None and scheduled["status"] != "True":
        return f"{phase}: {say(scheduled)}"
    return f"{phase}: {needs(obj, 'Ready')}"


def claim(obj: Object) -> str:
    phase = (obj.get("status") or {}).get("phase", "Pending")
    return "" if phase == "Bound" else f"phase {phase}"


def namespace(obj: Object) -> str:
    phase = (obj.get("status") or {}).get("phase", "Active")
    return "" if phase == "Active" else f"phase {phase}"


def service(obj: Object) -> str:
    if obj["spec"].get("type") != "LoadBalancer":
        return ""
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    return "" if ingress else "it has no LoadBalancer address"


RULES: dict[tuple[str, str], Callable[[Object], str]] = {
    ("apps", "Deployment"): deployment,
    ("apps", "ReplicaSet"): replicas,
    ("apps", "StatefulSet"): replicas,
    ("apps", "DaemonSet"): daemon_set,
    ("batch", "Job"): job,
    ("v1", "Pod"): pod,
    ("v1", "ReplicationController"): replicas,
    ("v1", "PersistentVolumeClaim"): claim,
    ("v1", "Namespace"): namespace,
    ("v1", "Service"): service,
    ("v1", "Node"): lambda obj: needs(obj, "Ready"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): lambda obj: needs(obj, "Established"),
    ("apiregistration.k8s.io", "APIService"): lambda obj: needs(obj, "Available"),
}
