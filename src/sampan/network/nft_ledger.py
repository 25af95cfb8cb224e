"""A table's chains, sets and elements, who wants them, and the nft transaction from one state to the next.

Each owner says what it needs (``Needs``); a thing that several need is there until the last has gone, and the first's
words count. Only what changed is in a transaction, in an order in which nothing that is referred to is missing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sampan.network.families import parse_address

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Element = tuple[str, str]
"""``(set or map, key)``."""


@dataclass(frozen=True, slots=True)
class Needs:
    elements: Mapping[Element, str] = field(default_factory=dict)
    """The verdict of each; empty in a set."""
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)


NOTHING = Needs()


class Ledger:
    """What the kernel holds, once it has taken every text that this returned."""

    def __init__(self, family: str, table: str, base: str) -> None:
        self.base = base
        self.where = f"{family} {table}"
        self.owners: dict[str, Needs] = {}
        self.elements = _Held[Element, str]()
        self.chains = _Held[str, tuple[str, ...]]()
        self.sets = _Held[str, str]()

    def take(self, owner: str, needs: Needs) -> None:
        """Note what an owner needs from now on; ``NOTHING`` forgets it."""
        old = self.owners.get(owner, NOTHING)
        if old == needs:
            return
        self.elements.hold(owner, old.elements, needs.elements)
        self.chains.hold(owner, old.chains, needs.chains)
        self.sets.hold(owner, old.sets, needs.sets)
        if needs == NOTHING:
            del self.owners[owner]
        else:
            self.owners[owner] = needs

    def whole(self) -> str:
        """Return the text that makes the table anew in one transaction, whatever was there."""
        self.changes()
        lines = [f"add set {self.where} {name} {{ {body} }}" for name, body in self.sets.now()]
        lines += [f"add chain {self.where} {name}" for name, _ in self.chains.now()]
        lines += [f"add rule {self.where} {name} {rule}" for name, rules in self.chains.now() for rule in rules]
        lines += _element_lines(self.where, "add", self.elements.now())
        return f"table {self.where}\ndelete table {self.where}\n{self.base}{_joined(lines)}"

    def changes(self) -> Change:
        """Return what was taken since the last call."""
        return Change(self.where, self.elements.changes(), self.chains.changes(), self.sets.changes())


@dataclass(frozen=True, slots=True)
class Change:
    """What was and what is to be of the things that changed."""

    where: str
    elements: Mapping[Element, tuple[str | None, str | None]]
    chains: Mapping[str, tuple[tuple[str, ...] | None, tuple[str, ...] | None]]
    sets: Mapping[str, tuple[str | None, str | None]]

    def __bool__(self) -> bool:
        return bool(self.elements or self.chains or self.sets)

    @property
    def elements_only(self) -> bool:
        return not self.chains and not self.sets

    @property
    def removed(self) -> list[Element]:
        return [key for key, (was, _) in self.elements.items() if was is not None]

    @property
    def added(self) -> dict[Element, str]:
        return {key: now for key, (_, now) in self.elements.items() if now is not None}

    def text(self) -> str:
        """Return the transaction as nft text."""
        where, chains, sets = self.where, self.chains, self.sets
        lines = _element_lines(where, "delete", ((key, "") for key in self.removed))
        lines += [f"add set {where} {name} {{ {now} }}" for name, (was, now) in sets.items() if was is None]
        lines += [f"add chain {where} {name}" for name, (was, _) in chains.items() if was is None]
        lines += [f"flush chain {where} {name}" for name, (was, _) in chains.items() if was is not None]
        lines += [f"add rule {where} {name} {rule}" for name, (_, now) in chains.items() for rule in now or ()]
        lines += _element_lines(where, "add", self.added.items())
        lines += [f"delete chain {where} {name}" for name, (_, now) in chains.items() if now is None]
        lines += [f"delete set {where} {name}" for name, (_, now) in sets.items() if now is None]
        return _joined(lines)


def _element_lines(where: str, verb: str, elements: Iterable[tuple[Element, str]]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for (name, key), verdict in elements:
        groups.setdefault(name, []).append(f"{key} : {verdict}" if verdict else key)
    return [f"{verb} element {where} {name} {{ {', '.join(keys)} }}" for name, keys in groups.items()]


def packed(key: str) -> bytes:
    """Return an element's key, of addresses and ports, as the kernel has it: each part filled up to four bytes."""
    parts = (parse_address(part) or int(part) for part in key.split(" . "))
    return b"".join(part.to_bytes(2, "big") + b"\0\0" if isinstance(part, int) else part.packed for part in parts)


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


class _Held(Generic[K, V]):
    """Things by key, each with its holders and their words, in the order of their coming."""

    def __init__(self) -> None:
        self._holders: dict[K, dict[str, V]] = {}
        self._before: dict[K, V | None] = {}
        """What the kernel has of the things that were touched since the last look."""

    def hold(self, owner: str, old: Mapping[K, V], new: Mapping[K, V]) -> None:
        for key in (*old, *new):
            if old.get(key) != new.get(key):
                self._before.setdefault(key, self.get(key))
        for key in old:
            if key not in new:
                holders = self._holders[key]
                del holders[owner]
                if not holders:
                    del self._holders[key]
        for key, value in new.items():
            self._holders.setdefault(key, {})[owner] = value

    def get(self, key: K) -> V | None:
        holders = self._holders.get(key)
        return next(iter(holders.values())) if holders else None

    def now(self) -> Iterator[tuple[K, V]]:
        for key, holders in self._holders.items():
            yield key, next(iter(holders.values()))

    def changes(self) -> dict[K, tuple[V | None, V | None]]:
        """Return ``key -> (was, is)`` of what changed since the last call."""
        touched, self._before = self._before, {}
        return {key: (was, now) for key, was in touched.items() if (now := self.get(key)) != was}
