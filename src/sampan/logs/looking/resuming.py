"""A stream of lines that breaks off, asked for again: each line is shown once, whatever times lines have in common.

The server is asked from a whole second on (kube-apiserver tells the kubelet no finer one) that is well before the newest
line: lines of two streams are written down in an order that is not quite that of their times. Of what comes then, what has
been shown already is known by time and text, and by how often it was shown. Source: core/v1 PodLogOptions, ``sinceTime``.
"""

from __future__ import annotations

from collections import Counter

from sampan.logs.timestamps import NANO, rfc3339

KEPT_SECONDS = 2
"""Whole seconds before that of the newest line, in which a line may still come."""


class Place:
    """How far the lines of one container have been shown. ``since``: nanoseconds since 1970 from where on lines are wanted at
    all; ``tail``: the first request is for the last lines only."""

    def __init__(self, since: int = 0, *, tail: bool = False) -> None:
        self._since, self._tail = since, tail
        self._shown: dict[int, Counter[int]] = {}
        """By second, how often a line was shown."""
        self._known: dict[int, Counter[int]] = {}
        """What of it the present request has not brought again."""
        self._newest = self._newest_moment = 0
        """A second, and the nanoseconds of the newest line."""
        self._matched = True

    def again(self) -> int:
        """Begin with another request; return from which time on it has to be, 0 if nothing has been shown."""
        if not self._newest:
            return 0
        self._known = {second: Counter(lines) for second, lines in self._shown.items()}
        self._matched = False
        return max((self._newest - KEPT_SECONDS) * NANO, self._since)

    def is_new(self, time: bytes, text: bytes) -> bool:
        """Take a line that has come; return whether it has not been shown."""
        moment, line = rfc3339(time), hash((time, text))
        if not moment:
            return True
        second = moment // NANO
        if (known := self._known.get(second)) is not None and known[line] > 0:
            known[line] -= 1
            self._matched = True
            return False
        if not self._matched and self._tail and moment <= self._newest_moment:
            return False  # it is before the first of the last lines
        self._shown.setdefault(second, Counter())[line] += 1
        self._newest_moment = max(moment, self._newest_moment)
        if (
            second > self._newest or second < self._newest - KEPT_SECONDS
        ):  # a clock was set back: better twice than not at all
            self._newest, self._newest_moment = second, moment
            for old in [one for one in self._shown if one < second - KEPT_SECONDS]:
                del self._shown[old]
        return True
