"""How many pods each owner has, kept up as they change: a look at 5,000 pods of one owner costs no more than at five.

Pods of one owner are alike but for their state, so what matters of them is a few numbers and the sets of labels there are.
"""

from __future__ import annotations

from collections import Counter

from sampan.client.informer import Informer
from sampan.controllers.ownership import controller_of, is_pod_active, is_pod_ready
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector

Labels = frozenset[tuple[str, str]]


class Tally:
    """The pods of one owner: ``active`` by their labels, those of them that are ready, and those that are going."""

    __slots__ = ("labels", "ready", "terminating", "there")

    def __init__(self) -> None:
        self.labels: Counter[Labels] = Counter()
        self.there: Counter[Labels] = Counter()
        self.ready = self.terminating = 0

    def add(self, pod: Object, by: int = 1) -> None:
        """Count a pod, or with ``by=-1`` what it was before."""
        labels = frozenset((pod["metadata"].get("labels") or {}).items())
        going = "deletionTimestamp" in pod["metadata"]
        if not going:
            self.there[labels] += by
            if not self.there[labels]:
                del self.there[labels]
        if is_pod_active(pod):
            self.labels[labels] += by
            if not self.labels[labels]:
                del self.labels[labels]
            self.ready += by * is_pod_ready(pod)
        elif going and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            self.terminating += by

    @property
    def active(self) -> int:
        return self.labels.total()

    def labelled(self, wanted: dict[str, str]) -> int:
        """Return how many active pods have all these labels."""
        items = wanted.items()
        return sum(count for labels, count in self.labels.items() if items <= dict(labels).items())

    def has_strays(self, selector: LabelSelector) -> bool:
        """Whether a pod that is to stay is not chosen by the owner's selector (any more)."""
        return any(not selector.matches(dict(labels)) for labels in self.there)


NOBODY = Tally()


def tally_of(pods: list[Object]) -> Tally:
    """Return the tally of pods in a list."""
    made = Tally()
    for pod in pods:
        made.add(pod)
    return made


class Tallies:
    """The tally of every owner of a kind, by uid."""

    def __init__(self, pods: Informer, kind: str) -> None:
        self._kind = kind
        self._of: dict[str, Tally] = {}
        pods.add_handler(self._on_pod)

    def of(self, uid: str) -> Tally:
        return self._of.get(uid, NOBODY)

    def _on_pod(self, change: str, old: Object | None, new: Object) -> None:
        if old is not None:
            self._count(old, -1)
        if change != "DELETED":
            self._count(new, 1)

    def _count(self, pod: Object, by: int) -> None:
        reference = controller_of(pod)
        if reference is None or reference.get("kind") != self._kind:
            return
        uid = reference["uid"]
        tally = self._of.setdefault(uid, Tally())
        tally.add(pod, by)
        if by < 0 and not tally.there and not tally.labels and not tally.terminating:
            del self._of[uid]
