"""The standard functions that are no operators or conversions: size, in, strings, times, optionals.

Source: the CEL specification, "Functions"; cel-go common/stdlib, cel/library.go.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from sampan.schema.cel.conversions import SECOND, moment_of
from sampan.schema.cel.declarations import overload
from sampan.schema.cel.errors import EvaluationError
from sampan.schema.cel.values import NONE, Duration, Optional, Timestamp, contains, equal, is_zero
from sampan.schema.patterns import Pattern, PatternError, compile_pattern


def pattern(text: str) -> Pattern:
    """Return a compiled RE2 pattern. Raises ``EvaluationError``."""
    try:
        return compile_pattern(text)
    except PatternError as error:
        raise EvaluationError(str(error)) from None


def matches(text: str, regex: str) -> bool:
    return pattern(regex).search(text)


def _in_map(key: Any, values: dict[Any, Any]) -> bool:
    return has_key(values, key)


def has_key(values: dict[Any, Any], key: Any) -> bool:
    """Whether a map has a key; true and 1 are different keys, though not to Python."""
    try:
        if key not in values:
            return False
    except TypeError:
        return False
    return type(key) is str or any(equal(key, known) for known in values) if type(key) in (bool, int) else True


def unequal(left: Any, right: Any) -> bool:
    return not equal(left, right)


def inside(wanted: Any, items: list[Any]) -> bool:
    return contains(items, wanted)


# times


def zone(name: str) -> tzinfo:
    """Return a time zone by its name or by its offset (``+02:00``). Raises ``EvaluationError``."""
    if ":" not in name:
        try:
            return UTC if name in ("", "UTC") else ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            raise EvaluationError(f"unknown time zone {name}") from None
    sign = -1 if name.startswith("-") else 1
    hours, _, minutes = name.lstrip("+-").partition(":")
    try:
        return timezone(sign * timedelta(hours=int(hours), minutes=int(minutes)))
    except ValueError:
        raise EvaluationError(f"unknown time zone {name}") from None


PARTS: dict[str, tuple[str, Callable[[datetime], int]]] = {
    "getFullYear": ("year", lambda moment: moment.year),
    "getMonth": ("month", lambda moment: moment.month - 1),
    "getDayOfYear": ("day_of_year", lambda moment: moment.timetuple().tm_yday - 1),
    "getDayOfMonth": ("day_of_month", lambda moment: moment.day - 1),
    "getDate": ("day_of_month_1_based", lambda moment: moment.day),
    "getDayOfWeek": ("day_of_week", lambda moment: moment.isoweekday() % 7),
    "getHours": ("hours", lambda moment: moment.hour),
    "getMinutes": ("minutes", lambda moment: moment.minute),
    "getSeconds": ("seconds", lambda moment: moment.second),
}
SPANS = {
    "getHours": ("hours", 3600 * SECOND),
    "getMinutes": ("minutes", 60 * SECOND),
    "getSeconds": ("seconds", SECOND),
    "getMilliseconds": ("milliseconds", 10**6),
}


def _part(read: Callable[[datetime], int]) -> tuple[Callable[[Timestamp], int], Callable[[Timestamp, str], int]]:
    return (lambda moment: read(moment_of(moment))), (lambda moment, name: read(_in_zone(moment, name)))


def _in_zone(moment: Timestamp, name: str) -> datetime:
    try:
        return moment_of(moment, zone(name))
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None


def _truncated(unit: int) -> Callable[[Duration], int]:
    return lambda span: abs(span.nanos) // unit * (-1 if span.nanos < 0 else 1)


def _milliseconds(moment: Timestamp, zone_name: str = "") -> int:
    return moment.nanos % SECOND // 10**6


TIMES = [
    item
    for name, (id, read) in PARTS.items()
    for at, in_zone in (_part(read),)
    for item in (
        overload(f"timestamp_to_{id}", f"timestamp.{name}() -> int", at),
        overload(f"timestamp_to_{id}_with_tz", f"timestamp.{name}(string) -> int", in_zone),
    )
]
TIMES += [
    overload(f"duration_to_{id}", f"duration.{name}() -> int", _truncated(unit)) for name, (id, unit) in SPANS.items()
]
TIMES += [
    overload("timestamp_to_milliseconds", "timestamp.getMilliseconds() -> int", _milliseconds),
    overload("timestamp_to_milliseconds_with_tz", "timestamp.getMilliseconds(string) -> int", _milliseconds),
]

# optionals


def _value(optional: Optional) -> Any:
    if not optional.present:
        raise EvaluationError("optional.none() dereference")
    return optional.value


def _unwrap(items: list[Any]) -> list[Any]:
    return [item.value for item in items if item.present]


OPTIONALS = [
    overload("optional_of", "optional.of(V) -> optional(V)", Optional),
    overload(
        "optional_ofNonZeroValue",
        "optional.ofNonZeroValue(V) -> optional(V)",
        lambda value: NONE if is_zero(value) else Optional(value),
    ),
    overload("optional_none", "optional.none() -> optional(V)", lambda: NONE),
    overload("optional_value", "optional(V).value() -> V", _value),
    overload("optional_hasValue", "optional(V).hasValue() -> bool", lambda optional: optional.present),
    overload(
        "optional_or_optional",
        "optional(V).or(optional(V)) -> optional(V)",
        lambda one, other: one if one.present else other,
    ),
    overload(
        "optional_orValue_value", "optional(V).orValue(V) -> V", lambda one, other: one.value if one.present else other
    ),
    overload("list_optindex_optional_int", "_[?_](list(V), int) -> optional(V)", lambda *_: NONE),
    overload("optional_list_optindex_optional_int", "_[?_](optional(list(V)), int) -> optional(V)", lambda *_: NONE),
    overload("map_optindex_optional_value", "_[?_](map(K, V), K) -> optional(V)", lambda *_: NONE),
    overload("optional_map_optindex_optional_value", "_[?_](optional(map(K, V)), K) -> optional(V)", lambda *_: NONE),
    overload("optional_list_index_int", "_[_](optional(list(V)), int) -> optional(V)", lambda *_: NONE),
    overload("optional_map_index_value", "_[_](optional(map(K, V)), K) -> optional(V)", lambda *_: NONE),
    overload("list_first", "list(V).first() -> optional(V)", lambda items: Optional(items[0]) if items else NONE),
    overload("list_last", "list(V).last() -> optional(V)", lambda items: Optional(items[-1]) if items else NONE),
    overload("optional_unwrap", "optional.unwrap(list(optional(V))) -> list(V)", _unwrap),
    overload("optional_unwrapOpt", "list(optional(V)).unwrapOpt() -> list(V)", _unwrap),
]
"""Selections and conditionals that have closures of their own (``compiler.py``) are only declared here."""

STANDARD = [
    overload("conditional", "_?_:_(bool, A, A) -> A", lambda *_: None),
    overload("logical_and", "_&&_(bool, bool) -> bool", lambda *_: None),
    overload("logical_or", "_||_(bool, bool) -> bool", lambda *_: None),
    overload("not_strictly_false", "@not_strictly_false(bool) -> bool", lambda value: value is not False),
    overload("equals", "_==_(A, A) -> bool", equal),
    overload("not_equals", "_!=_(A, A) -> bool", unequal),
    overload("index_list", "_[_](list(A), int) -> A", lambda *_: None),
    overload("index_map", "_[_](map(A, B), A) -> B", lambda *_: None),
    overload("in_list", "@in(A, list(A)) -> bool", inside),
    overload("in_map", "@in(A, map(A, B)) -> bool", _in_map),
    overload("size_bytes", "size(bytes) -> int", len),
    overload("bytes_size", "bytes.size() -> int", len),
    overload("size_list", "size(list(A)) -> int", len),
    overload("list_size", "list(A).size() -> int", len),
    overload("size_map", "size(map(A, B)) -> int", len),
    overload("map_size", "map(A, B).size() -> int", len),
    overload("size_string", "size(string) -> int", len),
    overload("string_size", "string.size() -> int", len),
    overload("contains_string", "string.contains(string) -> bool", lambda text, part: part in text),
    overload("ends_with_string", "string.endsWith(string) -> bool", lambda text, end: text.endswith(end)),
    overload("starts_with_string", "string.startsWith(string) -> bool", lambda text, start: text.startswith(start)),
    overload("matches", "matches(string, string) -> bool", matches),
    overload("matches_string", "string.matches(string) -> bool", matches),
    *TIMES,
]


def _insert(values: dict[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    if has_key(values, key):
        raise EvaluationError(f"insert failed: key {key} already exists")
    return {**values, key: value}


def _merge(values: dict[Any, Any], more: dict[Any, Any]) -> dict[Any, Any]:
    for key, value in more.items():
        values = _insert(values, key, value)
    return values


MAP_INSERT = [
    overload("@mapInsert_map_key_value", "cel.@mapInsert(map(K, V), K, V) -> map(K, V)", _insert),
    overload("@mapInsert_map_map", "cel.@mapInsert(map(K, V), map(K, V)) -> map(K, V)", _merge),
]
