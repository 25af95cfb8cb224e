"""The leaf values of built-in types: what Kubernetes' decoder takes, and how it writes them back.

Each cleaner returns the value as it is stored (quantities canonical, times in UTC seconds) or raises ``Unfit``.
``Unfit.text`` is the decoder's own error; empty means the plain ``cannot unmarshal …`` which needs the field's name.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sampan.schema.quantity import FORMAT_WRONG, QuantityError, canonical_text, parse


class Unfit(Exception):
    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.text = text


PLAIN = Unfit()
RFC3339 = "2006-01-02T15:04:05Z07:00"
RFC3339_MICRO = "2006-01-02T15:04:05.000000Z07:00"


def string(value: Any) -> Any:
    if value.__class__ is str:
        return value
    raise PLAIN


def boolean(value: Any) -> Any:
    if value is True or value is False:
        return value
    raise PLAIN


def int32(value: Any) -> Any:
    if value.__class__ is int and -2147483648 <= value <= 2147483647:
        return value
    raise PLAIN


def int64(value: Any) -> Any:
    if value.__class__ is int and -9223372036854775808 <= value <= 9223372036854775807:
        return value
    raise PLAIN


def double(value: Any) -> Any:
    if value.__class__ is float or value.__class__ is int:
        return value
    raise PLAIN


def int_or_string(value: Any) -> Any:
    if value.__class__ is str:
        return value
    if value.__class__ is int and -2147483648 <= value <= 2147483647:
        return value
    raise Unfit(f"json: cannot unmarshal {json_kind(value)} into Go value of type int32")


def quantity(value: Any) -> Any:
    try:
        if value.__class__ is str:
            return canonical_text(value.strip())
        if value.__class__ is int or value.__class__ is float:
            return str(parse(value))
    except QuantityError as error:
        raise Unfit(str(error)) from None
    raise Unfit(FORMAT_WRONG)


def byte_string(value: Any) -> Any:
    if value.__class__ is not str:
        raise PLAIN
    if "\n" in value or "\r" in value:
        value = value.replace("\n", "").replace("\r", "")
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        raise Unfit(f"illegal base64 data at input byte {_bad_base64(value)}") from None
    return value


_base64 = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)


def _bad_base64(value: str) -> int:
    match = _base64.match(value)
    end = match.end() if match else 0
    return end if end < len(value) else max(0, len(value) // 4 * 4)


_seconds = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)
_time = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


def _moment(value: Any, layout: str) -> datetime:
    if value.__class__ is not str:
        raise Unfit(f"json: cannot unmarshal {json_kind(value)} into Go value of type string")
    match = _time.fullmatch(value)
    if match is None:
        raise Unfit(_time_error(value, layout))
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    micro = ((fraction or "") + "000000")[:6]
    text = f"{year}-{month}-{day}T{int(hour):02d}:{minute}:{second}.{micro}{'+00:00' if zone == 'Z' else zone}"
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        part = "day" if int(month) in range(1, 13) else "month"
        part = part if int(hour) < 24 and int(minute) < 60 and int(second) < 60 else "time of day"
        raise Unfit(f'parsing time "{value}": {part} out of range') from None


def _time_error(value: str, layout: str) -> str:
    parts = (
        ("2006", "[0-9]{4}"), ("-", "-"), ("01", "[0-9]{2}"), ("-", "-"), ("02", "[0-9]{2}"), ("T", "T"),
        ("15", "[0-9]{1,2}"), (":", ":"), ("04", "[0-9]{2}"), (":", ":"), ("05", "[0-9]{2}(?:[.,][0-9]+)?"),
        ("Z07:00", "(?:Z|[+-][0-9]{2}:[0-9]{2})"),
    )  # fmt: skip
    rest = value
    for part, pattern in parts:
        match = re.match(pattern, rest, re.ASCII)
        if match is None:
            return f'parsing time "{value}" as "{layout}": cannot parse "{rest}" as "{part}"'
        rest = rest[match.end() :]
    return f'parsing time "{value}": extra text: "{rest}"'


def time(value: Any) -> Any:
    if value.__class__ is str and _seconds.fullmatch(value):
        try:
            datetime.fromisoformat(value)
            return value
        except ValueError:
            pass  # the slow way names the part that is out of range
    moment = _moment(value, RFC3339)
    return f"{moment.year:04d}" + moment.strftime("-%m-%dT%H:%M:%SZ")


def micro_time(value: Any) -> Any:
    moment = _moment(value, RFC3339_MICRO)
    return f"{moment.year:04d}" + moment.strftime("-%m-%dT%H:%M:%S.%fZ")


def anything(value: Any) -> Any:
    return value


CLEANERS: dict[str, Callable[[Any], Any]] = {
    "string": string,
    "bool": boolean,
    "int32": int32,
    "int64": int64,
    "float64": double,
    "intstr.IntOrString": int_or_string,
    "resource.Quantity": quantity,
    "[]uint8": byte_string,
    "v1.Time": time,
    "v1.MicroTime": micro_time,
    "any": anything,
}
"""By the Go type that the decoder would name."""


def json_kind(value: Any) -> str:
    """Return what Go's decoder calls a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return "number"
    return "array" if isinstance(value, list) else "object"
