"""Who uses what: a thing is there from its first user to its last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

User = tuple[Any, ...]


class Uses:
    """Who uses what; tells when the first comes and the last goes."""

    def __init__(self, begin: Callable[[Any], None], end: Callable[[Any], None]) -> None:
        self._begin, self._end = begin, end
        self._users: Counter[Any] = Counter()
        self._of: dict[User, tuple[Any, ...]] = {}

    def set(self, user: User, things: Iterable[Any]) -> None:
        new, old = set(things), set(self._of.get(user, ()))
        if new:
            self._of[user] = things if isinstance(things, tuple) else tuple(new)
        else:
            self._of.pop(user, None)
        for thing in new - old:
            self._users[thing] += 1
            if self._users[thing] == 1:
                self._begin(thing)
        for thing in old - new:
            self._users[thing] -= 1
            if not self._users[thing]:
                del self._users[thing]
                self._end(thing)
