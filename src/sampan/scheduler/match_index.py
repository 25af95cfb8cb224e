"""How many pods that somebody asked for each node has, kept up to date instead of counted anew for each pod.

``PodCounts`` answers "which nodes have pods of this namespace that this selector chooses" (spread constraints, affinity of
the pod that waits); ``TermIndex`` answers "which nodes have pods with this affinity term" (affinity of the pods that are
there). Replicas ask the same again and again, so both have few entries.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sampan.scheduler.pod_info import AffinityTerm, PodInfo
from sampan.schema.selectors import LabelSelector

REMEMBERED = 64
"""Selectors that are followed in a namespace; the one that was not asked for longest makes room."""

Counts = dict[str, int]
"""By node."""


class PodCounts:
    """Pods by namespace, and how many of them each node has that a selector chooses."""

    def __init__(self) -> None:
        self._pods: dict[str, dict[str, PodInfo]] = {}
        self._followed: dict[str, OrderedDict[tuple[str, bool], tuple[LabelSelector, Counts]]] = {}

    def add(self, pod: PodInfo) -> None:
        self._pods.setdefault(pod.namespace, {})[pod.key] = pod
        self._count(pod, 1)

    def replace(self, pod: PodInfo) -> None:
        """Take over a newer object of a pod that counts the same."""
        self._pods[pod.namespace][pod.key] = pod

    def remove(self, pod: PodInfo) -> None:
        pods = self._pods.get(pod.namespace)
        if pods is None or pods.pop(pod.key, None) is None:
            return
        self._count(pod, -1)
        if not pods:
            del self._pods[pod.namespace]

    def _count(self, pod: PodInfo, sign: int) -> None:
        followed = self._followed.get(pod.namespace)
        if not followed:
            return
        for (_, with_terminating), (selector, counts) in followed.items():
            if (with_terminating or not pod.terminating) and selector.matches(pod.labels):
                counted = counts.get(pod.node, 0) + sign
                if counted:
                    counts[pod.node] = counted
                else:
                    counts.pop(pod.node, None)

    def of(self, namespace: str, selector: LabelSelector, *, with_terminating: bool) -> Counts:
        """Return how many pods each node has that the selector chooses; do not change it. Those that are being deleted hold
        others off until they are gone, but are no longer part of a spread."""
        if selector.nothing:
            return {}
        followed = self._followed.setdefault(namespace, OrderedDict())
        key = (str(selector), with_terminating)
        found = followed.get(key)
        if found is not None:
            followed.move_to_end(key)
            return found[1]
        counts: Counts = {}
        for pod in self._pods.get(namespace, {}).values():
            if (with_terminating or not pod.terminating) and selector.matches(pod.labels):
                counts[pod.node] = counts.get(pod.node, 0) + 1
        followed[key] = (selector, counts)
        if len(followed) > REMEMBERED:
            followed.popitem(last=False)
        return counts

    def forget(self, namespace: str) -> None:
        """Stop following a namespace that is gone."""
        self._followed.pop(namespace, None)


class TermKey(NamedTuple):
    topology_key: str
    namespaces: frozenset[str]
    namespace_selector: str | None
    selector: str
    weight: int

    @staticmethod
    def of(term: AffinityTerm, weight: int) -> TermKey:
        chosen = None if term.namespace_selector is None else str(term.namespace_selector)
        selector = "\0" if term.selector.nothing else str(term.selector)
        return TermKey(term.topology_key, term.namespaces, chosen, selector, weight)


class TermIndex:
    """Terms of pods that are on nodes: equal terms are one entry."""

    def __init__(self) -> None:
        self._entries: dict[TermKey, tuple[AffinityTerm, Counts]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[AffinityTerm, int, Counts]]:
        """Yield each term with its weight, and how many pods of each node have it."""
        for key, (term, counts) in self._entries.items():
            yield term, key.weight, counts

    def change(self, node: str, terms: Iterable[tuple[AffinityTerm, int]], sign: int) -> None:
        """Count the terms of a pod of a node in (1) or out (-1)."""
        for term, weight in terms:
            key = TermKey.of(term, weight)
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = (term, {})
            counts = entry[1]
            counted = counts.get(node, 0) + sign
            if counted > 0:
                counts[node] = counted
            else:
                counts.pop(node, None)
                if not counts:
                    del self._entries[key]
