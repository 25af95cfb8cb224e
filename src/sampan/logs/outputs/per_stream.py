"""What all records of a stream have in common, made once: streams are few, records many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from sampan.logs.log_record import Labels

MANY = 2000
Made = TypeVar("Made")


class PerStream(Generic[Made]):
    """Call it with a stream's labels for what ``make`` makes of them."""

    def __init__(self, make: Callable[[Labels], Made]) -> None:
        self._make = make
        self._made: dict[Labels, Made] = {}

    def __call__(self, labels: Labels) -> Made:
        found = self._made.get(labels)
        if found is None:
            if len(self._made) >= MANY:
                self._made.clear()
            found = self._made[labels] = self._make(labels)
        return found
