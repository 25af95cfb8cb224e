"""From what the metrics propose to what is done: stabilization, rates of change, the least and the most. Pure but for the
history of each autoscaler, which is kept here.

Source: kubernetes pkg/controller/podautoscaler (horizontal.go), KEP-853 (behavior).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from sampan.schema.objects import Object

DOWNSCALE_SECONDS = 300
WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_FAST_UP = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
TOO_FAST_DOWN = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
READY = ("ReadyForNewScale", "recommended size matches current size")
HELD_DOWN = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
HELD_UP = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)


class At(NamedTuple):
    """A recommendation, or a change of replicas, at a moment."""

    at: float
    replicas: int


class Outcome(NamedTuple):
    """``able`` and ``limit`` are reason and message of AbleToScale and ScalingLimited."""

    replicas: int
    able: tuple[str, str]
    limit: tuple[str, str]
    limited: bool


@dataclass
class History:
    """What one autoscaler recommended and did of late."""

    recommendations: list[At] = field(default_factory=list)
    ups: list[At] = field(default_factory=list)
    downs: list[At] = field(default_factory=list)

    def begin(self, now: float, replicas: int) -> None:
        """An autoscaler that is new here begins with what there is, so that it does not shrink it at once."""
        if not self.recommendations:
            self.recommendations.append(At(now, replicas))

    def record(self, behavior: Object | None, now: float, old: int, new: int) -> None:
        """Remember a change for the policies of a behavior."""
        if behavior is None or old == new:
            return
        rules = behavior.get("scaleUp" if new > old else "scaleDown") or {}
        longest = max((policy["periodSeconds"] for policy in rules.get("policies") or ()), default=0)
        events = [event for event in (self.ups if new > old else self.downs) if event.at > now - longest]
        events.append(At(now, abs(new - old)))
        if new > old:
            self.ups = events
        else:
            self.downs = events

    def keep(self, now: float, seconds: float, replicas: int) -> None:
        self.recommendations = [one for one in self.recommendations if one.at >= now - seconds]
        self.recommendations.append(At(now, replicas))


def limited(
    spec: Object, history: History, current: int, desired: int, now: float, downscale_seconds: float = DOWNSCALE_SECONDS
) -> Outcome:
    """Return how many replicas there shall be; ``desired`` is remembered."""
    least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
    behavior = spec.get("behavior")
    if behavior is None:
        held = max([desired, *(one.replicas for one in history.recommendations if one.at >= now - downscale_seconds)])
        history.keep(now, downscale_seconds, desired)
        replicas, limit = by_rules(current, held, least, most)
        return Outcome(replicas, READY if held == desired else HELD_DOWN, limit, replicas != held)
    held = stabilized(behavior, history, current, desired, now, downscale_seconds)
    able = READY if held == desired else HELD_UP if desired >= current else HELD_DOWN
    replicas, limit = by_rates(behavior, history, current, held, least, most, now)
    return Outcome(replicas, able, limit, replicas != held)


def by_rules(current: int, desired: int, least: int, most: int) -> tuple[int, tuple[str, str]]:
    """Limit by the least and the most, and by doubling (at least to four) at a time."""
    fastest = max(2 * current, 4)
    top, why = (fastest, TOO_FAST_UP) if most > fastest else (most, TOO_MANY)
    if desired < least:
        return least, TOO_FEW
    return (top, why) if desired > top else (desired, WITHIN)


def stabilized(
    behavior: Object, history: History, current: int, desired: int, now: float, downscale_seconds: float
) -> int:
    """Return the recommendation within the stabilization windows of both directions; it is remembered as it was."""
    up_seconds: int = (behavior.get("scaleUp") or {}).get("stabilizationWindowSeconds") or 0
    down_seconds = (behavior.get("scaleDown") or {}).get("stabilizationWindowSeconds")
    down_seconds = downscale_seconds if down_seconds is None else down_seconds
    recent = history.recommendations
    lowest = min([desired, *(one.replicas for one in recent if one.at > now - up_seconds)])
    highest = max([desired, *(one.replicas for one in recent if one.at > now - down_seconds)])
    history.keep(now, max(up_seconds, down_seconds), desired)
    return min(max(current, lowest), highest)


def by_rates(
    behavior: Object, history: History, current: int, desired: int, least: int, most: int, now: float
) -> tuple[int, tuple[str, str]]:
    """Limit by the policies of the direction, and by the least and the most."""
    if desired > current:
        fastest = max(up_limit(behavior.get("scaleUp") or {}, history, current, now), current)
        top, why = (fastest, TOO_FAST_UP) if most > fastest else (most, TOO_MANY)
        if desired > top:
            return top, why
    elif desired < current:
        slowest = min(down_limit(behavior.get("scaleDown") or {}, history, current, now), current)
        bottom, why = (slowest, TOO_FAST_DOWN) if least < slowest else (least, TOO_FEW)
        if desired < bottom:
            return bottom, why
    return desired, WITHIN


def changed_since(events: list[At], moment: float) -> int:
    return sum(event.replicas for event in events if event.at > moment)


def at_start(history: History, current: int, moment: float) -> int:
    """Return how many replicas there were at the beginning of a period."""
    return current - changed_since(history.ups, moment) + changed_since(history.downs, moment)


def up_limit(rules: Object, history: History, current: int, now: float) -> int:
    """Return the most replicas that the policies allow now."""
    if rules.get("selectPolicy") == "Disabled":
        return current
    limits: list[int] = []
    for policy in rules.get("policies") or ():
        start = at_start(history, current, now - policy["periodSeconds"])
        grown = start + policy["value"] if policy["type"] == "Pods" else start * (1 + policy["value"] / 100)
        limits.append(math.ceil(grown))
    return min(limits) if rules.get("selectPolicy") == "Min" else max(limits)


def down_limit(rules: Object, history: History, current: int, now: float) -> int:
    """Return the fewest replicas that the policies allow now."""
    if rules.get("selectPolicy") == "Disabled":
        return current
    limits: list[int] = []
    for policy in rules.get("policies") or ():
        start = at_start(history, current, now - policy["periodSeconds"])
        shrunk = start - policy["value"] if policy["type"] == "Pods" else start * (1 - policy["value"] / 100)
        limits.append(int(shrunk))
    return max(limits) if rules.get("selectPolicy") == "Min" else min(limits)
