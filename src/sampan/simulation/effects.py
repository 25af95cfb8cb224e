"""What an object is after a step: ``then`` of a stage applied to its status. Pure; ``player.py`` writes the difference."""

from __future__ import annotations

from typing import Any

from sampan.schema.objects import Object
from sampan.schema.patch import merge_patch

PHASES = ("phase", "ready", "exitCode", "waiting", "restarts")


def status_after(obj: Object, then: Object, *, ip: str, host_ip: str, now: str) -> Object:
    """Return the whole new status. ``ip`` is the pod's address once it runs."""
    status = dict(obj.get("status") or {})
    if obj.get("kind") == "Pod" and any(name in then for name in PHASES):
        status = pod_status(obj, then, ip=ip, host_ip=host_ip, now=now)
    if obj.get("kind") == "Pod":
        status |= {name: then[name] for name in ("reason", "message") if name in then}
    if then.get("debug"):
        status["ephemeralContainerStatuses"] = [
            running_status(container, now) for container in obj["spec"].get("ephemeralContainers") or ()
        ]
    if then.get("conditions"):
        status["conditions"] = with_conditions(status.get("conditions") or [], then["conditions"], now)
    if then.get("status"):
        status = merge_patch(status, then["status"])
    return status


def with_conditions(have: list[Object], wanted: list[Object], now: str) -> list[Object]:
    """Return conditions with those of a stage; the transition time changes with the status only."""
    merged = {condition["type"]: dict(condition) for condition in have}
    for condition in wanted:
        old = merged.get(condition["type"], {})
        if {**old, **condition} == old:
            continue
        since = old.get("lastTransitionTime", now) if old.get("status") == condition["status"] else now
        merged[condition["type"]] = {**old, **condition, "lastTransitionTime": since}
    return list(merged.values())


def pod_status(pod: Object, then: Object, *, ip: str, host_ip: str, now: str) -> Object:
    """Return the status of a pod after its phase, its readiness or its containers changed."""
    old: Object = pod.get("status") or {}
    phase = str(then.get("phase") or old.get("phase", "Pending"))
    waiting = then.get("waiting")
    started = old.get("startTime", now)
    states = {entry["name"]: entry for entry in old.get("containerStatuses") or ()}
    up = phase == "Running" and waiting is None
    ready = up and then.get("ready", True)
    containers = [
        container_status(pod, container, states.get(container["name"]) or {}, then, phase, ready=ready, now=now)
        for container in pod["spec"]["containers"]
    ]
    done = {} if phase in ("Running", "Pending") else {"reason": "PodCompleted"}
    unready = {} if ready or done else {"reason": "ContainersNotReady", "message": unready_message(pod)}
    initialized = phase != "Pending" or waiting is not None
    conditions = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "Initialized", "status": str(initialized), **done},
        {"type": "ContainersReady", "status": str(ready), **done, **unready},
        {"type": "Ready", "status": str(ready), **done, **unready},
    ]
    status = {name: value for name, value in old.items() if name not in ("reason", "message")}
    status |= {"phase": phase, "startTime": started, "hostIP": host_ip, "hostIPs": [{"ip": host_ip}]}
    status["qosClass"] = old.get("qosClass", "BestEffort")
    status["conditions"] = fresh_conditions(old.get("conditions") or [], conditions, now)
    status["containerStatuses"] = containers
    if initialized and ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    if pod["spec"].get("initContainers"):
        status["initContainerStatuses"] = [init_status(c, started, now) for c in pod["spec"]["initContainers"]]
    return status


def fresh_conditions(have: list[Object], wanted: list[Object], now: str) -> list[Object]:
    """Return the pod's own conditions anew, and those of others (readiness gates) as they are."""
    old = {condition["type"]: condition for condition in have}
    fresh = []
    for condition in wanted:
        before = old.pop(condition["type"], {})
        since = before.get("lastTransitionTime", now) if before.get("status") == condition["status"] else now
        fresh.append({"lastProbeTime": None, **condition, "lastTransitionTime": since})
    return [*fresh, *old.values()]


def unready_message(pod: Object) -> str:
    names = " ".join(container["name"] for container in pod["spec"]["containers"])
    return f"containers with unready status: [{names}]"


def container_status(
    pod: Object, container: Object, old: Object, then: Object, phase: str, *, ready: bool, now: str
) -> Object:
    """Return one container's status. ``restarts`` ends the present run and begins the next (or waits for it)."""
    running = (old.get("state") or {}).get("running") or {}
    since = running.get("startedAt", now)
    count = old.get("restartCount", 0)
    last = old.get("lastState") or {}
    if then.get("restarts"):
        last = {"terminated": ended(then.get("exitCode", 1), since, now)}
        count, since = count + then["restarts"], now
    state: Object
    if then.get("waiting") is not None:
        state = {"waiting": {name: value for name, value in then["waiting"].items() if value}}
    elif phase == "Running":
        state = {"running": {"startedAt": since}}
    elif phase == "Pending":
        state = {"waiting": {"reason": "ContainerCreating"}}
    else:
        state = {"terminated": ended(then.get("exitCode", 0 if phase == "Succeeded" else 1), since, now)}
    status = {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"simulated://{container['image']}",
        "containerID": f"simulated://{pod['metadata'].get('uid', '')}/{container['name']}/{count}",
        "restartCount": count,
        "ready": ready,
        "started": "running" in state,
        "state": state,
        **given(container),
    }
    return {**status, "lastState": last} if last else status


def given(container: Object) -> Object:
    """Return what a container's status says it was given: all that it asks for. Without it no pod may be resized."""
    resources = container.get("resources") or {}
    requests = resources.get("requests")
    return {"resources": resources, **({"allocatedResources": requests} if requests else {})}


def resized(pod: Object) -> list[Object] | None:
    """Return the containers' statuses of a pod that was resized (``pods/resize``), None when it was not."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    asked = {container["name"]: container for container in pod["spec"]["containers"]}
    new = [
        {**status, **given(asked[status["name"]])} if "resources" in status and status["name"] in asked else status
        for status in statuses
    ]
    return new if any(one is not other and one != other for one, other in zip(new, statuses, strict=True)) else None


def running_status(container: Object, now: str) -> Object:
    """The status of an ephemeral container: it runs, and is never ready."""
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"simulated://{container['image']}",
        "containerID": f"simulated://ephemeral/{container['name']}",
        "restartCount": 0,
        "ready": False,
        "state": {"running": {"startedAt": now}},
    }


def ended(exit_code: int, started: str, now: str) -> Object:
    reason = "Error" if exit_code else "Completed"
    return {"exitCode": exit_code, "reason": reason, "startedAt": started, "finishedAt": now}


def init_status(container: Object, started: str, now: str) -> Object:
    """An init container has ended well; one that restarts Always (a sidecar) runs."""
    sidecar = container.get("restartPolicy") == "Always"
    state: dict[str, Any] = {"running": {"startedAt": started}} if sidecar else {"terminated": ended(0, started, now)}
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"simulated://{container['image']}",
        "containerID": f"simulated://init/{container['name']}",
        "restartCount": 0,
        "ready": True,
        "started": sidecar,
        "state": state,
    }
