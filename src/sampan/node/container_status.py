"""The status of one container, from what the runtime says and what was told of it before. Pure.

Source: core/v1 ContainerStatus, CRI ContainerStatus.
"""

from __future__ import annotations

import datetime

from sampan.node import cri_pb2 as cri
from sampan.node.pod_view import ContainerView
from sampan.node.signals import stop_signal_of
from sampan.schema.objects import Object


def moment(nanoseconds: int) -> str | None:
    """Return a CRI time as ``metav1.Time``."""
    if nanoseconds <= 0:
        return None
    when = datetime.datetime.fromtimestamp(nanoseconds // 1_000_000_000, datetime.UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def state_of(status: cri.ContainerStatus, message: str, runtime: str) -> Object:
    if status.state == cri.CONTAINER_RUNNING:
        return {"running": {"startedAt": moment(status.started_at)}}
    if status.state == cri.CONTAINER_EXITED:
        reason = status.reason or ("Completed" if status.exit_code == 0 else "Error")
        state: Object = {
            "exitCode": status.exit_code,
            "reason": reason,
            "startedAt": moment(status.started_at),
            "finishedAt": moment(status.finished_at),
            "containerID": f"{runtime}://{status.id}",
        }
        if message or status.message:
            state["message"] = message or status.message
        return {"terminated": state}
    return {"waiting": {"reason": "ContainerCreating"}}


def user_status(user: cri.LinuxContainerUser) -> Object:
    """Return who the first process of a container is (KEP-3619)."""
    status: Object = {"uid": user.uid, "gid": user.gid}
    if user.supplemental_groups:
        status["supplementalGroups"] = list(user.supplemental_groups)
    return status


def collected(told: Object, view: ContainerView, *, over: bool) -> Object:
    """Return the status of a container that was there and is gone from the runtime: how it ended stays as it was told; one
    that ran was lost."""
    status = {**told, "ready": False, "started": False}
    ended = (told.get("state") or {}).get("terminated")
    if ended is None and "running" in (told.get("state") or {}):
        when = "terminated" if over else "deleted. The container used to be Running"
        ended = {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": f"The container could not be located when the pod was {when}",
            "startedAt": None,
            "finishedAt": None,
        }
    if ended is not None and not over and ended["exitCode"] != 0:
        status |= {"state": {"waiting": {"reason": "ContainerCreating"}}, "lastState": {"terminated": ended}}
    elif ended is not None:
        status["state"] = {"terminated": ended}
    if view.waiting_reason and not over:
        waiting = {"reason": view.waiting_reason, "message": view.waiting_message}
        status["state"] = {"waiting": {key: value for key, value in waiting.items() if value}}
    return status


def container_status(
    container: Object, view: ContainerView, waits_for: str, runtime: str, told: Object, *, over: bool
) -> Object:
    """Return one entry of ``containerStatuses``. ``runtime``: its name; ``told``: what was said of the container before;
    ``over``: the pod has ended."""
    current = view.current
    if current is None and told.get("containerID"):
        return collected(told, view, over=over)
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
        status["containerID"] = f"{runtime}://{current.id}"
        if current.user.HasField("linux"):
            status["user"] = {"linux": user_status(current.user.linux)}
    if view.waiting_reason and not view.running:
        status["state"] = {"waiting": {"reason": view.waiting_reason}}
        if view.waiting_message:
            status["state"]["waiting"]["message"] = view.waiting_message
        previous = current if view.exited else view.last
        previous_message = view.message if view.exited else view.last_message
    else:
        status["state"] = (
            state_of(current, view.message, runtime) if current is not None else {"waiting": {"reason": waits_for}}
        )
        previous, previous_message = view.last, view.last_message
    status["lastState"] = state_of(previous, previous_message, runtime) if previous is not None else {}
    allocated = container.get("resources") or {}
    status["resources"] = view.resources if view.resources is not None else allocated
    if requests := {**(allocated.get("limits") or {}), **(allocated.get("requests") or {})}:
        status["allocatedResources"] = requests
    if signal := stop_signal_of(container):
        status["stopSignal"] = signal
    if container.get("volumeMounts"):
        status["volumeMounts"] = mount_statuses(container, current)
    return status


def mount_statuses(container: Object, current: cri.ContainerStatus | None) -> list[Object]:
    """Return how volumes are mounted; of those that are read-only whether what is below is, too (KEP-3857)."""
    deep = {mount.container_path for mount in current.mounts if mount.recursive_read_only} if current else set()
    found = []
    for mount in container["volumeMounts"]:
        shown: Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
        if mount.get("readOnly"):
            shown |= {"readOnly": True, "recursiveReadOnly": "Enabled" if mount["mountPath"] in deep else "Disabled"}
        found.append(shown)
    return found
