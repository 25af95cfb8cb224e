"""``buffering.retryExpression``: when a request is sent again, as Envoy's policy of a route says it.

``IsNetworkError() && Attempts() <= 2 || ResponseCode() == 503`` over the last try. An expression is asked about every method
that it names and one more, each try that Traefik would make and every status; what comes of it is served where the statuses
are the same for all tries up to some, and for all methods that have any. Source: Traefik v3, buffering; oxy, buffer.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from sampan.gateway.middlewares.words import Words
from sampan.gateway.model.verdicts import Unsupported

MOST_RETRIES = 10
"""That Traefik makes, whatever an expression says."""
NETWORK_ERRORS = (502, 504)
CODES = range(200, 600)
OTHER_METHOD = ""
WORD = re.compile(r'\s*(?:(\d{1,9})|([A-Za-z]\w*)|"([A-Z]{1,30})"|(&&|\|\||[<>=!]=|[<>()]))')
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
DEEPEST = 20


class Try(NamedTuple):
    """What an expression sees."""

    method: str
    number: int
    code: int


Predicate = Callable[[Try], bool]
VALUES: dict[str, Callable[[Try], object]] = {
    "Attempts": lambda one: one.number,
    "ResponseCode": lambda one: one.code,
    "RequestMethod": lambda one: one.method,
}


@dataclass(frozen=True, slots=True)
class Again:
    """When a request is sent again."""

    codes: tuple[int, ...]
    retries: int
    methods: tuple[str, ...] = ()
    """Of these alone; ``()``: of all that are not ``but``."""
    but: tuple[str, ...] = ()


@lru_cache(256)  # four thousand questions, and many routes with one Middleware
def again_of(text: str) -> Again:
    """Return what an expression says. Raises ``Unsupported`` for what is none, or cannot be said to Envoy."""
    parser = Parser(text)
    predicate = parser.parsed()
    found = {}
    for method in (*sorted(parser.methods), OTHER_METHOD):
        rounds = [
            tuple(code for code in CODES if predicate(Try(method, number, code)))
            for number in range(1, MOST_RETRIES + 1)
        ]
        retries = sum(1 for codes in rounds if codes)
        if any(codes != rounds[0] for codes in rounds[:retries]):
            raise parser.error("the statuses have to be the same for all tries up to some")
        found[method] = (rounds[0], retries) if retries else None
    policies = {policy for policy in found.values() if policy is not None}
    if len(policies) != 1:
        raise parser.error(
            "the statuses and tries have to be the same for all methods" if policies else "it is never true"
        )
    ((codes, retries),) = policies
    named = tuple(method for method in parser.methods if (found[method] is None) == (found[OTHER_METHOD] is not None))
    return Again(codes, retries, *(((), named) if found[OTHER_METHOD] is not None else (named, ())))


class Parser:
    """Reads an expression. Raises ``Unsupported``."""

    def __init__(self, text: str) -> None:
        self._words = Words(text, WORD, "retryExpression")
        self.methods: list[str] = []

    def error(self, why: str) -> Unsupported:
        return self._words.error(why)

    def parsed(self) -> Predicate:
        found = self._any(0)
        self._words.end()
        return found

    def _any(self, deep: int) -> Predicate:
        parts = self._words.parts("||", lambda: self._all(deep))
        return parts[0] if len(parts) == 1 else lambda one: any(part(one) for part in parts)

    def _all(self, deep: int) -> Predicate:
        parts = self._words.parts("&&", lambda: self._one(deep))
        return parts[0] if len(parts) == 1 else lambda one: all(part(one) for part in parts)

    def _one(self, deep: int) -> Predicate:
        if deep > DEEPEST:
            raise self.error("too deep")
        take = self._words.take
        if self._words.next() == "(":
            take()
            inner = self._any(deep + 1)
            take(")")
            return inner
        name = take()
        if name != "IsNetworkError" and name not in VALUES:
            raise self.error(f"{name!r} is none of IsNetworkError, {', '.join(VALUES)}")
        take("(")
        take(")")
        if name == "IsNetworkError":
            return lambda one: one.code in NETWORK_ERRORS
        return self._compared(name, take(*COMPARISONS), take())

    def _compared(self, name: str, by: str, value: str) -> Predicate:
        of, compare = VALUES[name], COMPARISONS[by]
        if name != "RequestMethod":
            if not value.isdecimal():
                raise self.error(f"{name} is compared to a number, not {value}")
            number = int(value)
            return lambda one: compare(of(one), number)
        if not value.startswith('"') or by not in ("==", "!="):
            raise self.error(f"{name} is (==) or is not (!=) a text in double quotes")
        method = value[1:-1]
        if method not in self.methods:
            self.methods.append(method)
        return lambda one: compare(of(one), method)
