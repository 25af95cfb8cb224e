"""What became of every byte of a file: what was read is what went out, what was dropped and why, what is held, and what the
file's format has around its lines.

    read + resumed == overhead + given + sum(dropped) + moved + held

``overhead`` are times, streams, tags, escapes and line ends. Lines that went out many at once (``joining/stretch.py``) were
never taken apart: theirs counts as given.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sampan.logs.joining.record import Record


def bytes_of(record: Record) -> int:
    """Return how many bytes of lines, without their ends, a record is made of."""
    return len(record.text) - record.lines + 1


COUNTED = ("read_bytes", "resumed_bytes", "overhead_bytes", "moved_bytes", "given_bytes", "records", "given", "joined")


@dataclass(slots=True)
class Account:
    """Since this agent began with the file."""

    read_bytes: int = 0
    """Of the file, in whole lines."""
    resumed_bytes: int = 0
    """Held by an agent before this one, or of the file that this is a copy of."""
    overhead_bytes: int = 0
    moved_bytes: int = 0
    """Held, and taken over by the reader of a copy."""
    given_bytes: int = 0
    """Of lines in records that went on to the outputs."""
    records: int = 0
    given: int = 0
    """Records that went on to the outputs."""
    joined: int = 0
    """Records of several lines."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Records, by why they went no further."""
    dropped_bytes: Counter[str] = field(default_factory=Counter)

    def add(self, other: Account) -> None:
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.dropped.update(other.dropped)
        self.dropped_bytes.update(other.dropped_bytes)

    def missing(self, held: int) -> int:
        """Return how many bytes nobody knows of: 0."""
        gone = self.overhead_bytes + self.given_bytes + self.dropped_bytes.total() + self.moved_bytes + held
        return self.read_bytes + self.resumed_bytes - gone
