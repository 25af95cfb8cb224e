"""The table of all Services, and the nft transaction that leads from one state of it to the next.

Only what changed is in a transaction. Elements may be wanted by several Services (a hairpin of a pod behind two of them, or
one address claimed twice): the first holder's verdict counts, and when it goes the next one's does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sampan.network.services import NOTHING, TABLE, ProxyConfig, ServiceRules, base_table

Element = tuple[str, str]


class RuleTable:
    """What the kernel holds, if it has taken every text this returned."""

    def __init__(self, config: ProxyConfig) -> None:
        self.config = config
        self.services: dict[str, ServiceRules] = {}
        self._holders: dict[Element, dict[str, str]] = {}

    def whole(self) -> str:
        """Return the text that makes the table anew, in one transaction, whatever was there."""
        everything = _Change()
        for rules in self.services.values():
            everything.new_sets.update(rules.sets)
            everything.new_chains.update(rules.chains)
        everything.added = {element: _first(holders) for element, holders in self._holders.items()}
        return f"table ip {TABLE}\ndelete table ip {TABLE}\n{base_table(self.config)}{everything.text()}"

    def update(self, changed: Mapping[str, ServiceRules]) -> str:
        """Take over the rules of some Services; return the transaction, empty when nothing changes."""
        change = _Change()
        before: dict[Element, str | None] = {}
        for key, new in changed.items():
            old = self.services.get(key, NOTHING)
            for element in (*old.elements, *new.elements):
                holders = self._holders.get(element)
                before.setdefault(element, _first(holders) if holders else None)
            self._hold(key, old, new)
            _difference(old, new, change)
            if new == NOTHING:
                self.services.pop(key, None)
            else:
                self.services[key] = new
        for element, was in before.items():
            holders = self._holders.get(element)
            now = _first(holders) if holders else None
            if was != now:
                if was is not None:
                    change.removed[element] = was
                if now is not None:
                    change.added[element] = now
        return change.text()

    def _hold(self, key: str, old: ServiceRules, new: ServiceRules) -> None:
        for element in old.elements:
            if element not in new.elements:
                holders = self._holders[element]
                del holders[key]
                if not holders:
                    del self._holders[element]
        for element, verdict in new.elements.items():
            self._holders.setdefault(element, {})[key] = verdict


class _Change:
    """The parts of a transaction; ``text`` puts them in an order in which nothing that is referred to is missing."""

    def __init__(self) -> None:
        self.added: dict[Element, str] = {}
        self.removed: dict[Element, str] = {}
        self.new_sets: dict[str, str] = {}
        self.new_chains: dict[str, tuple[str, ...]] = {}
        self.changed_chains: dict[str, tuple[str, ...]] = {}
        self.old_chains: list[str] = []
        self.old_sets: list[str] = []

    def text(self) -> str:
        lines = [_elements("delete", name, keys) for name, keys in _grouped(self.removed, with_verdict=False)]
        lines += [f"add set ip {TABLE} {name} {{ {body} }}" for name, body in self.new_sets.items()]
        lines += [f"add chain ip {TABLE} {name}" for name in self.new_chains]
        lines += [f"flush chain ip {TABLE} {name}" for name in self.changed_chains]
        for name, rules in (*self.new_chains.items(), *self.changed_chains.items()):
            lines += [f"add rule ip {TABLE} {name} {rule}" for rule in rules]
        lines += [_elements("add", name, keys) for name, keys in _grouped(self.added, with_verdict=True)]
        lines += [f"flush chain ip {TABLE} {name}" for name in self.old_chains]
        lines += [f"delete chain ip {TABLE} {name}" for name in self.old_chains]
        lines += [f"delete set ip {TABLE} {name}" for name in self.old_sets]
        return "".join(f"{line}\n" for line in lines)


def _difference(old: ServiceRules, new: ServiceRules, change: _Change) -> None:
    for name, rules in new.chains.items():
        if name not in old.chains:
            change.new_chains[name] = rules
        elif old.chains[name] != rules:
            change.changed_chains[name] = rules
    change.old_chains += [name for name in old.chains if name not in new.chains]
    change.new_sets.update({name: body for name, body in new.sets.items() if name not in old.sets})
    change.old_sets += [name for name in old.sets if name not in new.sets]


def _first(holders: Mapping[str, str]) -> str:
    return next(iter(holders.values()))


def _grouped(elements: Mapping[Element, str], *, with_verdict: bool) -> Iterable[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for (name, key), verdict in elements.items():
        groups.setdefault(name, []).append(f"{key} : {verdict}" if verdict and with_verdict else key)
    return groups.items()


def _elements(verb: str, name: str, keys: list[str]) -> str:
    return f"{verb} element ip {TABLE} {name} {{ {', '.join(keys)} }}"
