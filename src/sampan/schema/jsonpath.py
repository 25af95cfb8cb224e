"""The JSONPath that Kubernetes uses for columns, scale paths and selectable fields, compiled once to a closure.

Understood: ``.a.b``, ``['a.b']``, ``.a\\.b``, ``[n]`` (negative too), ``[a:b]``, ``[*]``, ``.*``, ``..a``,
``['a','b']``, ``[?(@.type=="Ready")]`` with ``== != < <= > >=`` and plain existence; braces and a leading
``$`` may surround it. The grammar is client-go's ``util/jsonpath`` without ``range`` and templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sampan.schema.remembering import remembered

MAX_FILTERS = 16
"""Filters may stand inside filters; more than this is no path a person wrote."""

Step = Callable[[list[Any]], list[Any]]


class JSONPathError(ValueError):
    """A path that cannot be understood."""


_name = re.compile(r"(?:\\.|[^.\[\]{}()?*\s,'\"=<>!\\])+")
_slice = re.compile(r"\s*(-?[0-9]+)?\s*(?::\s*(-?[0-9]+)?\s*)?(?::\s*(-?[0-9]+)?\s*)?")
_filter = re.compile(r"\?\(\s*@?(.*?)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?)\s*)?\)", re.DOTALL)
_quoted = re.compile(r"\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")\s*(,?)")


def _field(name: str) -> Step:
    def step(values: list[Any]) -> list[Any]:
        return [value[name] for value in values if isinstance(value, dict) and name in value]

    return step


def _fields(names: list[str]) -> Step:
    def step(values: list[Any]) -> list[Any]:
        return [value[name] for value in values if isinstance(value, dict) for name in names if name in value]

    return step


def _children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _every(values: list[Any]) -> list[Any]:
    return [child for value in values for child in _children(value)]


def _descend(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found.append(value)
        found += _descend(_children(value))
    return found


def _items(start: int | None, stop: int | None, stride: int | None, single: bool) -> Step:
    def step(values: list[Any]) -> list[Any]:
        found: list[Any] = []
        for value in values:
            if not isinstance(value, list):
                continue
            if not single:
                found += value[start:stop:stride]
            elif start is not None and -len(value) <= start < len(value):
                found.append(value[start])
        return found

    return step


def _compare(operator: str, left: Any, right: Any) -> bool:
    if operator == "==":
        return bool(left == right) and isinstance(left, bool) is isinstance(right, bool)
    if operator == "!=":
        return not _compare("==", left, right)
    numbers = all(isinstance(side, (int, float)) and not isinstance(side, bool) for side in (left, right))
    if not numbers and not (isinstance(left, str) and isinstance(right, str)):
        return False
    return bool(
        left < right if operator == "<" else left <= right if operator == "<="
        else left > right if operator == ">" else left >= right
    )  # fmt: skip


def _literal(text: str) -> Any:
    if text[:1] in "'\"" and len(text) >= 2 and text[-1] == text[0]:
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            raise JSONPathError(f"unrecognized value in filter: {text}") from None


def _where(body: str, operator: str | None, right: str | None) -> Step:
    left = compile_path(body) if body else (lambda value: [value])
    if operator is None or right is None:
        return lambda values: [item for item in _every(values) if left(item)]
    if right.startswith("@"):
        other = compile_path(right[1:])
    else:
        literal = _literal(right)

        def other(value: Any) -> list[Any]:
            return [literal]

    def step(values: list[Any]) -> list[Any]:
        found: list[Any] = []
        for item in _every(values):
            ours, theirs = left(item), other(item)
            if ours and theirs and _compare(operator, ours[0], theirs[0]):
                found.append(item)
        return found

    return step


def _bracket(body: str) -> Step:
    text = body.strip()
    if text == "*":
        return _every
    match = _filter.fullmatch(text)
    if match:
        return _where(match[1], match[2], match[3])
    if text[:1] in ("'", '"'):
        return _quoted_names(text)
    match = _slice.fullmatch(text)
    if not text or match is None:
        raise JSONPathError(f"invalid array index {body}")
    start, stop, stride = (int(part) if part else None for part in match.groups())
    if stride is not None and stride <= 0:
        raise JSONPathError("step must be > 0")
    return _items(start, stop, stride, single=":" not in text)


def _quoted_names(text: str) -> Step:
    names: list[str] = []
    position = 0
    while position < len(text):
        match = _quoted.match(text, position)
        if match is None:
            raise JSONPathError(f"unterminated or misplaced quote in [{text}]")
        names.append(re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2]))
        position = match.end()
    return _field(names[0]) if len(names) == 1 else _fields(names)


def _closing(path: str, start: int) -> int:
    """Return where the bracket that opens at ``start`` closes, quotes and inner brackets respected."""
    quote, depth, position = "", 0, start
    while position < len(path):
        character = path[position]
        if quote:
            position += character == "\\"
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[]":
            depth += 1 if character == "[" else -1
            if depth == 0:
                return position
        position += 1
    raise JSONPathError(f"unterminated array in {path}")


def _steps(path: str) -> list[Step]:
    steps: list[Step] = []
    position = 0
    while position < len(path):
        if path[position] == "[":
            end = _closing(path, position)
            steps.append(_bracket(path[position + 1 : end]))
            position = end + 1
            continue
        if path.startswith("..", position):
            steps.append(_descend)
            position += 1 if path[position + 2 : position + 3] != "[" else 2
            continue
        position += path[position] == "."
        if position == len(path) or path[position] == "[":
            continue
        if path[position] == "*":
            steps.append(_every)
            position += 1
            continue
        match = _name.match(path, position)
        if match is None:
            raise JSONPathError(f"unrecognized character in action: {path[position]!r}")
        steps.append(_field(re.sub(r"\\(.)", r"\1", match[0])))
        position = match.end()
    return steps


@remembered(4096)
def compile_path(path: str) -> Callable[[Any], list[Any]]:
    """Return ``object -> values found``; raises ``JSONPathError``."""
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    if text.startswith("$"):
        text = text[1:]
    if text.count("?(") > MAX_FILTERS:
        raise JSONPathError("too many filters")
    steps = _steps(text)

    def find(obj: Any) -> list[Any]:
        values = [obj]
        for step in steps:
            values = step(values)
            if not values:
                break
        return values

    return find


def lookup(path: str, obj: Any) -> list[Any]:
    """Return every value at ``path``."""
    return compile_path(path)(obj)


def first(path: str, obj: Any, default: Any = None) -> Any:
    """Return the first value at ``path``, ``default`` when there is none."""
    found = compile_path(path)(obj)
    return found[0] if found else default
