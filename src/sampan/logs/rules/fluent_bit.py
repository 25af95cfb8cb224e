"""Rules out of Fluent Bit's configurations: ``[MULTILINE_PARSER]`` sections, and ``multiline_parsers`` of its YAML.

Source: Fluent Bit's manual, "Multiline parsing".
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from sampan.logs.rules.rule import Matches, Rule, RuleError, Transition, by_states, pattern_of

SECTION = re.compile(r"^\s*\[(\w+)\]\s*$")


def sections(text: str) -> Iterator[dict[str, Any]]:
    """Yield the parsers of a classic configuration as its YAML would have them. Raises ``RuleError``."""
    parser: dict[str, Any] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        section = SECTION.match(line)
        if section is not None:
            if parser is not None:
                yield parser
            parser = {"rules": []} if section[1].upper() == "MULTILINE_PARSER" else None
        elif parser is not None and line.strip() and not line.lstrip().startswith("#"):
            key, _, value = line.strip().partition(" ")
            if key.lower() != "rule":
                parser[key.lower()] = value.strip()
                continue
            lexer = shlex.shlex(value, posix=False)
            lexer.whitespace_split, lexer.commenters, lexer.quotes = True, "", '"'
            parts = [part.strip('"') for part in lexer]
            if len(parts) != 3:
                raise RuleError(f"line {number}", 'a rule is "STATE" "/PATTERN/" "NEXT STATE"')
            parser["rules"].append(dict(zip(("state", "regex", "next_state"), parts, strict=True)))
    if parser is not None:
        yield parser


def rule_of_parser(parser: Mapping[str, Any], field: str) -> Rule:
    """Return the rule of one parser. Raises ``RuleError``."""
    if str(parser.get("type", "regex")).lower() != "regex":
        raise RuleError(f"{field}.type", f"{parser['type']!r} is not regex")
    for option in ("parser", "key_content"):
        if parser.get(option):
            raise RuleError(f"{field}.{option}", "lines are joined as they are, before anything is parsed")
    transitions = [
        Transition(
            frozenset(state.strip() for state in str(rule.get("state", "")).split(",")),
            matches_of(str(rule.get("regex", "")), f"{field}.rules[{number}].regex"),
            str(rule.get("next_state", "")),
        )
        for number, rule in enumerate(parser.get("rules") or ())
    ]
    if not any("start_state" in transition.states for transition in transitions):
        raise RuleError(f"{field}.rules", "no rule is of start_state")
    milliseconds = str(parser.get("flush_timeout", "4000"))
    if not milliseconds.isdigit():
        raise RuleError(f"{field}.flush_timeout", f"milliseconds are wanted, not {milliseconds!r}")
    return Rule(str(parser.get("name", "fluent-bit")), by_states(transitions), 1000, int(milliseconds) / 1000)


def matches_of(text: str, field: str) -> Matches:
    return pattern_of(field, text[1:-1] if len(text) > 1 and text[0] == text[-1] == "/" else text)
