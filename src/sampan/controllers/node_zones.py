"""How fast pods may be evicted from nodes that are not ready, zone by zone: a broken network must not empty a cluster.

A zone with many nodes that are not ready is slowed down or, when it is small, stopped; and when no zone has a ready node
left, it is most likely we who are cut off: nothing is evicted. Source: pkg/controller/nodelifecycle
(``--node-eviction-rate``, ``--unhealthy-zone-threshold`` and their defaults).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sampan.controllers.node_conditions import is_ready
from sampan.schema.objects import Object

RATE, SECONDARY_RATE = 0.1, 0.01
"""Nodes a second."""
UNHEALTHY_SHARE = 0.55
LARGE_ZONE = 50
"""A zone with more nodes goes on slowly when it is unhealthy; a smaller one stops."""
NORMAL, PARTIAL, FULL = "Normal", "PartialDisruption", "FullDisruption"
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"


def zone_of(node: Object) -> str:
    labels = node["metadata"].get("labels") or {}
    return f"{labels.get(REGION, '')}:{labels.get(ZONE, '')}"


def state_of(ready: int, not_ready: int) -> str:
    if not ready and not_ready:
        return FULL
    if not_ready > 2 and not_ready / (ready + not_ready) >= UNHEALTHY_SHARE:
        return PARTIAL
    return NORMAL


class Zones:
    """How many nodes of each zone are ready, node by node."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[str, bool]] = {}
        self._counts: dict[str, list[int]] = {}

    def observe(self, node: Object) -> bool:
        """Take over a node's state; return whether that changes what may be done with any node."""
        return self._change(node["metadata"]["name"], (zone_of(node), is_ready(node)))

    def forget(self, name: str) -> bool:
        return self._change(name, None)

    def _change(self, name: str, new: tuple[str, bool] | None) -> bool:
        old = self._nodes.get(name)
        if old == new:
            return False
        touched = {zone for one in (old, new) if one is not None for zone in (one[0],)}
        before = {zone: self.rate(zone) for zone in touched}, self.all_disrupted
        if old is not None:
            self._counts[old[0]][1 - old[1]] -= 1
            del self._nodes[name]
            if not any(self._counts[old[0]]):
                del self._counts[old[0]]
        if new is not None:
            self._counts.setdefault(new[0], [0, 0])[1 - new[1]] += 1
            self._nodes[name] = new
        return before != ({zone: self.rate(zone) for zone in touched}, self.all_disrupted)

    @property
    def all_disrupted(self) -> bool:
        """Whether no zone has a ready node left."""
        return bool(self._counts) and all(state_of(*counts) == FULL for counts in self._counts.values())

    def rate(self, zone: str) -> float:
        """Return how many nodes a second may be emptied in a zone."""
        ready, not_ready = self._counts.get(zone, (0, 0))
        return rate_of(state_of(ready, not_ready), ready + not_ready)


def rate_of(state: str, nodes: int) -> float:
    """Return how many nodes a second may be emptied in a zone."""
    if state == PARTIAL:
        return SECONDARY_RATE if nodes > LARGE_ZONE else 0.0
    return RATE


@dataclass
class Pace:
    """Lets nodes of each zone through at the zone's rate; times are the caller's clock."""

    _next: dict[str, float] = field(default_factory=dict)

    def wait(self, zone: str, rate: float, now: float) -> float | None:
        """Return how long a node has to wait before its pods may be evicted, 0 for not at all (and it is counted), None:
        until the zone gets better."""
        if rate <= 0:
            return None
        due = self._next.get(zone, now)
        if due > now:
            return due - now
        self._next[zone] = now + 1 / rate
        return 0.0
