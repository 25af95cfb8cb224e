"""``int(x)``, ``string(x)`` and the other conversions between CEL's types, with Go's number formats.

Source: the CEL specification, "Type Conversions"; cel-go common/types.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sampan.schema.cel.arithmetic import MAX_TIME, MIN_TIME
from sampan.schema.cel.declarations import overload
from sampan.schema.cel.errors import EvaluationError
from sampan.schema.cel.values import MAX_INT, MAX_UINT, MIN_INT, Duration, Timestamp, TypeValue, Uint, type_name

SECOND = 10**9
UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
_part = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_time = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def conversion_error(source: str, target: str) -> EvaluationError:
    return EvaluationError(f"type conversion error from '{source}' to '{target}'")


def parse_duration(text: str) -> int | None:
    """Return the nanoseconds of a Go duration (``1h30m``, ``-1.5s``), None where it is none or too long."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    if rest == "0":
        return 0
    total, position = 0, 0
    while position < len(rest):
        match = _part.match(rest, position)
        if match is None or not (match[1] or match[2]):
            return None
        unit = UNITS[match[3]]
        total += int(match[1] or 0) * unit
        if match[2]:
            total += int(match[2]) * unit // 10 ** len(match[2])
        position = match.end()
    total *= sign
    return total if rest and MIN_INT <= total <= MAX_INT else None


def parse_timestamp(text: str) -> Timestamp | None:
    """Return an RFC 3339 time, None where it is none; it may be outside of the years that CEL has."""
    match = _time.fullmatch(text)
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{match[1]}T{match[2]}+00:00")
    except ValueError:
        return None
    nanos = int((moment - EPOCH).total_seconds()) * SECOND + int((match[3] or "0")[:9].ljust(9, "0"))
    if match[4] == "Z":
        return Timestamp(nanos)
    hours, minutes = int(match[4][1:3]), int(match[4][4:])
    if hours > 23 or minutes > 59:
        return None
    offset = (1 if match[4][0] == "+" else -1) * (hours * 60 + minutes) * 60
    return Timestamp(nanos - offset * SECOND, offset)


def moment_of(timestamp: Timestamp, zone: Any = UTC) -> datetime:
    return (EPOCH + timedelta(seconds=timestamp.nanos // SECOND)).astimezone(zone)


def format_timestamp(timestamp: Timestamp) -> str:
    offset = timestamp.offset
    moment = EPOCH + timedelta(seconds=timestamp.nanos // SECOND + offset)
    fraction = f".{timestamp.nanos % SECOND:09}".rstrip("0").rstrip(".")
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 3600:02}:{abs(offset) // 60 % 60:02}" if offset else "Z"
    return f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}{fraction}{zone}"


def format_duration(duration: Duration) -> str:
    sign, nanos = ("-" if duration.nanos < 0 else ""), abs(duration.nanos)
    return f"{sign}{nanos // SECOND}" + f".{nanos % SECOND:09}".rstrip("0").rstrip(".") + "s"


def format_double(value: float) -> str:
    """Return a double as Go's ``%g`` writes it."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0") or "0"
    point = len(digits) + int(exponent)
    minus = "-" if sign else ""
    if value == 0:
        return minus + "0"
    power = point - 1
    if not -4 <= power < 6:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        return f"{minus}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02}"
    if point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    return minus + (text.ljust(point, "0") if len(text) <= point else f"{text[:point]}.{text[point:]}")


def _int_of_double(value: float) -> int:
    if not math.isfinite(value) or not -9223372036854775808.0 < value < 9223372036854775807.0:
        raise EvaluationError("integer overflow")
    return int(value)


def _uint_of_double(value: float) -> Uint:
    if not math.isfinite(value) or value < 0 or value >= 18446744073709551615.0:
        raise EvaluationError("unsigned integer overflow")
    return Uint(int(value))


_decimal = re.compile(r"[+-]?[0-9]+", re.ASCII)
_unsigned = re.compile(r"[0-9]+", re.ASCII)
_double = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?|nan)", re.ASCII | re.IGNORECASE
)


def _int_of_string(text: str) -> int:
    if len(text) > 64 or not _decimal.fullmatch(text) or not MIN_INT <= int(text) <= MAX_INT:
        raise conversion_error("string", "int")
    return int(text)


def _uint_of_string(text: str) -> Uint:
    if len(text) > 64 or not _unsigned.fullmatch(text) or int(text) > MAX_UINT:
        raise conversion_error("string", "uint")
    return Uint(int(text))


def _double_of_string(text: str) -> float:
    if len(text) > 4096 or not _double.fullmatch(text) or (text[:1] in "+-" and text[1:].lower() == "nan"):
        raise conversion_error("string", "double")
    value = float(text)
    if math.isinf(value) and text[-1:].isdigit():
        raise conversion_error("string", "double")
    return value


TRUE = frozenset(("true", "TRUE", "True", "t", "1"))
FALSE = frozenset(("false", "FALSE", "False", "f", "0"))


def _bool_of_string(text: str) -> bool:
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise conversion_error("string", "bool")


def _timestamp_of_string(text: str) -> Timestamp:
    moment = parse_timestamp(text)
    if moment is None:
        raise conversion_error("string", "google.protobuf.Timestamp")
    if not MIN_TIME <= moment.nanos <= MAX_TIME:
        raise EvaluationError("timestamp overflow")
    return moment


def _timestamp_of_int(seconds: int) -> Timestamp:
    if not MIN_TIME <= seconds * SECOND <= MAX_TIME:
        raise EvaluationError("timestamp overflow")
    return Timestamp(seconds * SECOND)


def _duration_of_string(text: str) -> Duration:
    nanos = parse_duration(text)
    if nanos is None:
        raise conversion_error("string", "google.protobuf.Duration")
    return Duration(nanos)


def _string_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None


def _uint_of_int(value: int) -> Uint:
    if value < 0:
        raise EvaluationError("unsigned integer overflow")
    return Uint(value)


def _int_of_uint(value: int) -> int:
    if value > MAX_INT:
        raise EvaluationError("integer overflow")
    return int(value)


def same(value: Any) -> Any:
    return value


def _type_of(value: Any) -> TypeValue:
    return TypeValue(type_name(value))


TO_STRING: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false",
    bytes: _string_of_bytes,
    float: format_double,
    Duration: format_duration,
    int: str,
    Uint: lambda value: str(int(value)),
    str: same,
    Timestamp: format_timestamp,
}

CONVERSIONS = [
    overload("type", "type(A) -> type(A)", _type_of),
    overload("to_dyn", "dyn(A) -> dyn", same),
    overload("bool_to_bool", "bool(bool) -> bool", same),
    overload("string_to_bool", "bool(string) -> bool", _bool_of_string),
    overload("bytes_to_bytes", "bytes(bytes) -> bytes", same),
    overload("string_to_bytes", "bytes(string) -> bytes", lambda text: text.encode()),
    overload("double_to_double", "double(double) -> double", same),
    overload("int64_to_double", "double(int) -> double", float),
    overload("string_to_double", "double(string) -> double", _double_of_string),
    overload("uint64_to_double", "double(uint) -> double", float),
    overload("duration_to_duration", "duration(duration) -> duration", same),
    overload("string_to_duration", "duration(string) -> duration", _duration_of_string),
    overload("int64_to_int64", "int(int) -> int", same),
    overload("double_to_int64", "int(double) -> int", _int_of_double),
    overload("duration_to_int64", "int(duration) -> int", lambda duration: duration.nanos),
    overload("string_to_int64", "int(string) -> int", _int_of_string),
    overload("timestamp_to_int64", "int(timestamp) -> int", lambda moment: moment.nanos // SECOND),
    overload("uint64_to_int64", "int(uint) -> int", _int_of_uint),
    overload("string_to_string", "string(string) -> string", same),
    overload("bool_to_string", "string(bool) -> string", TO_STRING[bool]),
    overload("bytes_to_string", "string(bytes) -> string", _string_of_bytes),
    overload("double_to_string", "string(double) -> string", format_double),
    overload("duration_to_string", "string(duration) -> string", format_duration),
    overload("int64_to_string", "string(int) -> string", str),
    overload("timestamp_to_string", "string(timestamp) -> string", format_timestamp),
    overload("uint64_to_string", "string(uint) -> string", TO_STRING[Uint]),
    overload("timestamp_to_timestamp", "timestamp(timestamp) -> timestamp", same),
    overload("int64_to_timestamp", "timestamp(int) -> timestamp", _timestamp_of_int),
    overload("string_to_timestamp", "timestamp(string) -> timestamp", _timestamp_of_string),
    overload("uint64_to_uint64", "uint(uint) -> uint", same),
    overload("double_to_uint64", "uint(double) -> uint", _uint_of_double),
    overload("int64_to_uint64", "uint(int) -> uint", _uint_of_int),
    overload("string_to_uint64", "uint(string) -> uint", _uint_of_string),
]
CONVERTERS = frozenset(("type", "bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "uint"))
"""Functions that are evaluated when the program is made, where their argument is constant."""
