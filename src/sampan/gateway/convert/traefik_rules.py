"""Traefik's rules (``Host(`a`) && (Path(`/x`) || !Method(`GET`))``): read, and taken apart into alternatives.

``alternatives`` returns the rule as an "or" of "and"s, as Gateway API has it: each a list of ``Matcher``.
Source: Traefik v3, routing, rules and priority (HTTP and TCP).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

TOKEN = re.compile(r"\s*(?:(&&|\|\||[!(),])|([A-Za-z]+)|`([^`]*)`|\"((?:[^\"\\]|\\.)*)\")")
MOST_ALTERNATIVES = 64
"""Matches a rule of an HTTPRoute may have."""


class RuleError(ValueError):
    """The text is no rule."""


class Matcher(NamedTuple):
    name: str
    arguments: tuple[str, ...]
    negated: bool = False

    def __str__(self) -> str:
        inside = ", ".join(f"`{argument}`" for argument in self.arguments)
        return f"{'!' if self.negated else ''}{self.name}({inside})"


@dataclass(frozen=True)
class All:
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Any:
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Not:
    part: Node


Node = All | Any | Not | Matcher


def alternatives(text: str) -> list[list[Matcher]]:
    """Return the alternatives of a rule. Raises ``RuleError``, also where there would be more than 64."""
    return expanded(parse(text), False)


def expanded(node: Node, negated: bool) -> list[list[Matcher]]:
    if isinstance(node, Matcher):
        # Host(`a`, `b`) of Traefik 2: one of them
        several = node.name not in ("Header", "Headers", "HeaderRegexp", "HeadersRegexp", "Query", "QueryRegexp")
        if several and len(node.arguments) > 1 and not negated:
            return [[Matcher(node.name, (argument,))] for argument in node.arguments]
        return [[node._replace(negated=negated)]]
    if isinstance(node, Not):
        return expanded(node.part, not negated)
    of_parts = [expanded(part, negated) for part in node.parts]
    if isinstance(node, Any) != negated:
        return limited([alternative for part in of_parts for alternative in part])
    result: list[list[Matcher]] = [[]]
    for part in of_parts:
        result = limited([[*left, *right] for left in result for right in part])
    return result


def limited(found: list[list[Matcher]]) -> list[list[Matcher]]:
    if len(found) > MOST_ALTERNATIVES:
        raise RuleError(f"it has more than {MOST_ALTERNATIVES} alternatives")
    return found


def parse(text: str) -> Node:
    tokens = list(tokens_of(text))
    node, at = any_of(tokens, 0)
    if at != len(tokens):
        raise RuleError(f'"{tokens[at][1]}" is one too many')
    return node


def tokens_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield ``(kind, text)``; kinds are ``sign``, ``name`` and ``text``."""
    at, text = 0, text.strip()
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise RuleError(f'"{text[at : at + 20]}" is not understood')
        sign, name, quoted, double = found.groups()
        if sign is not None:
            yield "sign", sign
        elif name is not None:
            yield "name", name
        else:
            yield "text", quoted if quoted is not None else re.sub(r"\\(.)", r"\1", double)
        at = found.end()


Tokens = list[tuple[str, str]]


def any_of(tokens: Tokens, at: int) -> tuple[Node, int]:
    parts, at = joined(tokens, at, "||", all_of)
    return (parts[0] if len(parts) == 1 else Any(tuple(parts))), at


def all_of(tokens: Tokens, at: int) -> tuple[Node, int]:
    parts, at = joined(tokens, at, "&&", single)
    return (parts[0] if len(parts) == 1 else All(tuple(parts))), at


def joined(tokens: Tokens, at: int, sign: str, one: object) -> tuple[list[Node], int]:
    assert callable(one)
    node, at = one(tokens, at)
    parts = [node]
    while at < len(tokens) and tokens[at] == ("sign", sign):
        node, at = one(tokens, at + 1)
        parts.append(node)
    return parts, at


def single(tokens: Tokens, at: int) -> tuple[Node, int]:
    if at >= len(tokens):
        raise RuleError("it ends too early")
    kind, text = tokens[at]
    if (kind, text) == ("sign", "!"):
        node, at = single(tokens, at + 1)
        return Not(node), at
    if (kind, text) == ("sign", "("):
        node, at = any_of(tokens, at + 1)
        return node, expect(tokens, at, ")")
    if kind != "name":
        raise RuleError(f'a matcher is expected at "{text}"')
    at = expect(tokens, at + 1, "(")
    arguments: list[str] = []
    while at < len(tokens) and tokens[at][0] == "text":
        arguments.append(tokens[at][1])
        at += 1
        if at < len(tokens) and tokens[at] == ("sign", ","):
            at += 1
    return Matcher(text, tuple(arguments)), expect(tokens, at, ")")


def expect(tokens: Tokens, at: int, sign: str) -> int:
    if at >= len(tokens) or tokens[at] != ("sign", sign):
        raise RuleError(f'"{sign}" is missing')
    return at + 1
