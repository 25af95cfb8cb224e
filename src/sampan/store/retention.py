"""How much history is kept: by age, within a least and a most number of revisions, and bytes. Pure: the clock comes in.

Age is known by marks, pairs of a time and the revision that was the newest then; one a minute is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.store.history import History

MARK_SECONDS = 60.0
MOST_BYTES = 1 << 30
"""It is all in memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Five minutes as Kubernetes' own compaction, but never fewer nor more than so many revisions, and whatever these are,
    no more bytes of objects as they were than so many."""

    keep_seconds: float = 300.0
    keep_at_least: int = 1_000
    keep_at_most: int = 20_000
    keep_at_most_bytes: int = 64 << 20

    @classmethod
    def of(cls, keep_seconds: float) -> Limits:
        """Return the limits for another age: the most number of revisions and bytes grows with it."""
        default = cls()
        factor = max(1.0, keep_seconds / default.keep_seconds)
        most, most_bytes = int(default.keep_at_most * factor), int(default.keep_at_most_bytes * factor)
        most_bytes = min(most_bytes, MOST_BYTES)
        return cls(keep_seconds, default.keep_at_least, most, most_bytes)


class Retention:
    """Decides when a history is compacted, and where."""

    def __init__(self, limits: Limits, now: float, revision: int) -> None:
        self.limits = limits
        self._marks = [(now, revision)]

    def target(self, now: float, history: History) -> int:
        """Return the revision to compact at; 0 when nothing is due. Asked after a change: without changes there is
        nothing to forget."""
        limits = self.limits
        if now - self._marks[-1][0] < min(MARK_SECONDS, limits.keep_seconds) and (
            history.event_count() < 2 * limits.keep_at_most and history.size_bytes < 2 * limits.keep_at_most_bytes
        ):
            return 0
        self._marks.append((now, history.revision))
        old = 0
        while len(self._marks) > 1 and now - self._marks[0][0] >= limits.keep_seconds:
            old = self._marks.pop(0)[1]
        old = min(old, history.oldest_to_keep(limits.keep_at_least))
        most = history.oldest_to_keep(limits.keep_at_most), history.oldest_within(limits.keep_at_most_bytes)
        target = max(old, *most)
        return target if target > history.compacted else 0
