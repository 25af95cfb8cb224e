"""Rules that change a question on its way in and its answer on the way out; pure.

Names are matched as text with a closing dot, in lower case, by the patterns of RE2. An answer always comes back under the
name that was asked for, so that a resolver believes it: CoreDNS's ``answer auto`` need not be said.
Source: CoreDNS's ``rewrite``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sampan.dns import wire
from sampan.dns.zone import Found

Match = Literal["exact", "prefix", "suffix", "substring", "regex"]
MATCHES: tuple[Match, ...] = ("exact", "prefix", "suffix", "substring", "regex")
GROUP = re.compile(r"\{(\d+)\}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a rule is for. ``text`` of ``exact`` and ``suffix`` ends with a dot."""

    match: Match
    text: str
    compiled: object = None
    """RE2's, of a ``regex``."""

    def replace(self, name: str, to: str) -> str | None:
        """Return the name with what matches replaced, None where nothing does."""
        if self.match == "regex":
            found = self.compiled.search(name)  # type: ignore[attr-defined]
            if found is None:
                return None
            groups = (found.group(0), *found.groups())
            return GROUP.sub(lambda group: (groups[int(group[1])] or "") if int(group[1]) < len(groups) else "", to)
        if self.match == "exact":
            return to if name == self.text else None
        if self.match == "prefix":
            return to + name[len(self.text) :] if name.startswith(self.text) else None
        if self.match == "suffix":
            return name[: -len(self.text)] + to if name.endswith(self.text) else None
        return name.replace(self.text, to) if self.text in name else None

    def matches(self, name: str) -> bool:
        return self.replace(name, "") is not None


class Renamed(NamedTuple):
    """How names in an answer are changed: those of records (``name``), or those that records hold (``value``)."""

    what: Literal["name", "value"]
    pattern: Pattern
    to: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``what``: ``name`` (``to`` is the new name), ``type`` (``numbers``: from, to), ``ttl`` (least, most) or
    ``rcode`` (from, to)."""

    what: Literal["name", "type", "ttl", "rcode"]
    pattern: Pattern | None = None
    to: str = ""
    numbers: tuple[int, int] = (0, 0)
    answers: tuple[Renamed, ...] = ()
    stop: bool = True


class Rewritten(NamedTuple):
    name: bytes
    kind: int
    rules: tuple[Rule, ...]
    """Those that matched: they change the answer too."""


def rewrite(rules: Iterable[Rule], name: bytes, kind: int) -> Rewritten:
    """Return the question as the rules make it. A name that cannot be one leaves the question as it was."""
    text, matched = wire.wire_to_name(name) + ".", []
    for rule in rules:
        if rule.what == "type":
            if rule.numbers[0] != kind:
                continue
            kind = rule.numbers[1]
        else:
            assert rule.pattern is not None
            new = rule.pattern.replace(text, rule.to)
            if new is None:
                continue
            if rule.what == "name":
                try:
                    wire.name_to_wire(new)
                except wire.WireError:
                    continue
                text = new.lower().rstrip(".") + "."
        matched.append(rule)
        if rule.stop:
            break
    return Rewritten(wire.name_to_wire(text), kind, tuple(matched))


def answer(rewritten: Rewritten, asked: bytes, found: Found) -> Found:
    """Return an answer as the rules make it, under the name that was asked for."""
    code, changes = found.code, [_back(rewritten.name, asked)]
    for rule in rewritten.rules:
        if rule.what == "rcode" and rule.numbers[0] == code:
            code = rule.numbers[1]
        elif rule.what == "ttl":
            changes.append(_with_ttl(*rule.numbers))
        changes += [_renaming(one) for one in rule.answers]

    def changed(records: list[bytes]) -> list[bytes]:
        for change in changes:
            records = [change(record) for record in records]
        return records

    return found._replace(
        code=code,
        answers=changed(found.answers),
        authorities=found.authorities,
        additional=changed(found.additional),
    )


Change = Callable[[bytes], bytes]


def _back(name: bytes, asked: bytes) -> Change:
    return lambda record: asked + record[len(name) :] if name != asked and record.startswith(name) else record


def _with_ttl(least: int, most: int) -> Change:
    def change(record: bytes) -> bytes:
        at = wire.skip_name(record, 0) + 4
        ttl = min(max(int.from_bytes(record[at : at + 4]), least), most)
        return record[:at] + ttl.to_bytes(4) + record[at + 4 :]

    return change


NAME_AT = {wire.NS: 0, wire.CNAME: 0, wire.PTR: 0, 39: 0, wire.MX: 2, wire.SRV: 6}
"""Where the name begins that a record's data ends with, by type."""


def _renaming(renamed: Renamed) -> Change:
    def new(name: bytes) -> bytes:
        made = renamed.pattern.replace(wire.wire_to_name(name).lower() + ".", renamed.to)
        try:
            return name if made is None else wire.name_to_wire(made)
        except wire.WireError:
            return name

    def change(record: bytes) -> bytes:
        end = wire.skip_name(record, 0)
        if renamed.what == "name":
            return new(record[:end]) + record[end:]
        kind, data = int.from_bytes(record[end : end + 2]), record[end + 10 :]
        if kind not in NAME_AT:
            return record
        data = data[: NAME_AT[kind]] + new(data[NAME_AT[kind] :])
        return record[: end + 8] + len(data).to_bytes(2) + data

    return change
