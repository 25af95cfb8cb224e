"""What is promised to pods that are being bound, until the objects themselves say so."""

from __future__ import annotations

from collections.abc import Iterator


class Promises:
    """Things (a volume, a claim) that are meant for one holder (a claim, a node) while pods rely on it: several pods may have
    the same claim, and a promise lasts until the last of them takes its hand off."""

    def __init__(self) -> None:
        self._given: dict[str, tuple[str, set[str]]] = {}

    def __len__(self) -> int:
        return len(self._given)

    def give(self, thing: str, to: str, pod: str) -> None:
        """Promise a thing; ``pod`` is the uid of who relies on it."""
        known = self._given.get(thing)
        if known is not None and known[0] == to:
            known[1].add(pod)
        else:
            self._given[thing] = (to, {pod})

    def take_back(self, thing: str, pod: str) -> bool:
        """End what a pod relies on; return whether the thing is free by that."""
        known = self._given.get(thing)
        if known is None or pod not in known[1]:
            return False
        known[1].discard(pod)
        if known[1]:
            return False
        del self._given[thing]
        return True

    def to(self, thing: str) -> str | None:
        known = self._given.get(thing)
        return known[0] if known is not None else None

    def others(self, to: str) -> Iterator[str]:
        """Yield the things that are promised to anybody else."""
        return (thing for thing, (holder, _) in self._given.items() if holder != to)
