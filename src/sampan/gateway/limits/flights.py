"""What is under way, by who sent it: requests and connections, by an identity that no two of them have."""

from __future__ import annotations

from collections import Counter

MOST_REMEMBERED = 10_000


class Flights:
    def __init__(self) -> None:
        self._under_way: Counter[str] = Counter()
        self._of: dict[str, list[str]] = {}
        self._ended: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._of)

    def count(self, name: str) -> int:
        return self._under_way[name]

    def begin(self, name: str, identity: str) -> None:
        """Count what begins; what is known to have ended does not begin any more: the two are told on ways of their own."""
        if identity not in self._ended:
            self._under_way[name] += 1
            self._of.setdefault(identity, []).append(name)

    def end(self, identity: str) -> None:
        """Forget what is under way by that identity; one that was never let in is not known."""
        for name in self._of.pop(identity, ()):
            self._under_way[name] -= 1
            if self._under_way[name] <= 0:
                del self._under_way[name]
        self._ended[identity] = None
        if len(self._ended) > MOST_REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def forget(self) -> None:
        """Forget all of it: the Envoy that had it is gone."""
        self._under_way.clear()
        self._of.clear()
