"""What a pod's volumes need on a node, and how much of what is there they would use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sampan.schema.objects import Object
from sampan.schema.quantity import Quantity, parse
from sampan.schema.volume_matching import class_of, requested

ROOMIEST = ({"utilization": 0, "score": 10}, {"utilization": 100, "score": 0})


@dataclass
class NodeVolumes:
    """What a pod needs done when it goes to a node."""

    bindings: list[tuple[Object, Object]] = field(default_factory=list)
    """Claims with the volumes found for them."""
    provisions: list[tuple[Object, Object | None]] = field(default_factory=list)
    """Claims with the CSIStorageCapacity that has room for them, where their driver tells of room."""

    @property
    def to_make(self) -> list[Object]:
        return [claim for claim, _ in self.provisions]

    def used(self) -> dict[str, tuple[int, int]]:
        """Return StorageClass → bytes asked for, and there: of the volumes that were found, or else of the room."""
        found: dict[str, tuple[int, int]] = {}
        for claim, volume in self.bindings:
            asked, there = found.get(name := class_of(claim), (0, 0))
            capacity = parse(str((volume["spec"].get("capacity") or {}).get("storage", "0")))
            found[name] = asked + requested(claim).value(), there + capacity.value()
        for claim, room in self.provisions if not self.bindings else ():
            if room is not None:
                asked, _ = found.get(name := class_of(claim), (0, 0))
                found[name] = asked + requested(claim).value(), parse(str(room.get("capacity", "0"))).value()
        return found


def in_topology(term: Object, labels: Mapping[str, str]) -> bool:
    expressions = term.get("matchLabelExpressions") or ()
    return all(labels.get(one["key"]) in one["values"] for one in expressions)


def is_enough(capacity: Object, size: Quantity) -> bool:
    limit = capacity.get("maximumVolumeSize") or capacity.get("capacity")
    return limit is not None and not parse(str(limit)) < size
