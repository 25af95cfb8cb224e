"""What is under way, by who sent it: requests by an identity that Envoy gives each, connections by their addresses."""

from __future__ import annotations

from collections import Counter


class Flights:
    def __init__(self) -> None:
        self._under_way: Counter[str] = Counter()
        self._of: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def count(self, name: str) -> int:
        return self._under_way[name]

    def begin(self, name: str, identity: str) -> None:
        self._under_way[name] += 1
        self._of.setdefault(identity, []).append(name)

    def end(self, identity: str) -> None:
        """Forget what is under way by that identity; one that was never let in is not known."""
        for name in self._of.pop(identity, ()):
            self._under_way[name] -= 1
            if self._under_way[name] <= 0:
                del self._under_way[name]

    def forget(self) -> None:
        """Forget all of it: the Envoy that had it is gone."""
        self._under_way.clear()
        self._of.clear()
