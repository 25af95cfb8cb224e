"""An output that fails by a fault of ours, and at what: at all it is given, or at one record.

It is asked again after a while, and not less often than once in half a minute, as long as it takes: what has healed goes on,
and nothing is dropped. If it fails at the same records again and again, they are given to it in halves; one at which it fails
by itself, while it takes others, is put aside.
"""

from __future__ import annotations

from sampan.logs.log_record import Batch
from sampan.logs.outputs.batches import cut, together

PATIENCE = 3
"""An output has to fail so often at the same records until they are given to it in halves."""
ROUNDS = 2
"""An output that has worked, and so often has taken no part of a batch, has its first record put aside: where all that is
left is bad, nothing else would tell."""
MOST_HALVINGS = 64
"""If an output has failed at so many halves and has taken none, it is the output that is broken: all waits together."""


class Parts:
    """A batch in the parts that an output gets, in their order."""

    def __init__(self, batch: Batch, *, has_worked: bool) -> None:
        self._waiting, self._doubtful = [batch], list[Batch]()
        self._faults = self._halvings = self._rounds = 0
        self._takes, self._has_worked = False, has_worked
        self._aside: list[Batch] = []

    def next(self) -> Batch | None:
        return self._waiting.pop() if self._waiting else None

    def back(self, rest: Batch) -> None:
        """This much of the part is to be given again."""
        if len(rest):
            self._waiting.append(rest)

    def taken(self) -> None:
        """The output has taken of the part, or refused it: what it failed at is bad, if it fails at that now, too."""
        self._takes = self._has_worked = True
        self._faults = self._halvings = self._rounds = 0
        self._waiting += reversed(self._doubtful)
        self._doubtful = []

    def failed(self, rest: Batch) -> bool:
        """The output has failed, and this is left of the part. Return whether it is to be waited for."""
        self._faults += 1
        if self._faults < PATIENCE:
            self.back(rest)
            return True
        if len(rest) > 1 and self._halvings < MOST_HALVINGS:
            self._halvings += 1
            half = len(rest) // 2
            self._waiting += [cut(rest, half, len(rest)), cut(rest, 0, half)]
            return False
        if len(rest) == 1 and self._takes:
            self._aside.append(rest)
            self._takes = False  # what it took before tells of no other record
        elif len(rest) == 1:
            self._doubtful.append(rest)
        else:
            self.back(rest)
        if self._waiting and self._halvings < MOST_HALVINGS:
            return False
        left = [*self._doubtful, *reversed(self._waiting)]
        if left:
            self._again(together(left))
        return bool(left)

    def take_aside(self) -> list[Batch]:
        """Return the records that are to be put aside, each by itself."""
        found, self._aside = self._aside, []
        return found

    def _again(self, batch: Batch) -> None:
        """Begin anew with all that is left."""
        self._rounds += 1
        if self._rounds >= ROUNDS and self._has_worked:
            self._rounds = 0
            self._aside.append(cut(batch, 0, 1))
            batch = cut(batch, 1, len(batch))
        self._waiting, self._doubtful = [], []
        self.back(batch)
        self._faults = self._halvings = 0
        self._takes = False
