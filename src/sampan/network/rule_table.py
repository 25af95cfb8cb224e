"""What the tables of all Services hold, and the difference that leads from one state to the next.

Only what changed is in a difference. Elements may be wanted by several Services (a hairpin of a pod behind two of them, or
one address claimed twice): the first holder's value counts, and when it goes the next one's does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sampan.network import service_table
from sampan.network.nft_elements import Element, Value
from sampan.network.service_endpoints import Endpoint
from sampan.network.service_table import READY_MADE, TABLE, ProxyConfig
from sampan.network.services import NOTHING, Affinity, ServiceRules


@dataclass
class Change:
    """A difference, in the order in which it is applied."""

    before: str = ""
    """nft text: the chains and maps that the elements need."""
    affinities: list[Affinity] = field(default_factory=list)
    """Of these, the maps are among them."""
    removed: list[Element] = field(default_factory=list)
    added: dict[Element, Value] = field(default_factory=dict)
    after: str = ""
    """nft text: what no element needs any more is deleted."""
    remembered: dict[Affinity, frozenset[Endpoint]] = field(default_factory=dict)
    """Maps of affinity whose clients may only go to these endpoints now."""

    def __bool__(self) -> bool:
        return bool(self.before or self.removed or self.added or self.after)


class RuleTable:
    """What the kernel holds, if it has taken every change this returned."""

    def __init__(self, config: ProxyConfig) -> None:
        self.config = config
        self.services: dict[str, ServiceRules] = {}
        self._holders: dict[Element, dict[str, Value]] = {}
        self._picked = READY_MADE
        """Up to how many endpoints there are chains for."""
        self._others: set[int] = set()
        """Further numbers of endpoints that there are chains for."""

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
        change.before += self._chains(change.added.values())
        return change

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
                change.before += affinity_text(affinity)
                change.affinities.append(affinity)
            elif not old.affinities[affinity] <= endpoints:
                change.remembered[affinity] = endpoints
        for affinity in old.affinities:
            if affinity not in new.affinities:
                change.after += without_affinity(affinity.family.nft, affinity.name)

    def _chains(self, values: Iterable[Value]) -> str:
        """Return the chains that are missing for verdicts ``goto pick-N``."""
        wanted = {
            number
            for value in values
            if isinstance(value, str) and (number := picked_of(value)) > self._picked and number not in self._others
        }
        self._others |= wanted
        return "".join(
            f"table {family.nft} {TABLE} {{\n{service_table.picking(family, number)}}}\n"
            for number in sorted(wanted)
            for family in self.config.families
        )


def affinity_text(affinity: Affinity) -> str:
    made = service_table.sticky(affinity.family, affinity.name)
    return f"table {affinity.family.nft} {TABLE} {{\n{made}}}\n"


def without_affinity(family: str, name: str) -> str:
    """Return the text that deletes the map and chains of an affinity."""
    both = (name, f"{name}-remember")
    flushed = "".join(f"flush chain {family} {TABLE} {chain}\n" for chain in both)
    deleted = "".join(f"delete chain {family} {TABLE} {chain}\n" for chain in both)
    return f"{flushed}{deleted}delete map {family} {TABLE} {name}\n"


def picked_of(verdict: str) -> int:
    """Return from how many endpoints a verdict picks; 0 for another."""
    words, _, number = verdict.rpartition("-")
    return int(number) if words.startswith(("goto pick", "goto inside")) else 0


def _first(holders: Mapping[str, Value]) -> Value:
    return next(iter(holders.values()))
