"""JSON values as YAML: what ``sigs.k8s.io/yaml`` would write, but for where it breaks lines. Pure.

Strings are plain where every reader of YAML 1.1 and 1.2 takes them for strings, blocks (``|``) where they have lines, and
otherwise in the quotes of JSON, which are YAML's, too. A general writer of YAML takes 20 times as long. Source: YAML 1.1
(yaml.org/type), YAML 1.2 chapters 7 and 8.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+=,;()-]*(?:[ :][A-Za-z0-9_./@+=,;()-]+)*")
"""Texts that are plain whatever stands around them, but for ``WORDS``: numbers and times begin otherwise."""
WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
LONGEST_KEY = 100
"""Longer ones are written as such: what stands before a colon may have 1,024 characters, and escapes count."""
UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
BLOCK = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\r]*")


def dump(value: Any) -> str:
    """Return a JSON value as a YAML document."""
    lines: list[str] = []
    if isinstance(value, dict) and value:
        _mapping(value, "", "", lines)
    elif isinstance(value, list) and value:
        _sequence(value, "", lines)
    else:
        lines.append(_scalar(value, "") + "\n")
    return "".join(lines)


def item(value: Any) -> str:
    """Return a JSON value as an item of a sequence at the margin."""
    lines: list[str] = []
    _sequence([value], "", lines)
    return "".join(lines)


def _mapping(value: dict[str, Any], first: str, indent: str, lines: list[str]) -> None:
    """Add the lines of a map that is not empty. ``first`` stands before its first key, ``indent`` before the others."""
    before = first
    for key, below in value.items():
        head = f"{before}{_text(key)}:" if len(key) <= LONGEST_KEY else f"{before}? {_quoted(key)}\n{indent}:"
        before = indent
        if below.__class__ is dict and below:
            lines.append(head + "\n")
            _mapping(below, indent + "  ", indent + "  ", lines)
        elif below.__class__ is list and below:
            lines.append(head + "\n")
            _sequence(below, indent, lines)
        else:
            lines.append(f"{head} {_scalar(below, indent)}\n")


def _sequence(value: list[Any], indent: str, lines: list[str]) -> None:
    deeper = indent + "  "
    for below in value:
        if below.__class__ is dict and below:
            _mapping(below, f"{indent}- ", deeper, lines)
        elif below.__class__ is list and below:
            nested: list[str] = []
            _sequence(below, deeper, nested)
            nested[0] = f"{indent}- {nested[0][len(deeper) :]}"
            lines += nested
        else:
            lines.append(f"{indent}- {_scalar(below, indent)}\n")


def _scalar(value: Any, indent: str) -> str:
    kind = value.__class__
    if kind is str:
        return _block(value, indent) if "\n" in value else _text(value)
    if kind is float:
        text = repr(value)
        # YAML 1.1 knows a number by its point
        return text if "." in text or "n" in text else text.replace("e", ".0e")
    return orjson.dumps(value).decode()


def _text(text: str) -> str:
    if PLAIN.fullmatch(text) and text.lower() not in WORDS:
        return text
    return _quoted(text)


def _quoted(text: str) -> str:
    quoted = orjson.dumps(text).decode()
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def _block(text: str, indent: str) -> str:
    lines = text.split("\n")
    if (
        not BLOCK.fullmatch(text)
        or not lines[0]
        or lines[0][0] in " \t"
        or any(line[-1:] in " \t" for line in lines if line)
    ):
        return _quoted(text)
    body = text.rstrip("\n")
    trailing = len(text) - len(body)
    if not body:
        return _quoted(text)
    chomp = "-" if not trailing else "" if trailing == 1 else "+"
    deeper = indent + "  "
    found = "\n".join(f"{deeper}{line}" if line else "" for line in body.split("\n"))
    return f"|{chomp}\n{found}" + "\n" * max(trailing - 1, 0)
