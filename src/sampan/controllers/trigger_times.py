"""When that happened which the endpoints of a Service are written for: proxies and DNS servers measure their delay by it.

What happens to a pod is that it becomes ready or ceases to be (the transition of its condition Ready), to a Service that it
is made. Of several things since the last look the oldest counts. Moments are the API's own texts, whole seconds of UTC,
which sort as they stand. Source: SLO "network programming latency", ``endpoints.kubernetes.io/last-change-trigger-time``.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.schema.objects import Object

TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"


class TriggerTimes:
    """What was known at the last look, by the key of the Service."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def look(self, key: str, service: Object, pods: Iterable[Object]) -> str:
        """Return the moment of the oldest change since the last look at a Service and the pods it selects; ``""``: none."""
        before, now = self._known.get(key, {}), moments(service, pods)
        self._known[key] = now
        return min((moment for name, moment in now.items() if moment > before.get(name, "")), default="")

    def forget(self, key: str) -> None:
        """Drop what is known of a Service that is gone."""
        self._known.pop(key, None)


def moments(service: Object, pods: Iterable[Object]) -> dict[str, str]:
    """Return pod → when its readiness changed; the Service itself is under ``""``."""
    found = {"": str(service["metadata"].get("creationTimestamp") or "")}
    for pod in pods:
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if condition["type"] == "Ready":
                found[pod["metadata"]["name"]] = str(condition.get("lastTransitionTime") or "")
    return found


def with_trigger(annotations: Object | None, moment: str) -> Object:
    """Return annotations that tell the moment, or none where there is none."""
    kept = {name: value for name, value in (annotations or {}).items() if name != TRIGGER_TIME}
    return {**kept, TRIGGER_TIME: moment} if moment else kept
