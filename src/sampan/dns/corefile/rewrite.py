"""The directive ``rewrite``: its one-line and block forms, to rules."""

from __future__ import annotations

from sampan.dns import wire
from sampan.dns.corefile.arguments import number
from sampan.dns.corefile.configuration import Reading
from sampan.dns.corefile.grammar import Directive
from sampan.dns.rewrite import MATCHES, Match, Pattern, Renamed, Rule

LONGEST_TTL = 0x7FFFFFFF


def rewrite(reading: Reading, directive: Directive) -> None:
    words = list(directive.arguments)
    stop = True
    if words and words[0] in ("stop", "continue"):
        stop = words.pop(0) == "stop"
    for number_of, line in enumerate(directive.lines):
        inner = [line.name, *line.arguments]
        if number_of == 0 and not words:
            words = inner
        elif line.name == "answer":
            words += inner
        else:
            raise line.refuse("rewrite: after its first line a block has `answer` lines")
    if not words:
        raise directive.refuse("it says nothing to rewrite")
    reading.block.rewrites.append(rule(directive, words, stop))


def rule(directive: Directive, words: list[str], stop: bool) -> Rule:
    what, *rest = words
    if what == "type":
        if len(rest) != 2:
            raise directive.refuse("it is `type FROM TO`")
        return Rule("type", numbers=(type_number(directive, rest[0]), type_number(directive, rest[1])), stop=stop)
    if what not in ("name", "ttl", "rcode"):
        raise directive.refuse(f"{what!r} is not rewritten here; there are name, type, ttl and rcode")
    match: Match = "exact"
    if rest and rest[0] in MATCHES:
        match = rest.pop(0)  # type: ignore[assignment]
    if not rest:
        raise directive.refuse(f"{what}: what it is for is missing")
    pattern = pattern_of(directive, match, rest.pop(0))
    if what == "name":
        if not rest:
            raise directive.refuse("name: TO is missing")
        to = rest.pop(0)
        to = to.rstrip(".") + "." if match in ("exact", "suffix") else to
        return Rule("name", pattern, to.lower(), answers=tuple(answers(directive, rest)), stop=stop)
    if what == "ttl":
        if len(rest) != 1:
            raise directive.refuse("it is `ttl [MATCH] NAME SECONDS`, or MIN-MAX")
        least, dash, most = rest[0].partition("-")
        low = number(directive, least or "0")
        high = number(directive, most) if most else LONGEST_TTL if dash else low
        if low > high:
            raise directive.refuse(f"{rest[0]}: the least is more than the most")
        return Rule("ttl", pattern, numbers=(low, high), stop=stop)
    if len(rest) != 2:
        raise directive.refuse("it is `rcode [MATCH] NAME FROM TO`")
    return Rule("rcode", pattern, numbers=(code(directive, rest[0]), code(directive, rest[1])), stop=stop)


def pattern_of(directive: Directive, match: Match, text: str) -> Pattern:
    if match == "regex":
        import re2

        try:
            return Pattern(match, text, re2.compile(text))
        except re2.error as error:
            raise directive.refuse(f"{text!r} is no pattern: {error}") from error
    text = text.lower()
    return Pattern(match, text.rstrip(".") + "." if match in ("exact", "suffix") else text)


def answers(directive: Directive, words: list[str]) -> list[Renamed]:
    """Read ``answer name FROM TO``, ``answer value FROM TO`` and ``answer auto``, which is always so."""
    found = []
    while words:
        if words[0] == "answer":
            words = words[1:]
        if words[:1] == ["auto"] or words[:2] == ["name", "auto"]:
            words = words[2:] if words[0] == "name" else words[1:]
        elif len(words) >= 3 and words[0] in ("name", "value"):
            what, pattern, to, *words = words
            found.append(Renamed(what, pattern_of(directive, "regex", pattern), to))  # type: ignore[arg-type]
        else:
            raise directive.refuse(
                f"{' '.join(words)!r} is none of answer auto, answer name FROM TO, answer value FROM TO"
            )
    return found


def type_number(directive: Directive, text: str) -> int:
    for value, name in wire.TYPES.items():
        if name == text.upper():
            return value
    raise directive.refuse(f"{text!r} is no type of records")


def code(directive: Directive, text: str) -> int:
    if text.upper() in wire.CODES:
        return wire.CODES.index(text.upper())
    return number(directive, text, 15)
