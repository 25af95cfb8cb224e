"""YAML bodies as JSON values, by the rules of ``sigs.k8s.io/yaml`` (YAML 1.1 scalars, keys become strings).

Read event by event with a stack of our own, so that no nesting can exhaust the interpreter's; aliases are copied and
counted, so that no small body can grow into a large object. Timestamps and base-60 numbers stay strings, as in Go.
"""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import yaml as pyyaml

MAX_DEPTH = 200
MAX_NODES = 1_000_000

LOADER: Any = getattr(pyyaml, "CSafeLoader", pyyaml.SafeLoader)

_int = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)")
_float = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_words: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"), False),
}
_not_a_number = {".nan", ".NaN", ".NAN"}
_infinite = {sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")}


class YAMLError(ValueError):
    """The text is no YAML, or holds what JSON cannot."""


class _Frame:
    """A collection that is being read: ``key`` is the mapping key that waits for its value."""

    __slots__ = ("anchor", "key", "merged", "path", "value")

    def __init__(self, value: Any, path: str, anchor: str | None) -> None:
        self.value = value
        self.path = path
        self.anchor = anchor
        self.key: str | None = None
        self.merged: list[Any] = []


class _Reader:
    def __init__(self) -> None:
        self.stack: list[_Frame] = []
        self.anchors: dict[str, Any] = {}
        self.duplicates: list[str] = []
        self.nodes = 0
        self.result: Any = None
        self.done = False

    def path(self) -> str:
        if not self.stack:
            return ""
        top = self.stack[-1]
        if isinstance(top.value, list):
            return f"{top.path}[{len(top.value)}]"
        return f"{top.path}.{top.key}" if top.path else str(top.key)

    def open(self, value: Any, anchor: str | None) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise YAMLError("exceeded max depth")
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            raise YAMLError("invalid map key: a collection")
        self.count(1)
        self.stack.append(_Frame(value, self.path(), anchor))

    def close(self) -> None:
        frame = self.stack.pop()
        for merged in frame.merged:
            for key, item in merged.items():
                frame.value.setdefault(key, item)
        if frame.anchor:
            self.anchors[frame.anchor] = frame.value
        self.add(frame.value)

    def count(self, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise YAMLError("document contains excessive aliasing")

    def add(self, value: Any) -> None:
        if not self.stack:
            self.result, self.done = value, True
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            self.take_key(top, value)
        else:
            self.take_value(top, value)

    def take_key(self, top: _Frame, value: Any) -> None:
        key = _key(value)
        if key in top.value and len(self.duplicates) < 100:
            self.duplicates.append(f'duplicate field "{top.path}.{key}"' if top.path else f'duplicate field "{key}"')
        top.key = key

    def take_value(self, top: _Frame, value: Any) -> None:
        if top.key == "<<":
            sources = value if isinstance(value, list) else [value]
            if not all(isinstance(source, dict) for source in sources):
                raise YAMLError("map merge requires map or sequence of maps as the value")
            top.merged += sources
        else:
            top.value[top.key] = value
        top.key = None

    def alias(self, name: str) -> None:
        if name not in self.anchors:
            raise YAMLError(f"unknown anchor '{name}' referenced")
        value = self.anchors[name]
        self.count(_size(value))
        self.add(copy.deepcopy(value))

    def scalar(self, event: Any) -> None:
        self.count(1)
        value = _resolve(event)
        if event.anchor:
            self.anchors[event.anchor] = value
        self.add(value)


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(_size(item) for item in value.values())
    return 1 + sum(_size(item) for item in value) if isinstance(value, list) else 1


def _key(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    raise YAMLError("invalid map key: a collection")


def _resolve(event: Any) -> Any:
    text, tag = event.value, event.tag
    if tag == "tag:yaml.org,2002:str" or tag == "!" or (event.style and tag is None):
        return text
    if tag == "tag:yaml.org,2002:binary":
        return "".join(text.split())
    return _plain(text)


def _plain(text: str) -> Any:
    if text in _words:
        return _words[text]
    if text in _not_a_number or text in _infinite:
        raise YAMLError(f"json: unsupported value: {text}")
    first = text[0]
    if first not in "0123456789+-.":
        return text
    if len(text) < 1000 and _int.fullmatch(text):
        return _whole(text)
    if len(text) < 1000 and _float.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise YAMLError(f"json: unsupported value: {text}")
        return int(number) if number.is_integer() and abs(number) < 1e15 else number
    return text


def _whole(text: str) -> Any:
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-").replace("_", "")
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 8 if digits[0] == "0" and len(digits) > 1 else 10)
    try:
        number = sign * int(digits[2:] if digits[:2] in ("0b", "0o", "0x") else digits, base)
    except ValueError:
        return text
    return number if -(2**63) <= number < 2**64 else float(number)


def load(data: bytes) -> tuple[Any, list[str]]:
    """Return the JSON value of the first YAML document, and ``duplicate field "…"`` for its repeated keys.
    Raises ``YAMLError``."""
    reader = _Reader()
    try:
        for event in pyyaml.parse(data.decode("utf-8"), Loader=LOADER):
            _step(reader, event)
            if reader.done:
                break
    except pyyaml.YAMLError as error:
        raise YAMLError(_problem(error)) from None
    except UnicodeError:
        raise YAMLError("control characters are not allowed: the body is not UTF-8") from None
    return reader.result, reader.duplicates


def _step(reader: _Reader, event: Any) -> None:
    name = event.__class__.__name__
    if name == "ScalarEvent":
        reader.scalar(event)
    elif name == "MappingStartEvent":
        reader.open({}, event.anchor)
    elif name == "SequenceStartEvent":
        reader.open([], event.anchor)
    elif name in ("MappingEndEvent", "SequenceEndEvent"):
        reader.close()
    elif name == "AliasEvent":
        reader.alias(event.anchor)


def _problem(error: pyyaml.YAMLError) -> str:
    if isinstance(error, pyyaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())
