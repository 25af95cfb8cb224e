"""What is to be done next for a pod, from its spec and from what the runtime says. Pure: the worker does it, and asks again.

A plan holds only what the two inputs say, so a node that dies at any point of a step finds the same next step, or the one
after it, when it comes back. The order: ephemeral containers at any time; init containers one after the other, each sidecar
until it has started; then the main ones, side by side but for those that follow one with a postStart hook.
Source: the pod lifecycle page of Kubernetes, KEP-277, KEP-753.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Collection
from dataclasses import dataclass

from sampan.node import cri_pb2 as cri
from sampan.node.container_config import HASH, spec_hash
from sampan.node.pod_config import every_container
from sampan.node.pod_view import ContainerView, PodView
from sampan.node.restart_policy import is_sidecar, restart_wanted
from sampan.schema.objects import Object

ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Step:
    """What can be done at once. Empty: there is nothing to do until something happens."""

    starts: tuple[Object, ...] = ()
    """Containers to be made and started."""
    kills: tuple[tuple[str, str], ...] = ()
    """Running containers to be stopped, with why (name, message); they are started again as their policy says."""


def next_step(pod: Object, view: PodView, tried: Collection[str] = ()) -> Step:
    """Return the next step of a pod whose sandbox is ready. ``tried``: containers that were started in this look already, or
    could not be; they are not started again."""
    spec = pod["spec"]
    starts = [c for c in spec.get("ephemeralContainers") or () if not view.of(c["name"]).made]
    starts += due_inits(pod, view)
    starts = [container for container in starts if container["name"] not in tried]
    if initialized(pod, view):
        starts += due_mains(pod, view, tried)
    return Step(tuple(starts), tuple(to_kill(spec, view)))


def due_mains(pod: Object, view: PodView, tried: Collection[str]) -> list[Object]:
    """Return the main containers to be started: in their order, and none beyond one whose postStart hook is not over yet."""
    due = []
    for container in pod["spec"]["containers"]:
        seen = view.of(container["name"])
        if container["name"] not in tried and is_due(pod, container, seen):
            due.append(container)
            if (container.get("lifecycle") or {}).get("postStart"):
                break
        if seen.hook_pending:
            break
    return due


def due_inits(pod: Object, view: PodView) -> list[Object]:
    """Return the init containers to be started: sidecars that do not run, and the one whose turn it is."""
    begun = has_begun(pod, view)
    due = []
    for container in pod["spec"].get("initContainers") or ():
        seen = view.of(container["name"])
        if is_sidecar(container):
            if not (seen.made and seen.running):
                due.append(container)
            done = seen.made and seen.started
        else:
            done = begun or (seen.made and seen.succeeded)
            if not done and is_due(pod, container, seen):
                due.append(container)
        if not done and not begun:
            break
    return due


def is_due(pod: Object, container: Object, seen: ContainerView) -> bool:
    """Whether a container is to be started: it was not made yet, or it ended and its policy wants it again. In a new sandbox
    one that ended well before stays ended unless it is always restarted."""
    if not seen.made and not (seen.stale and seen.exited and not is_init(pod, container)):
        return True
    return seen.exited and restart_wanted(pod, container, seen)


def is_init(pod: Object, container: Object) -> bool:
    return any(c["name"] == container["name"] for c in pod["spec"].get("initContainers") or ())


def has_begun(pod: Object, view: PodView) -> bool:
    """Whether a main container was made in this sandbox: then the init containers are over, whether they are still there or
    were collected."""
    return any(view.of(container["name"]).made for container in pod["spec"]["containers"])


def initialized(pod: Object, view: PodView) -> bool:
    """Whether all init containers have ended well, and all sidecars have started; once the others run, it stays so."""
    if has_begun(pod, view):
        return True
    for container in pod["spec"].get("initContainers") or ():
        seen = view.of(container["name"])
        if seen.stale or not (seen.started if is_sidecar(container) else seen.succeeded):
            return False
    return True


def to_kill(spec: Object, view: PodView) -> list[tuple[str, str]]:
    """Return the containers that run what the Pod no longer says (another image), and those whose state the runtime lost."""
    kills = []
    for container in every_container(spec):
        name, current = container["name"], view.of(container["name"]).current
        if current is None or view.of(name).stale:
            continue
        if current.state == cri.CONTAINER_UNKNOWN:
            kills.append((name, "Container is in unknown state, try killing it before restart"))
        elif current.state == cri.CONTAINER_RUNNING and current.annotations.get(HASH, "") not in (
            "",
            spec_hash(container),
        ):
            kills.append((name, f"Container {name} definition changed, will be restarted"))
    return kills


def next_attempt(pod: Object, name: str, seen: ContainerView) -> int:
    """Return the number of a container's next instance: one more than the last; where all of them were collected, one more
    than the Pod's status knows."""
    if seen.current is not None:
        cut_off = seen.current.state == cri.CONTAINER_CREATED  # the node died between making and starting it
        return int(seen.current.metadata.attempt) + (0 if cut_off else 1)
    status = pod.get("status") or {}
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for told in status.get(kind) or ():
            if told["name"] == name and told.get("containerID"):
                return int(told.get("restartCount", 0)) + 1
    return 0


def deadline_left(pod: Object, now: float) -> float | None:
    """Return the seconds until activeDeadlineSeconds are over (negative: they are); None without a deadline."""
    limit, started = pod["spec"].get("activeDeadlineSeconds"), (pod.get("status") or {}).get("startTime")
    if limit is None or not started:
        return None
    return float(limit - (now - calendar.timegm(time.strptime(started, "%Y-%m-%dT%H:%M:%SZ"))))
