"""The kinds of rules. A rule says of each line whether it joins the open record, and whether the record ends with it.

Names and meaning of the options: Filebeat's multiline (``pattern``, ``negate``, ``match``, ``flush_pattern``,
``count_lines``, ``max_lines``, ``timeout``), and Fluent Bit's states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import re2

from sampan.logs.joining.languages import LANGUAGES
from sampan.logs.linear import compiled, no_pattern
from sampan.logs.outputs.options import bytes_of
from sampan.logs.outputs.options import seconds_of as duration_of

Matches = Callable[[bytes], bool]


class RuleError(ValueError):
    """A rule cannot be: ``field`` says where."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")


class Decision(NamedTuple):
    joins: bool
    ends: bool
    state: str
    """For the next line; ``""`` where no record is open."""


Step = Callable[[str, bytes, int], Decision]
"""``(state, line, lines of the open record) -> Decision``."""


@dataclass(frozen=True)
class Rule:
    name: str
    step: Step | None
    """None where ``languages`` says all."""
    max_lines: int = 500
    timeout_seconds: float = 5.0
    path: str = ""
    """Of which files, as a pattern of names; ``""``: where it is asked for by its name."""
    max_bytes: int = 0
    """0: as many as records have without a rule."""
    languages: tuple[str, ...] = ()
    """Only the traces of these are joined."""


def pattern_of(field: str, text: Any) -> Matches:
    """Return what tells whether a line has a match of an RE2 pattern. Raises ``RuleError``."""
    if not isinstance(text, str) or not text:
        raise RuleError(field, f"a pattern is wanted, not {text!r}")
    try:
        pattern = compiled(text.encode())
    except re2.error as error:
        raise RuleError(field, no_pattern(text, error)) from error
    return lambda line: pattern.search(line) is not None


def by_pattern(matches: Matches, *, negate: bool, after: bool, flush: Matches | None = None) -> Step:
    """Filebeat's ``type: pattern``. ``after``: lines that match join the line before; else those after it."""

    def step(state: str, line: bytes, lines: int) -> Decision:
        matched = matches(line) != negate
        flushed = flush is not None and flush(line)
        if after:
            return Decision(matched and state == "open", flushed, "" if flushed else "open")
        ends = not matched or flushed
        return Decision(state == "open", ends, "" if ends else "open")

    return step


def by_count(count: int) -> Step:
    def step(state: str, line: bytes, lines: int) -> Decision:
        ends = (lines if state else 0) + 1 >= count
        return Decision(bool(state), ends, "" if ends else "open")

    return step


def while_pattern(matches: Matches, *, negate: bool) -> Step:
    """Lines that match, as long as they do, are one record; others are alone."""

    def step(state: str, line: bytes, lines: int) -> Decision:
        matched = matches(line) != negate
        return Decision(matched and state == "open", not matched, "open" if matched else "")

    return step


def from_to(start: Matches, goes_on: Matches | None, end: Matches | None, *, any_begins: bool = False) -> Step:
    """From a line that matches ``start`` as long as lines match ``goes_on`` (any, where there is none), up to ``end``.
    ``any_begins``: where no record is open, any line begins one."""

    def step(state: str, line: bytes, lines: int) -> Decision:
        if start(line) or (any_begins and state != "open"):
            ended = end is not None and end(line)
            return Decision(False, ended, "" if ended else "open")
        if state == "open":
            if end is not None and end(line):
                return Decision(True, True, "")
            if goes_on is None or goes_on(line):
                return Decision(True, False, "open")
        return Decision(False, True, "")

    return step


class Transition(NamedTuple):
    states: frozenset[str]
    matches: Matches
    next_state: str


def by_states(transitions: Sequence[Transition], start: str = "start_state") -> Step:
    """Fluent Bit's rules: from ``start_state`` on. A line that no rule of the state takes may begin a record anew."""

    def step(state: str, line: bytes, lines: int) -> Decision:
        for transition in transitions:
            if state and state in transition.states and transition.matches(line):
                return Decision(True, False, transition.next_state)
        for transition in transitions:
            if start in transition.states and transition.matches(line):
                return Decision(False, False, transition.next_state)
        return Decision(False, True, "")

    return step


def rule_of(name: str, options: Mapping[str, Any], field: str, path: str = "") -> Rule:
    """Return the rule of a ``multiline`` block. Raises ``RuleError``: also for options that there are not."""
    left = dict(options)
    kind = left.pop("type", "pattern" if "start" not in left else "start")
    max_lines, timeout = left.pop("max_lines", 500), seconds_of(left.pop("timeout", 5), f"{field}.timeout")
    if not isinstance(max_lines, int) or max_lines < 1:
        raise RuleError(f"{field}.max_lines", f"a number of lines is wanted, not {max_lines!r}")

    def pattern(option: str, *, needed: bool = True) -> Matches | None:
        text = left.pop(option, None)
        return pattern_of(f"{field}.{option}", text) if needed or text is not None else None

    max_bytes = bytes_of(left.pop("max_bytes", 0))
    if max_bytes is None:
        raise RuleError(f"{field}.max_bytes", f"a size such as 512Ki is wanted, not {options['max_bytes']!r}")
    negate = left.pop("negate", False)
    if not isinstance(negate, bool):
        raise RuleError(f"{field}.negate", f"true or false is wanted, not {negate!r}")
    step: Step | None = None
    languages: tuple[str, ...] = ()
    if kind == "pattern":
        matches, flush, match = pattern("pattern"), pattern("flush_pattern", needed=False), left.pop("match", "after")
        if match not in ("after", "before"):
            raise RuleError(f"{field}.match", f"after or before is wanted, not {match!r}")
        assert matches is not None
        step = by_pattern(matches, negate=negate, after=match == "after", flush=flush)
    elif kind == "count":
        count = left.pop("count_lines", None)
        if not isinstance(count, int) or count < 1:
            raise RuleError(f"{field}.count_lines", f"a number of lines is wanted, not {count!r}")
        step = by_count(count)
    elif kind == "while_pattern":
        matches = pattern("pattern")
        assert matches is not None
        step = while_pattern(matches, negate=negate)
    elif kind == "start":
        start, goes_on, end = pattern("start"), pattern("continue", needed=False), pattern("end", needed=False)
        assert start is not None
        step = from_to(start, goes_on, end)
    elif kind == "languages":
        languages = languages_of(left.pop("languages", None) or [], field)
    else:
        raise RuleError(f"{field}.type", f"{kind!r} is none of pattern, count, while_pattern, start, languages")
    if left:
        raise RuleError(f"{field}.{next(iter(left))}", f"there is no such option of type {kind}")
    return Rule(name, step, max_lines, timeout, path, max_bytes, languages)


def languages_of(names: Any, field: str) -> tuple[str, ...]:
    """Return the languages of a list of their names, all where it is empty. Raises ``RuleError``."""
    known = tuple(language.name for language in LANGUAGES)
    if not isinstance(names, list):
        raise RuleError(f"{field}.languages", f"a list of {', '.join(known)} is wanted, not {names!r}")
    for name in names:
        if name not in known:
            raise RuleError(f"{field}.languages", f"one of {', '.join(known)} is wanted, not {name!r}")
    return tuple(names) or known


def seconds_of(value: Any, field: str) -> float:
    """Return the seconds of ``5``, ``5s``, ``500ms``, ``1m``. Raises ``RuleError``."""
    seconds = duration_of(value)
    if seconds is not None:
        return seconds
    raise RuleError(field, f"a time like 5s is wanted, not {value!r}")
