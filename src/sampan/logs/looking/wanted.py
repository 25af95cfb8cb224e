"""Which records are looked for: by level, words, fields, an expression, time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sampan.logs.joining import Record
from sampan.logs.log_record import Delivery, Labels, time_of_delivery
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.processing.conditions import condition
from sampan.logs.processing.draft import Draft, Step, Tally
from sampan.logs.processing.steps import KINDS
from sampan.logs.timestamps import rfc3339

Holds = Callable[[Draft], bool]


class Found(NamedTuple):
    """A record that is shown: as it was written, and what parsing has found of it."""

    delivery: Delivery
    severity: int


@dataclass(frozen=True)
class Asked:
    """``since`` and ``until`` are nanoseconds since 1970, 0 where there is no limit."""

    level: str = ""
    words: tuple[str, ...] = ()
    """Patterns, each of which the text has."""
    fields: tuple[tuple[str, str], ...] = ()
    """Paths of parsed fields, and the values that they have."""
    expression: str = ""
    since: int = 0
    until: int = 0


class Wanted:
    """Raises ``OptionError`` for what cannot be asked."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._parse = KINDS["parse"].make(Options({}, "parse"), Tally())
        options: dict[str, Any] = {"level": asked.level or None, "expression": asked.expression or None}
        self._conditions = [condition(Options(options, "show"), Tally())]
        self._conditions += [condition(Options({"matches": word}, "show"), Tally()) for word in asked.words]
        self._of: WeakKeyDictionary[Labels, tuple[Step | None, tuple[Holds, ...]]] = WeakKeyDictionary()

    def found(self, labels: Labels, record: Record) -> Found | None:
        """Return a record as it is shown, None where it is not looked for."""
        observed = time.time_ns()
        draft = Draft(labels, record, observed)
        parse, conditions = self._of_stream(labels)
        if parse is not None:
            parse(draft)
        draft.text = record.text  # conditions are about what was written
        delivery: Delivery = (labels, record, observed, draft)
        asked = self._asked
        if asked.since or asked.until:
            moment = moment_of(delivery)
            if moment and (moment < asked.since or (asked.until and moment > asked.until)):
                return None
        if not all(str(value_at(draft.attributes, path)) == value for path, value in asked.fields):
            return None
        if not all(holds(draft) for holds in conditions):
            return None
        return Found(delivery, draft.severity_number or severity(draft))

    def _of_stream(self, labels: Labels) -> tuple[Step | None, tuple[Holds, ...]]:
        known = self._of.get(labels)
        if known is None:
            resolved = [each.resolve(labels) for each in self._conditions]
            holds = tuple(each for each in resolved if not isinstance(each, bool))
            known = self._of[labels] = (self._parse(labels), holds)
        return known


def moment_of(delivery: Delivery) -> int:
    """Return when a record was written: as the runtime says; where it does not, as its text does (in a zone of its own)."""
    return rfc3339(delivery[1].time) or time_of_delivery(delivery)


def severity(draft: Draft) -> int:
    from sampan.logs.severity import found_in

    return found_in(draft.text)[0]


def value_at(attributes: Any, path: str) -> Any:
    """Return the value of a field: by its whole name, or by the names of what it lies in with dots between."""
    if isinstance(attributes, dict):
        if path in attributes:
            return attributes[path]
        for name, inner in attributes.items():
            if path.startswith(f"{name}."):
                return value_at(inner, path[len(name) + 1 :])
    return None


def pairs(given: Sequence[str], option: str) -> tuple[tuple[str, str], ...]:
    """Return ``NAME=VALUE`` as pairs. Raises ``OptionError``."""
    found = []
    for text in given:
        name, equal, value = text.partition("=")
        if not equal or not name:
            raise OptionError(option, f"NAME=VALUE is wanted, not {text!r}")
        found.append((name, value))
    return tuple(found)
