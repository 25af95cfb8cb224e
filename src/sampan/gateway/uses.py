"""Who uses what: a thing is there from its first user to its last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

User = tuple[Any, ...]


class Uses:
    """Who uses what; tells when the first comes and the last goes."""

    def __init__(self, begin: Callable[[Any], None], end: Callable[[Any], None]) -> None:
        self._begin, self._end = begin, end
        self._users: Counter[Any] = Counter()
        self._of: dict[User, frozenset[Any]] = {}

    def set(self, user: User, things: frozenset[Any]) -> None:
        old = self._of.get(user, frozenset())
        if things:
            self._of[user] = things
        else:
            self._of.pop(user, None)
        for thing in things - old:
            self._users[thing] += 1
            if self._users[thing] == 1:
                self._begin(thing)
        for thing in old - things:
            self._users[thing] -= 1
            if not self._users[thing]:
                del self._users[thing]
                self._end(thing)
