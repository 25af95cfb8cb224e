"""Request bodies become objects: JSON or YAML in, plain JSON values out, ``DecodeError`` for everything else.

JSON goes through orjson. A duplicate field (which orjson would drop silently) is looked for only when asked, and
mostly costs one comparison: the number of keys in the bytes against the number in what was decoded. YAML is read
event by event, without recursion and with a bound on aliases, by the rules of ``sigs.k8s.io/yaml`` (``schema.yaml``).
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any, NamedTuple

import orjson

MAX_DEPTH = 200
"""Deeper bodies are refused: every walk over an object may be recursive then, and orjson writes 254 levels at most. No
Kubernetes object comes near."""

MANY_BRACKETS = 20_000
"""With more than these they are counted instead of walked."""
MAX_DUPLICATES = 100
SUMMARY_BYTES = 30
REPEATED = "already set in map"


class DecodeError(ValueError):
    """The bytes are not an object; ``message`` is what follows ``couldn't get version/kind;`` in Kubernetes' answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Decoded(NamedTuple):
    object: Any
    duplicates: list[str]


def decode(data: bytes, content_type: str = "application/json", *, duplicates: bool = False) -> Decoded:
    """Return the JSON value of a body. ``content_type`` decides between JSON and YAML (a body of a YAML type that
    is JSON is read as such). With ``duplicates`` the repeated fields are listed, as ``duplicate field "spec.x"``,
    those of YAML as ``line 2: key "x" already set in map``. Raises ``DecodeError`` and nothing else."""
    if "yaml" in content_type:
        return _decode_yaml(data, duplicates)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DecodeError(_json_error(data, error)) from None
    check_depth(data, value)
    return Decoded(value, find_duplicates(data, value) if duplicates else [])


def _decode_yaml(data: bytes, duplicates: bool) -> Decoded:
    if data[:1] == b"{":
        try:
            decoded = decode(data, duplicates=duplicates)
            if not decoded.duplicates:
                return decoded
        except DecodeError:
            pass  # a YAML flow mapping also begins with a brace
    from sampan.schema import yaml

    try:
        value, repeated = yaml.load(data)
    except yaml.YAMLError as error:
        raise DecodeError(f"error converting YAML to JSON: yaml: {error}") from None
    return Decoded(value, repeated if duplicates else [])


def _json_error(data: bytes, error: orjson.JSONDecodeError) -> str:
    """Word a syntax error as Go's decoder does."""
    text = data.decode("utf-8", "replace")
    rest = text[error.pos :].lstrip() if error.pos <= len(text) else ""
    if "recursion" in error.msg.lower():
        what = "exceeded max depth"
    elif not rest or "unexpected end" in error.msg:
        what = "unexpected end of JSON input"
    else:
        what = f"invalid character {_go_rune(rest[0])} ({error.msg} at offset {error.pos})"
    return f"couldn't get version/kind; json parse error: {what}"


def repeated_keys(lines: list[str]) -> str:
    """Return what the YAML decoder says of keys that are there again."""
    return "yaml: unmarshal errors:\n  " + "\n  ".join(lines)


def summary(data: bytes) -> str:
    """Return the beginning of a body as apimachinery shows it: as text where it looks like JSON, else in hex."""
    if not data:
        return "<empty>"
    more = " ..." if len(data) > SUMMARY_BYTES else ""
    head = data[:SUMMARY_BYTES]
    return (head.decode("utf-8", "replace") if data[:1] == b"{" else head.hex()) + more


def _go_rune(character: str) -> str:
    return "'\\''" if character == "'" else "'\"'" if character == '"' else repr(character)


def check_depth(data: bytes, value: Any) -> None:
    """Raise ``DecodeError`` when a value nests deeper than ``MAX_DEPTH``; shallow bodies cost two counts."""
    brackets = data.count(b"{") + data.count(b"[")
    if brackets > MAX_DEPTH and (nests_deeper(data) if brackets > MANY_BRACKETS else too_deep(value)):
        raise DecodeError("couldn't get version/kind; json parse error: exceeded max depth")


def nests_deeper(data: bytes) -> bool:
    """Whether JSON nests deeper than ``MAX_DEPTH``, by its brackets alone: a tenth of a second for a million of them."""
    brackets = _strings.sub(b"", data).translate(None, _other_bytes)
    return max(accumulate(map(_steps.__getitem__, brackets)), default=0) > MAX_DEPTH


def too_deep(value: Any) -> bool:
    """Whether a value nests deeper than ``MAX_DEPTH``; walks level by level, whatever the depth."""
    level: list[Any] = [value] if isinstance(value, (dict, list)) else []
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        below: list[Any] = []
        for item in level:
            children = item.values() if isinstance(item, dict) else item
            below += [child for child in children if child.__class__ is dict or child.__class__ is list]
        level = below
    return False


_strings = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_other_bytes = bytes(byte for byte in range(256) if byte not in b"[]{}")
_steps = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_spaced_key = re.compile(rb'"[ \t\r\n]+:')


def find_duplicates(data: bytes, value: Any) -> list[str]:
    """Return ``duplicate field "…"`` for the fields that occur twice in the JSON ``data`` that decoded to ``value``."""
    if b"\\u" not in data and data.count(b'":') == orjson.dumps(value).count(b'":') and not _spaced_key.search(data):
        return []
    found: list[str] = []
    try:
        _name_duplicates(json.loads(data, object_pairs_hook=_Pairs), "", found)
    except (ValueError, RecursionError):
        return []
    return found


class _Pairs(list[tuple[str, Any]]):
    """An object whose pairs are kept, repeated ones too."""


def _name_duplicates(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        seen = set()
        for key, item in value:
            here = f"{path}.{key}" if path else key
            if key in seen and len(found) < MAX_DUPLICATES:
                found.append(f'duplicate field "{here}"')
            seen.add(key)
            _name_duplicates(item, here, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _name_duplicates(item, f"{path}[{index}]", found)
