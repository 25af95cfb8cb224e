"""Conditions: times are stamped where a condition changes. Source: ``metav1.Condition``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sampan.gateway.model.verdicts import Verdict
from sampan.gateway.model.world import World
from sampan.schema.objects import Object


class Moment(NamedTuple):
    """When a status is written: the time, and whether Envoy has answered to all of the present configuration."""

    now: str
    live: bool


Status = Callable[[World, str, Moment], "Object | None"]


def condition(type: str, well: bool, reason: str, message: str, generation: int) -> Object:
    return {
        "type": type,
        "status": "True" if well else "False",
        "reason": reason,
        "message": message[:32768],
        "observedGeneration": generation,
    }


def judged(type: str, verdict: Verdict, good: str, generation: int) -> Object:
    """Return the condition of a verdict that is well when its reason is ``good``."""
    return condition(type, verdict.reason == good, verdict.reason, verdict.message, generation)


def stamped(new: list[Object], old: list[Object], now: str) -> list[Object]:
    """Give conditions their transition times, kept where the status did not change."""
    before = {entry["type"]: entry for entry in old}
    result = []
    for entry in new:
        known = before.get(entry["type"])
        since = known["lastTransitionTime"] if known and known["status"] == entry["status"] else now
        result.append({**entry, "lastTransitionTime": since})
    return result


def generation_of(obj: Object) -> int:
    return int(obj["metadata"].get("generation", 0))
