"""YAML bodies as JSON values, by the rules of ``sigs.k8s.io/yaml`` (YAML 1.1 scalars, keys become strings).

Read event by event with a stack of our own, so that no nesting can exhaust the interpreter's. What aliases stand for is
counted before it is there, by go-yaml's rule (``allowed_share``), so that no small body can grow into a large object.
Timestamps and base-60 numbers stay strings, as in Go.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import yaml as pyyaml

from sampan.schema.decode import REPEATED

MAX_DEPTH = 200
FEW_ALIASED, FEW_NODES = 100, 1000
"""Until there are more of both, nothing is refused."""
MANY_NODES, MOST_NODES = 400_000, 4_000_000
ALIASED_BYTES = 16 << 20
"""What aliases may stand for in all: Go shares its strings, the JSON that is made here does not."""

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


class Weight(NamedTuple):
    """What a value amounts to: nodes, bytes of text, and how deep it nests."""

    nodes: int
    size: int
    depth: int


def allowed_share(nodes: int) -> float:
    """Return which share of a document's nodes aliases may stand for: go-yaml's ``allowedAliasRatio``."""
    if nodes <= MANY_NODES:
        return 0.99
    if nodes >= MOST_NODES:
        return 0.1
    return 0.99 - 0.89 * (nodes - MANY_NODES) / (MOST_NODES - MANY_NODES)


class _Frame:
    """A collection that is being read: ``key`` is the mapping key that waits for its value; ``nodes``, ``size`` and
    ``depth`` are of what it holds."""

    __slots__ = ("anchor", "depth", "key", "merged", "nodes", "size", "value")

    def __init__(self, value: Any, anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.key: str | None = None
        self.merged: list[Any] = []
        self.nodes, self.size, self.depth = 1, 0, 0


class _Merge(str):
    """The key that merges, told by what it is from the text that has its letters."""


MERGE = _Merge("<<")


class _Reader:
    def __init__(self) -> None:
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, Weight]] = {}
        self.duplicates: list[str] = []
        self.nodes = self.aliased = self.aliased_bytes = 0
        self.repeated = ""
        self.result: Any = None
        self.done = False
        self.steps: dict[Any, Callable[[Any], None]] = {
            pyyaml.ScalarEvent: self.scalar,
            pyyaml.MappingStartEvent: lambda event: self.open({}, event.anchor),
            pyyaml.SequenceStartEvent: lambda event: self.open([], event.anchor),
            pyyaml.MappingEndEvent: self.close,
            pyyaml.SequenceEndEvent: self.close,
            pyyaml.AliasEvent: self.alias,
        }

    def repeat(self, event: Any) -> None:
        """Tell of a repeated key, with the line of its value, as Go's decoder does."""
        self.duplicates.append(f"line {event.start_mark.line + 1}: key {self.repeated} {REPEATED}")
        self.repeated = ""

    def open(self, value: Any, anchor: str | None) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise YAMLError("exceeded max depth")
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            raise YAMLError("invalid map key: a collection")
        self.nodes += 1
        self.stack.append(_Frame(value, anchor))

    def close(self, event: Any) -> None:
        frame = self.stack.pop()
        for merged in frame.merged:
            for key, item in merged.items():
                frame.value.setdefault(key, item)
        weight = Weight(frame.nodes, frame.size, frame.depth + 1)
        if frame.anchor:
            self.anchors[frame.anchor] = (frame.value, weight)
        self.add(frame.value, weight)

    def add(self, value: Any, weight: Weight) -> None:
        if not self.stack:
            self.result, self.done = value, True
            return
        top = self.stack[-1]
        top.nodes += weight.nodes
        top.size += weight.size
        if weight.depth > top.depth:
            top.depth = weight.depth
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            self.take_key(top, value)
        else:
            self.take_value(top, value)

    def take_key(self, top: _Frame, value: Any) -> None:
        key = _key(value)
        if key in top.value and len(self.duplicates) < 100:
            self.repeated = json.dumps(key, ensure_ascii=False) if isinstance(value, str) else key
        top.key = key

    def take_value(self, top: _Frame, value: Any) -> None:
        if top.key is MERGE:
            sources = value if isinstance(value, list) else [value]
            if not all(isinstance(source, dict) for source in sources):
                raise YAMLError("map merge requires map or sequence of maps as the value")
            top.merged += sources
        else:
            top.value[top.key] = value
        top.key = None

    def alias(self, event: Any) -> None:
        """Put the very value in again: ``load`` tells them apart in the end."""
        if event.anchor not in self.anchors:
            raise YAMLError(f"unknown anchor '{event.anchor}' referenced")
        value, weight = self.anchors[event.anchor]
        self.nodes += 1 + weight.nodes
        self.aliased += weight.nodes
        self.aliased_bytes += weight.size
        excessive = self.aliased > FEW_ALIASED and self.nodes > FEW_NODES
        if (excessive and self.aliased / self.nodes > allowed_share(self.nodes)) or self.aliased_bytes > ALIASED_BYTES:
            raise YAMLError("document contains excessive aliasing")
        if len(self.stack) + weight.depth > MAX_DEPTH:
            raise YAMLError("exceeded max depth")
        self.add(value, weight._replace(nodes=weight.nodes + 1))

    def scalar(self, event: Any) -> None:
        self.nodes += 1
        value = _resolve(event)
        weight = Weight(1, len(event.value), 0)
        if event.anchor:
            self.anchors[event.anchor] = (value, weight)
        if value == "<<" and not event.style and self.stack:
            top = self.stack[-1]
            if top.key is None and isinstance(top.value, dict):
                value = MERGE  # in quotes it is a key as others are
        self.add(value, weight)


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
    """Return the JSON value of the first YAML document, and ``line …: key "…" already set in map`` for its repeated keys.
    Raises ``YAMLError``."""
    reader = _Reader()
    steps = reader.steps
    try:
        for event in pyyaml.parse(data.decode("utf-8"), Loader=LOADER):
            step = steps.get(event.__class__)
            if step is not None:
                if reader.repeated:
                    reader.repeat(event)
                step(event)
                if reader.done:
                    break
    except pyyaml.YAMLError as error:
        raise YAMLError(_problem(error)) from None
    except UnicodeError:
        raise YAMLError("control characters are not allowed: the body is not UTF-8") from None
    if not reader.aliased:
        return reader.result, reader.duplicates
    try:
        return orjson.loads(orjson.dumps(reader.result)), reader.duplicates
    except (TypeError, ValueError):
        raise YAMLError("a string is no Unicode") from None


def _problem(error: pyyaml.YAMLError) -> str:
    if isinstance(error, pyyaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())
