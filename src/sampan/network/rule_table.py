"""What the tables of all Services hold, and the difference that leads from one state to the next.

Only what changed is in a difference. Elements may be wanted by several Services (a hairpin of a pod behind two of them, or
one address claimed twice): the first holder's value counts, and when it goes the next one's does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sampan.network.nft_elements import Element, Value
from sampan.network.service_endpoints import Endpoint
from sampan.network.service_table import ProxyConfig
from sampan.network.services import NOTHING, Affinity, ServiceRules


@dataclass
class Change:
    """A difference, in the order in which it is applied."""

    numbers: list[int] = field(default_factory=list)
    """Of how many endpoints chains are missing."""
    affinities: list[Affinity] = field(default_factory=list)
    """Those that are missing."""
    removed: list[Element] = field(default_factory=list)
    added: dict[Element, Value] = field(default_factory=dict)
    remembered: dict[Affinity, frozenset[Endpoint]] = field(default_factory=dict)
    """Those whose clients may only go to these endpoints now."""
    obsolete: list[Affinity] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.numbers or self.affinities or self.removed or self.added or self.obsolete)


class RuleTable:
    """What the kernel holds, if it has taken every change this returned."""

    def __init__(self, config: ProxyConfig) -> None:
        self.config = config
        self.services: dict[str, ServiceRules] = {}
        self._holders: dict[Element, dict[str, Value]] = {}
        self._numbers: set[int] = set()
        """Of how many endpoints there are chains."""

    def elements(self) -> dict[Element, Value]:
        """Return all elements there should be."""
        return {element: _first(holders) for element, holders in self._holders.items()}

    def update(self, changed: Mapping[str, ServiceRules]) -> Change:
        """Take over the rules of some Services; return what changes."""
        change = Change()
        before: dict[Element, tuple[Value] | None] = {}
        for key, new in changed.items():
            old = self.services.get(key, NOTHING)
            self._restructure(old, new, change)
            for element in old.elements.keys() | new.elements.keys():
                if element not in before:
                    holders = self._holders.get(element)
                    before[element] = (_first(holders),) if holders else None
            self._hold(key, old, new)
            if new == NOTHING:
                self.services.pop(key, None)
            else:
                self.services[key] = new
        for element, was in before.items():
            holders = self._holders.get(element)
            now = (_first(holders),) if holders else None
            if was != now:
                if was is not None:
                    change.removed.append(element)
                if now is not None:
                    change.added[element] = now[0]
        missing = {number for value in change.added.values() if (number := picked_of(value))} - self._numbers
        self._numbers |= missing
        change.numbers = sorted(missing)
        return change

    def made(self, numbers: Iterable[int]) -> None:
        """Note of how many endpoints the kernel has chains."""
        self._numbers = set(numbers)

    def _hold(self, key: str, old: ServiceRules, new: ServiceRules) -> None:
        for element in old.elements:
            if element not in new.elements:
                holders = self._holders[element]
                del holders[key]
                if not holders:
                    del self._holders[element]
        for element, value in new.elements.items():
            self._holders.setdefault(element, {})[key] = value

    def _restructure(self, old: ServiceRules, new: ServiceRules, change: Change) -> None:
        for affinity, endpoints in new.affinities.items():
            if affinity not in old.affinities:
                change.affinities.append(affinity)
            elif not old.affinities[affinity] <= endpoints:
                change.remembered[affinity] = endpoints
        change.obsolete += [affinity for affinity in old.affinities if affinity not in new.affinities]


def picked_of(verdict: Value) -> int:
    """Return from how many endpoints a verdict picks; 0 for another."""
    if not isinstance(verdict, str):
        return 0
    words, _, number = verdict.rpartition("-")
    return int(number) if words.startswith(("goto pick", "goto inside")) else 0


def _first(holders: Mapping[str, Value]) -> Value:
    return next(iter(holders.values()))
