"""Whether rules that somebody holds cover another rule: each single permission of it, whichever of them has it.

Kubernetes takes a rule apart into its permissions; three lists of a thousand are a billion of them. Here each value of a list
is the set of the rules that have it (as bits of a number), and values that are had by the same rules are alike: what is
combined are mostly one or two sets a list. Source: kubernetes pkg/registry/rbac/validation (Covers).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sampan.api.resources.reading import items

Rule = dict[str, Any]
MOST_COMBINATIONS = 100_000


class Field:
    """One list of the rules that are held: which of them have a value."""

    def __init__(self) -> None:
        self.everything = 0
        self._having: defaultdict[str, int] = defaultdict(int)

    def add(self, bit: int, values: Iterable[str]) -> None:
        for value in values:
            if value == "*":
                self.everything |= bit
            else:
                self._having[value] |= bit

    def having(self, value: str) -> int:
        return self._having.get(value, 0) | self.everything

    def sets(self, values: Iterable[str]) -> set[int]:
        return {self.having(value) for value in values}


class Resources(Field):
    """``pods/log`` is also had by who has ``*/log``."""

    def having(self, value: str) -> int:
        _, slash, subresource = value.partition("/")
        found = super().having(value)
        return found | super().having(f"*/{subresource}") if slash else found


class Names(Field):
    """No list is every name; in a list ``*`` is a name as others are, and nobody's."""

    def add(self, bit: int, values: Iterable[str]) -> None:
        given = tuple(values)
        if not given:
            self.everything |= bit
        for value in given:
            self._having[value] |= bit


class Paths(Field):
    """``/healthz/etcd`` is also had by who has ``/healthz/*``."""

    def __init__(self) -> None:
        super().__init__()
        self._prefixes: defaultdict[str, int] = defaultdict(int)

    def add(self, bit: int, values: Iterable[str]) -> None:
        super().add(bit, values)
        for value in values:
            if value.endswith("*"):
                self._prefixes[value[:-1]] |= bit

    def having(self, value: str) -> int:
        found = super().having(value)
        for prefix, bits in self._prefixes.items():
            if value.startswith(prefix):
                found |= bits
        return found


class Held:
    """The rules that somebody holds."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._verbs, self._groups, self._names = Field(), Field(), Names()
        self._resources, self._paths = Resources(), Paths()
        for at, rule in enumerate(rules):
            bit = 1 << at
            self._verbs.add(bit, items(rule, "verbs"))
            self._groups.add(bit, items(rule, "apiGroups"))
            self._resources.add(bit, items(rule, "resources"))
            self._names.add(bit, items(rule, "resourceNames"))
            self._paths.add(bit, items(rule, "nonResourceURLs"))

    def cover(self, wanted: Rule) -> bool:
        """Whether every permission of a rule is had by one of those held."""
        verbs, names = self._verbs.sets(items(wanted, "verbs")), items(wanted, "resourceNames")
        paths = self._paths.sets(items(wanted, "nonResourceURLs"))
        return combine([verbs, paths]) and combine(
            [
                verbs,
                self._groups.sets(items(wanted, "apiGroups")),
                self._resources.sets(items(wanted, "resources")),
                # of no name is whatever there is: only who has all names has that
                {self._names.having(name) for name in names} if names else {self._names.everything},
            ]
        )


def combine(lists: Sequence[set[int]]) -> bool:
    """Whether each combination of one set of each list has a rule in common. Where there are so many that it would take long
    to know it is no: who is in doubt gives nothing away."""
    combinations = {-1}
    for sets in lists:
        if len(combinations) * len(sets) > MOST_COMBINATIONS:
            return False
        combinations = {have & more for have in combinations for more in sets}
    return 0 not in combinations
