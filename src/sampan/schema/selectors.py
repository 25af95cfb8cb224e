"""Label and field selectors: parsed once, then asked many times.

The grammar and the messages are those of apimachinery's ``pkg/labels`` and ``pkg/fields``. Parsing is cached, since
clients repeat the same selector with every list and watch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from sampan.schema.names import label_value, qualified_name
from sampan.schema.remembering import remembered


class SelectorError(ValueError):
    """A selector that cannot be understood: answer 400 with its text."""


class Requirement(NamedTuple):
    """One term. ``operator`` is one of ``in notin = == != exists ! gt lt``; ``values`` is empty for exists and !."""

    key: str
    operator: str
    values: tuple[str, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        operator = self.operator
        if operator in ("in", "=", "=="):
            return value is not None and value in self.values
        if operator in ("notin", "!="):
            return value is None or value not in self.values
        if operator == "exists":
            return value is not None
        if operator == "!":
            return value is None
        if value is None or not _integer.fullmatch(value):
            return False
        return int(value) > int(self.values[0]) if operator == "gt" else int(value) < int(self.values[0])

    def __str__(self) -> str:
        if self.operator == "exists":
            return self.key
        if self.operator == "!":
            return f"!{self.key}"
        values = ",".join(sorted(self.values))
        if self.operator in ("in", "notin"):
            return f"{self.key} {self.operator} ({values})"
        return f"{self.key}{ {'gt': '>', 'lt': '<'}.get(self.operator, self.operator) }{values}"


_integer = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
NO_LABELS: Mapping[str, str] = {}


class LabelSelector:
    """All its requirements hold. ``nothing`` selects nothing at all."""

    __slots__ = ("nothing", "requirements")

    def __init__(self, requirements: Iterable[Requirement] = (), nothing: bool = False) -> None:
        self.requirements = tuple(requirements)
        self.nothing = nothing

    @property
    def empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        labels = labels or NO_LABELS
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)

_token = re.compile(r"\s*(?:(!=|==|=|!|<|>|\(|\)|,)|([^\s!=<>(),]+))")
ENDS = (",", "")


class _Parser:
    """A recursive-descent parser of ``labels.Parse``."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, bool]] = []
        position = 0
        while match := _token.match(text, position):
            self.tokens.append((match[1] or match[2], match[1] is not None))
            position = match.end()
        self.tokens.append(("", True))
        self.at = 0

    def peek(self) -> tuple[str, bool]:
        return self.tokens[self.at]

    def take(self) -> tuple[str, bool]:
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self.peek()[0]:
            word, symbol = self.peek()
            if symbol and word != "!":
                raise SelectorError(f"found '{word}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self.requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            word = self.take()[0]
            if not word:
                break
            if word != ",":
                raise SelectorError(f"found '{word}', expected: ',' or 'end of string'")
            following, symbol = self.peek()
            if symbol and following != "!":
                raise SelectorError(f"found '{following}', expected: identifier after ','")
        return found

    def requirement(self) -> Requirement:
        negated = self.peek() == ("!", True)
        if negated:
            self.take()
        key, symbol = self.take()
        if symbol:
            raise SelectorError(f"found '{key}', expected: identifier")
        check_key(key, at="<nil>")
        if negated:
            return Requirement(key, "!", ())
        operator, symbol = self.peek()
        if symbol and operator in ENDS:
            return Requirement(key, "exists", ())
        self.take()
        if not symbol and operator in ("in", "notin"):
            return checked(Requirement(key, operator, tuple(dict.fromkeys(self.values()))))
        if symbol and operator in ("=", "==", "!="):
            return checked(Requirement(key, operator, (self.exact(),)))
        if symbol and operator in ("<", ">"):
            return checked(Requirement(key, "lt" if operator == "<" else "gt", (self.exact(),)))
        raise SelectorError(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def exact(self) -> str:
        word, symbol = self.peek()
        if symbol:
            if word in ENDS:
                return ""
            raise SelectorError(f"found '{word}', expected: identifier")
        self.take()
        return word

    def values(self) -> list[str]:
        word, symbol = self.take()
        if (word, symbol) != ("(", True):
            raise SelectorError(f"found '{word}' expected: '('")
        values: list[str] = []
        expects_value = True
        while True:
            word, symbol = self.take()
            if not symbol:
                values.append(word)
                expects_value = False
            elif word == "," or (word == ")" and expects_value):
                # an empty word between commas or before the parenthesis is the empty value
                if expects_value:
                    values.append("")
                expects_value = True
                if word == ")":
                    return values
            elif word == ")":
                return values
            else:
                wanted = "',', or identifier" if expects_value else "',' or ')'"
                raise SelectorError(f"found '{word}', expected: {wanted}")
            if not symbol and not self.peek()[1]:
                raise SelectorError(f"found '{self.peek()[0]}', expected: ',' or ')'")


def check_key(key: str, at: str = "key") -> None:
    """Raise ``SelectorError`` for what is no label key. A selector in a query has no path: Kubernetes prints ``<nil>``."""
    why = qualified_name(key)
    if why:
        raise SelectorError(f'{at}: Invalid value: "{key}": {"; ".join(why)}')


def checked(requirement: Requirement) -> Requirement:
    """Return the requirement; raises ``SelectorError`` when a value may not be a label's or is no number where one
    is asked."""
    if requirement.operator in ("gt", "lt") and not _integer.fullmatch(requirement.values[0]):
        text = "for 'Gt', 'Lt' operators, the value must be an integer"
        raise SelectorError(f'values[0]: Invalid value: "{requirement.values[0]}": {text}')
    for index, value in enumerate(requirement.values):
        why = label_value(value)
        if why:
            raise SelectorError(f'values[{index}][{requirement.key}]: Invalid value: "{value}": {"; ".join(why)}')
    return requirement


@remembered(256, longest=1024)
def parse_label_selector(text: str) -> LabelSelector:
    """Return the selector of a ``labelSelector`` parameter (``a=b,c in (d,e),!f``); raises ``SelectorError``."""
    if not text:
        return EVERYTHING
    return LabelSelector(sorted(_Parser(text).requirements(), key=lambda requirement: requirement.key))


OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def label_selector(selector: Mapping[str, Any] | None) -> LabelSelector:
    """Return the selector of a ``metav1.LabelSelector`` object: None selects nothing, an empty one everything.
    Raises ``SelectorError``."""
    if selector is None:
        return NOTHING
    labels = (selector.get("matchLabels") or {}).items()
    found = [checked_entry(key, "In", [value])._replace(operator="=") for key, value in labels]
    for expression in selector.get("matchExpressions") or ():
        found.append(checked_entry(expression.get("key", ""), expression.get("operator", ""), expression.get("values")))
    return LabelSelector(sorted(found, key=lambda requirement: requirement.key)) if found else EVERYTHING


def checked_entry(key: str, operator: str, values: list[str] | None) -> Requirement:
    if operator not in OPERATORS:
        raise SelectorError(f'"{operator}" is not a valid label selector operator')
    check_key(key)
    if operator in ("In", "NotIn") and not values:
        raise SelectorError("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in ("Exists", "DoesNotExist") and values:
        raise SelectorError("values: Invalid value: values set must be empty for exists and does not exist")
    return checked(Requirement(key, OPERATORS[operator], tuple(values or ())))


class FieldSelector:
    """``terms`` are ``(field, "=" or "!=", value)``; all must hold."""

    __slots__ = ("terms",)

    def __init__(self, terms: Iterable[tuple[str, str, str]] = ()) -> None:
        self.terms = tuple(terms)

    @property
    def empty(self) -> bool:
        return not self.terms

    def matches(self, get: Callable[[str], str]) -> bool:
        """Whether every term holds for the object whose field ``f`` reads ``get(f)``."""
        return all((get(field) == value) is (operator == "=") for field, operator, value in self.terms)

    def exact(self, field: str) -> str | None:
        """Return the value that ``field`` must have, None when it may have several."""
        return next((value for name, operator, value in self.terms if name == field and operator == "="), None)

    def __str__(self) -> str:
        return ",".join(f"{field}{operator}{_escape(value)}" for field, operator, value in self.terms)


_term = re.compile(r"(?:\\.|[^,\\]|\\$)+", re.DOTALL)
_operator = re.compile(r"!=|==|=")


def _escape(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)


def _unescape(value: str) -> str:
    bad = re.search(r"\\(?![\\,=])(.?)", re.sub(r"\\[\\,=]", "", value), re.DOTALL)
    if bad:
        raise SelectorError(f"invalid field selector: invalid escape sequence: \\{bad[1]}")
    if "=" in re.sub(r"\\[\\,=]", "", value):
        raise SelectorError(f"invalid field selector: unescaped character in value: {ord('=')}")
    return re.sub(r"\\([\\,=])", r"\1", value)


@remembered(256, longest=1024)
def parse_field_selector(text: str) -> FieldSelector:
    """Return the selector of a ``fieldSelector`` parameter; raises ``SelectorError``. Which fields a resource knows
    is its own affair."""
    terms: list[tuple[str, str, str]] = []
    for part in sorted(_term.findall(text)):
        match = _operator.search(part)
        if match is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        operator = "!=" if match[0] == "!=" else "="
        field, value = part[: match.start()], _unescape(part[match.end() :])
        if field or value:
            terms.append((field, operator, value))
    return FieldSelector(terms)
