"""What comes next for an object: the stage that matches, else what any node does with a pod.

Without stages pods become Running at once, or after the seconds of the annotation ``sim.sampan.dev/start-seconds``; those
whose ``restartPolicy`` is not Always end after ``sim.sampan.dev/run-seconds`` (0) with the exit code of
``sim.sampan.dev/exit-code`` (0); deletion is graceful and takes ``sim.sampan.dev/stop-seconds`` (0).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sampan.schema.objects import Object
from sampan.simulation.kinds import GROUP
from sampan.simulation.stages import Stage


@dataclass(frozen=True)
class Step:
    """What happens to an object after a while; ``name`` tells whether it is still the same step."""

    name: str
    delay_seconds: float
    then: Object


def next_step(obj: Object, stages: Iterable[Stage]) -> Step | None:
    """Return the next step: of the stages that match, the one with the highest priority, then the first by name."""
    for stage in ordered(stages):
        if stage.matches(obj):
            return Step(stage.name, stage.delay(obj), stage.then)
    return pod_step(obj) if obj.get("kind") == "Pod" else None


def ordered(stages: Iterable[Stage]) -> list[Stage]:
    return sorted(stages, key=lambda stage: (-stage.priority, stage.name))


def pod_step(pod: Object) -> Step | None:
    """Return what a node does with a pod by itself."""
    metadata = pod["metadata"]
    phase = pod.get("status", {}).get("phase", "Pending")
    if "deletionTimestamp" in metadata:
        if metadata.get("deletionGracePeriodSeconds") == 0 and phase in ("Succeeded", "Failed"):
            return None  # what is left is for finalizers
        if phase in ("Pending", "Running") and metadata.get("finalizers"):  # what ended is told before it goes
            return Step("/stop", number(pod, "stop-seconds"), {"phase": "Failed", "exitCode": 143})
        return Step("/delete", number(pod, "stop-seconds"), {"delete": True})
    if phase == "Pending":
        return Step("/start", number(pod, "start-seconds"), {"phase": "Running"})
    if phase == "Running" and len(pod["spec"].get("ephemeralContainers") or ()) > len(
        pod["status"].get("ephemeralContainerStatuses") or ()
    ):
        return Step("/debug", 0.0, {"debug": True})
    if phase == "Running" and pod["spec"].get("restartPolicy", "Always") != "Always":
        code = int(number(pod, "exit-code"))
        then = {"phase": "Failed" if code else "Succeeded", "exitCode": code}
        return Step("/end", number(pod, "run-seconds"), then)
    return None


def number(pod: Object, name: str) -> float:
    """Return the number in an annotation of ours, 0 where there is none."""
    value = (pod["metadata"].get("annotations") or {}).get(f"{GROUP}/{name}", "0")
    try:
        return max(float(value), 0.0)
    except ValueError:
        return 0.0
