"""Strings: search, cut, split, join, quote, and ``format`` (cel-go ext/strings, up to version 2)."""

from __future__ import annotations

from typing import Any

from sampan.schema.cel.conversions import TO_STRING
from sampan.schema.cel.declarations import overload
from sampan.schema.cel.errors import EvaluationError
from sampan.schema.cel.libraries.formatting import formatted
from sampan.schema.cel.values import type_name

UPPER = {character: character - 32 for character in range(ord("a"), ord("z") + 1)}
LOWER = {character: character + 32 for character in range(ord("A"), ord("Z") + 1)}
SPACE = "\t\n\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
QUOTED = str.maketrans(
    {
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
        "\\": "\\\\",
        '"': '\\"',
    }
)


def _in_range(index: int, text: str) -> int:
    if 0 <= index <= len(text):
        return index
    raise EvaluationError(f"index out of range: {index}")


def _char_at(text: str, index: int) -> str:
    return text[_in_range(index, text) : index + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if start < 0:
        raise EvaluationError(f"index out of range: {start}")
    if not part:
        return min(start, len(text))
    return text.find(part, start) if start < len(text) else -1


def _last_index_of(text: str, part: str) -> int:
    return text.rfind(part)


def _last_index_before(text: str, part: str, last: int) -> int:
    if last < 0:
        raise EvaluationError(f"index out of range: {last}")
    if not part:
        return min(last, len(text))
    return text.rfind(part, 0, last + len(part)) if last < len(text) else -1


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    return text.replace(old, new, count if count >= 0 else -1)


def _split(text: str, separator: str, count: int = -1) -> list[str]:
    if count == 0:
        return []
    if separator:
        return text.split(separator, count - 1 if count > 0 else -1)
    return list(text) if count < 0 or count >= len(text) else [*text[: count - 1], text[count - 1 :]]


def _substring(text: str, start: int) -> str:
    return text[_in_range(start, text) :]


def _substring_range(text: str, start: int, end: int) -> str:
    if start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    return text[_in_range(start, text) : _in_range(end, text)]


def _join(items: list[Any], separator: str = "") -> str:
    for item in items:
        if not isinstance(item, str):
            shown = TO_STRING.get(type(item), lambda value: type_name(value))(item)
            raise EvaluationError(f"join: invalid input: {shown}")
    return separator.join(items)


def quoted(text: str) -> str:
    return f'"{text.translate(QUOTED)}"'


BASE = [
    overload("string_char_at_int", "string.charAt(int) -> string", _char_at),
    overload("string_index_of_string", "string.indexOf(string) -> int", _index_of),
    overload("string_index_of_string_int", "string.indexOf(string, int) -> int", _index_of),
    overload("string_last_index_of_string", "string.lastIndexOf(string) -> int", _last_index_of),
    overload("string_last_index_of_string_int", "string.lastIndexOf(string, int) -> int", _last_index_before),
    overload("string_lower_ascii", "string.lowerAscii() -> string", lambda text: text.translate(LOWER)),
    overload("string_replace_string_string", "string.replace(string, string) -> string", _replace),
    overload("string_replace_string_string_int", "string.replace(string, string, int) -> string", _replace),
    overload("string_split_string", "string.split(string) -> list(string)", _split),
    overload("string_split_string_int", "string.split(string, int) -> list(string)", _split),
    overload("string_substring_int", "string.substring(int) -> string", _substring),
    overload("string_substring_int_int", "string.substring(int, int) -> string", _substring_range),
    overload("string_trim", "string.trim() -> string", lambda text: text.strip(SPACE)),
    overload("string_upper_ascii", "string.upperAscii() -> string", lambda text: text.translate(UPPER)),
    overload("list_join", "list(string).join() -> string", _join),
    overload("list_join_string", "list(string).join(string) -> string", _join),
]
WITH_FORMAT = [
    overload("string_format", "string.format(list(dyn)) -> string", formatted),
    overload("strings_quote", "strings.quote(string) -> string", quoted),
]
