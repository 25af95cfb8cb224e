"""Conditions: which records a step is for. All that is named has to hold.

What streams are called (``namespace``, ``pod``, ``container``, ``path``, ``labels`` …) is decided for the stream; ``level``,
``matches`` and ``expression`` (CEL, over ``VARIABLES``: ``stream.namespace``, ``labels.app``, ``attributes.status``) for each
record. An expression that ends in an error does not hold, and is counted.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from typing import Any

from sampan.logs.log_record import Labels
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.processing.draft import Draft, ForStream, Step, Tally
from sampan.logs.processing.patterns import matcher
from sampan.logs.severity import found_in, number_of
from sampan.schema.cel import types
from sampan.schema.cel.environment import environment
from sampan.schema.cel.errors import CelError
from sampan.schema.cel.program import compile as compile_expression
from sampan.schema.selectors import SelectorError, parse_label_selector

Holds = Callable[[Draft], bool]
OfStream = Callable[[Labels], bool]
NAMES = {
    "namespace": "namespace",
    "pod": "pod",
    "container": "container",
    "node": "node",
    "path": "file",
    "stream": "stream",
}
"""Options, and the labels of a stream that they are compared with."""
VARIABLES = {
    **dict.fromkeys(("text", "level", "rule", "trace_id"), types.STRING),
    **dict.fromkeys(("severity", "lines"), types.INT),
    **dict.fromkeys(("labels", "stream"), types.map_of(types.STRING, types.STRING)),
    "attributes": types.map_of(types.STRING, types.DYN),
}


class Condition:
    """``of_stream`` are what has to hold of a stream, ``of_record`` of a record."""

    def __init__(self, of_stream: list[OfStream], of_record: list[Holds]) -> None:
        self._of_stream, self._of_record = of_stream, of_record

    def resolve(self, labels: Labels) -> bool | Holds:
        """Return whether it holds for all records of a stream (or none), or what tells it of each."""
        if not all(holds(labels) for holds in self._of_stream):
            return False
        if not self._of_record:
            return True
        if len(self._of_record) == 1:
            return self._of_record[0]
        return lambda draft: all(holds(draft) for holds in self._of_record)


def condition(options: Options, tally: Tally, *, without_level: bool = False) -> Condition:
    """Return the condition that options describe. ``without_level``: whether ``level`` holds of a record that has none.
    Raises ``OptionError``."""
    of_stream: list[OfStream] = []
    of_record: list[Holds] = []
    for option, label in NAMES.items():
        if option in options:
            of_stream.append(named(label, options.texts(option)))
    if "labels" in options:
        of_stream.append(selected(options.text("labels"), options.place("labels")))
    if "level" in options:
        of_record.append(at_least(level_of(options.text("level"), options.place("level")), without_level))
    if "matches" in options:
        search = matcher(options.text("matches"), options.place("matches"))
        of_record.append(lambda draft: search(draft.text))
    if "expression" in options:
        of_record.append(expression(options.text("expression"), options.place("expression"), tally))
    return Condition(of_stream, of_record)


def named(label: str, patterns: tuple[str, ...]) -> OfStream:
    return lambda labels: any(fnmatch.fnmatchcase(labels.values.get(label, ""), pattern) for pattern in patterns)


def selected(text: str, field: str) -> OfStream:
    try:
        selector = parse_label_selector(text)
    except SelectorError as error:
        raise OptionError(field, str(error)) from error
    return lambda labels: selector.matches(labels.of_pod)


def level_of(text: str, field: str) -> int:
    number = number_of(text)
    if not number:
        raise OptionError(field, f"a level such as warn is wanted, not {text!r}")
    return number


def at_least(number: int, without: bool) -> Holds:
    """Whether a record is at least so bad. Of one that no step has parsed the level is looked for."""

    def holds(draft: Draft) -> bool:
        found = severity_of(draft)
        return found >= number if found else without

    return holds


def severity_of(draft: Draft) -> int:
    if not draft.severity_number and not draft.severity_text:
        draft.severity_number, draft.severity_text = found_in(draft.text)
    return draft.severity_number


VALUES: dict[str, Callable[[Draft], Any]] = {
    "text": lambda draft: draft.text.decode("utf-8", "replace"),
    "severity": severity_of,
    "level": lambda draft: (severity_of(draft), draft.severity_text)[1],
    "lines": lambda draft: draft.record.lines,
    "rule": lambda draft: draft.record.rule,
    "trace_id": lambda draft: draft.trace_id,
    "attributes": lambda draft: draft.attributes,
    "labels": lambda draft: draft.labels.of_pod,
    "stream": lambda draft: draft.labels.values,
}


def program(text: str, field: str, result: str = "bool") -> Callable[[Draft], Any]:
    """Return what evaluates an expression of CEL over a draft, and raises ``CelError``. Raises ``OptionError`` for one that
    does not compile, or is of another type than ``result``."""
    try:
        compiled = compile_expression(text, environment("1.37", VARIABLES, stored=True))
    except CelError as error:
        raise OptionError(field, f"{text!r}: {error}") from error
    if result and compiled.result_type.kind not in (result, "dyn"):
        raise OptionError(field, f"{text!r} is a {compiled.result_type.kind}, and a {result} is wanted")
    values = [(name, VALUES[name]) for name in compiled.variables]
    return lambda draft: compiled.evaluate({name: value(draft) for name, value in values})


def expression(text: str, field: str, tally: Tally) -> Holds:
    evaluate = program(text, field)

    def holds(draft: Draft) -> bool:
        try:
            return evaluate(draft) is True
        except CelError:
            tally["expression_errors"] += 1
            return False

    return holds


def guarded(step: ForStream, where: Condition) -> ForStream:
    """Return a step for those records only for which a condition holds."""

    def for_stream(labels: Labels) -> Step | None:
        holds = where.resolve(labels)
        found = step(labels) if holds is not False else None
        if found is None or holds is True:
            return found
        assert callable(holds)
        return lambda draft: found(draft) if holds(draft) else ""

    return for_stream
