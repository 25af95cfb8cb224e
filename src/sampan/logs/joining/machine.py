"""All languages in one machine: which line enters which state, and which state follows. Compiled once, shared by all streams.

A line is tried only against the entries that may begin with its first byte; of a state, one expression decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple

from sampan.logs.joining.language import NEAR, TEXT, Entry, Language
from sampan.logs.joining.stretch import Turns

AT_ONCE = 63
"""Ordinary lines that are taken at once: the learner looks at every 64th."""
SPECIAL = frozenset(b"\\.^$*+?{}[]()|")


class State:
    """One state of one language. ``next`` returns the state after a line, None where the trace does not go on."""

    __slots__ = ("_match", "_targets", "fits_near", "language", "last", "name", "near", "stretch", "tentative", "text")

    def __init__(self, language: str, name: str, tentative: bool, last: bool) -> None:
        self.language, self.name, self.tentative, self.last = language, name, tentative, last
        self.text: State | None = None
        """The state after any line that does not look like the beginning of a record."""
        self.near: State | None = None
        """The state after a line that ``fits_near``, if it was written within a millisecond of the one before."""
        self.stretch: tuple[Turns, State] | None = None
        """The turns of a stretch, and the state after it."""
        self._match = self.fits_near = re.compile(rb"(?!)").match
        self._targets: tuple[State, ...] = ()

    def link(self, steps: list[tuple[bytes, State]]) -> None:
        plain = [(pattern, state) for pattern, state in steps if pattern != TEXT and not pattern.startswith(NEAR)]
        if plain:
            self._match = re.compile(b"|".join(b"(%b)" % pattern for pattern, _ in plain)).match
        self._targets = tuple(state for _, state in plain)
        self.text = dict(steps).get(TEXT)
        for pattern, state in steps:
            if pattern.startswith(NEAR):
                self.near, self.fits_near = state, re.compile(pattern.removeprefix(NEAR)).match

    def next(self, line: bytes) -> State | None:
        found = self._match(line)
        return self._targets[found.lastindex - 1] if found is not None and found.lastindex else None

    def __repr__(self) -> str:
        return f"{self.language}.{self.name}"


class Entered(NamedTuple):
    state: State
    joins: str


class Entries:
    """The entries that lines with one first byte may take."""

    __slots__ = ("_match", "_targets")

    def __init__(self, entries: list[tuple[Entry, State]]) -> None:
        self._match = re.compile(b"|".join(b"(%b)" % entry.pattern for entry, _ in entries)).match
        self._targets = tuple(Entered(state, entry.joins) for entry, state in entries)

    def enter(self, line: bytes) -> Entered | None:
        found = self._match(line)
        return self._targets[found.lastindex - 1] if found is not None and found.lastindex else None


class Machine:
    """``by_byte[b]`` are the entries for lines that begin with byte ``b``, None where there are none. ``ordinary`` are lines
    that enter nothing and continue nothing, if they have none of the ``words``."""

    def __init__(self, languages: Iterable[Language]) -> None:
        languages = list(languages)
        entries: list[list[tuple[Entry, State]]] = [[] for _ in range(256)]
        self.states: dict[tuple[str, str], State] = {}
        for language in languages:
            states = states_of(language)
            self.states |= {(language.name, name): state for name, state in states.items()}
            for entry in language.entries:
                for byte in first_bytes(entry):
                    entries[byte].append((entry, states[entry.state]))
        self.by_byte = [Entries(found) if found else None for found in entries]
        every = [entry for language in languages for entry in language.entries]
        special = b"".join(first_bytes(entry) for entry in every if not entry.needs) + b" \t\r\v\f\n}])"
        first = b"".join(b"\\x%02x" % byte for byte in sorted(set(special)))
        self.ordinary = Turns(((rb"[^%b]" % first,),), AT_ONCE)
        self._words = b"|".join(sorted({entry.needs for entry in every if entry.needs}))

    @cached_property
    def words(self) -> Any:
        """Its ``search`` finds the first word of a trace: RE2 looks for all at once, ``re`` takes a hundred times as long."""
        import re2

        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        return re2.compile(self._words, options)


def states_of(language: Language) -> dict[str, State]:
    names = set(language.steps) | {step.state for steps in language.steps.values() for step in steps}
    states = {name: State(language.name, name, name in language.tentative, name in language.last) for name in names}
    for name, steps in language.steps.items():
        states[name].link([(step.pattern, states[step.state]) for step in steps])
    for name, (turns, target) in language.stretches.items():
        states[name].stretch = (Turns(turns), states[target])
    return states


def first_bytes(entry: Entry) -> bytes:
    """Return the bytes that an entry's lines may begin with. Raises ``ValueError`` where the pattern does not tell."""
    if entry.begins:
        return entry.begins
    if not entry.pattern or entry.pattern[0] in SPECIAL:
        raise ValueError(f"an entry that begins with {entry.pattern[:10]!r} must say what its lines begin with")
    return entry.pattern[:1]
