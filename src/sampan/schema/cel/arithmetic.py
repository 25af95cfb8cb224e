"""CEL's operators: 64-bit integers that overflow with an error, IEEE doubles, times and spans, joining.

Each function takes any values and raises ``EvaluationError`` where there is no such overload; the typed ones behind the
overloads skip looking at types. Source: the CEL specification, "Overflow", "Arithmetic".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from sampan.schema.cel.declarations import Overload, overload
from sampan.schema.cel.errors import EvaluationError, no_overload
from sampan.schema.cel.values import (
    MAX_INT,
    MAX_UINT,
    MIN_INT,
    ORDERED,
    Duration,
    MapList,
    SetList,
    Timestamp,
    Uint,
    compare,
    contains,
)

MIN_TIME = -62_135_596_800 * 10**9
MAX_TIME = 253_402_300_799 * 10**9 + 999_999_999
"""The years 1 to 9999, in nanoseconds."""


def checked_int(value: int) -> int:
    if MIN_INT <= value <= MAX_INT:
        return value
    raise EvaluationError("integer overflow")


def checked_uint(value: int) -> Uint:
    if 0 <= value <= MAX_UINT:
        return Uint(value)
    raise EvaluationError("unsigned integer overflow")


def checked_time(nanos: int) -> Timestamp:
    if MIN_TIME <= nanos <= MAX_TIME:
        return Timestamp(nanos)
    raise EvaluationError("timestamp overflow")


def checked_duration(nanos: int) -> Duration:
    if MIN_INT <= nanos <= MAX_INT:
        return Duration(nanos)
    raise EvaluationError("duration overflow")


def add_lists(left: list[Any], right: list[Any]) -> list[Any]:
    if isinstance(left, SetList):
        return SetList([*left, *(item for item in right if not contains(left, item))])
    if isinstance(left, MapList):
        changed = {left.key_of(item): item for item in right}
        known = {left.key_of(item) for item in left}
        merged = [changed.get(left.key_of(item), item) for item in left]
        merged += [item for item in right if left.key_of(item) not in known]
        return MapList(merged, left.keys)
    return left + right


def add(left: Any, right: Any) -> Any:
    kind, other = type(left), type(right)
    if kind is other:
        if kind in (str, bytes):
            return left + right
        if kind is int:
            return checked_int(left + right)
        if kind is Uint:
            return checked_uint(int(left) + int(right))
        if kind is float:
            return left + right
        if kind is Duration:
            return checked_duration(left.nanos + right.nanos)
    if isinstance(left, list) and isinstance(right, list):
        return add_lists(left, right)
    if {kind, other} == {Timestamp, Duration}:
        return checked_time(left.nanos + right.nanos)
    raise no_overload("" if kind in ADDERS or isinstance(left, list) else "_+_")


ARITHMETIC = (int, Uint, float, str, Duration)
"""Types on whose values cel-go has an operator refuse the other side; on others it refuses the operator by name."""

ADDERS = frozenset((int, Uint, float, str, bytes, Timestamp, Duration))


def subtract(left: Any, right: Any) -> Any:
    kind, other = type(left), type(right)
    if kind is other:
        if kind is int:
            return checked_int(left - right)
        if kind is Uint:
            return checked_uint(int(left) - int(right))
        if kind is float:
            return left - right
        if kind in (Duration, Timestamp):
            return checked_duration(left.nanos - right.nanos)
    if kind is Timestamp and other is Duration:
        return checked_time(left.nanos - right.nanos)
    raise no_overload("" if kind in (*ARITHMETIC, Timestamp) else "_-_")


def multiply(left: Any, right: Any) -> Any:
    kind = type(left)
    if kind is type(right):
        if kind is int:
            return checked_int(left * right)
        if kind is Uint:
            return checked_uint(int(left) * int(right))
        if kind is float:
            return left * right
    raise no_overload("" if kind in ARITHMETIC else "_*_")


def divide(left: Any, right: Any) -> Any:
    kind = type(left)
    if kind is type(right):
        if kind is float:
            return _divide_double(left, right)
        if kind in (int, Uint):
            if right == 0:
                raise EvaluationError("division by zero")
            quotient = abs(left) // abs(right)
            if kind is Uint:
                return Uint(quotient)
            return checked_int(quotient if (left < 0) == (right < 0) else -quotient)
    raise no_overload("" if kind in ARITHMETIC else "_/_")


def _divide_double(left: float, right: float) -> float:
    if right:
        return left / right
    if left == 0 or math.isnan(left) or math.isnan(right):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def modulo(left: Any, right: Any) -> Any:
    kind = type(left)
    if kind is type(right) and kind in (int, Uint):
        if right == 0:
            raise EvaluationError("modulus by zero")
        rest = abs(left) % abs(right)
        return Uint(rest) if kind is Uint else checked_int(-rest if left < 0 else rest)
    raise no_overload("" if kind in ARITHMETIC and kind is not float else "_%_")


def negate(value: Any) -> Any:
    if type(value) is int:
        return checked_int(-value)
    if type(value) is float:
        return -value
    if type(value) is Duration:
        return checked_duration(-value.nanos)
    raise no_overload("" if isinstance(value, (bool, str)) else "-_")


def invert(value: Any) -> bool:
    if value is True:
        return False
    if value is False:
        return True
    raise no_overload()


# The typed ones: a value of another type can only be null, and fails in Python (the compiler makes the error of it).


def _add_int(left: int, right: int) -> int:
    total = left + right
    return total if MIN_INT <= total <= MAX_INT else checked_int(total)


def _concatenate(left: Any, right: Any) -> Any:
    return left + right


def _sub_int(left: int, right: int) -> int:
    return checked_int(left - right)


def _less(left: Any, right: Any) -> Any:
    return left < right


def _less_equal(left: Any, right: Any) -> Any:
    return left <= right


def _greater(left: Any, right: Any) -> Any:
    return left > right


def _greater_equal(left: Any, right: Any) -> Any:
    return left >= right


COMPARISONS: dict[str, tuple[str, Callable[[int], bool], Callable[[Any, Any], Any]]] = {
    "_<_": ("less", lambda order: order < 0, _less),
    "_<=_": ("less_equals", lambda order: order <= 0, _less_equal),
    "_>_": ("greater", lambda order: order > 0, _greater),
    "_>=_": ("greater_equals", lambda order: order >= 0, _greater_equal),
}
SCALARS = {"bool": "bool", "int64": "int", "uint64": "uint", "double": "double", "string": "string", "bytes": "bytes"}
CROSS = (
    ("int64", "double"), ("int64", "uint64"), ("uint64", "double"), ("uint64", "int64"), ("double", "int64"),
    ("double", "uint64"),
)  # fmt: skip


def comparison(accepts: Callable[[int], bool], function: str) -> Callable[[Any, Any], bool]:
    """Return an ordering operator over any two values; nothing is in order with NaN."""

    def run(left: Any, right: Any) -> bool:
        if type(left) not in ORDERED and not isinstance(left, (Timestamp, Duration)):
            raise no_overload(function)
        if left != left or right != right:
            compare(0.0 if left != left else left, 0.0 if right != right else right)
            return False
        return accepts(compare(left, right))

    return run


def comparisons(cross: bool) -> list[Overload]:
    """Return the overloads of the orderings; ``cross``: numbers of different types may be compared (since 1.28)."""
    found: list[Overload] = []
    for function, (name, accepts, fast) in COMPARISONS.items():
        generic = comparison(accepts, function)
        for suffix, word in SCALARS.items():
            found.append(overload(f"{name}_{suffix}", f"{function}({word}, {word}) -> bool", fast))
        if cross:
            for left, right in CROSS:
                text = f"{function}({SCALARS[left]}, {SCALARS[right]}) -> bool"
                found.append(overload(f"{name}_{left}_{right}", text, generic))
        for word in ("timestamp", "duration"):
            found.append(overload(f"{name}_{word}", f"{function}({word}, {word}) -> bool", generic))
    return found


OPERATORS = [
    overload("add_bytes", "_+_(bytes, bytes) -> bytes", _concatenate),
    overload("add_double", "_+_(double, double) -> double", _concatenate),
    overload("add_duration_duration", "_+_(duration, duration) -> duration", add),
    overload("add_duration_timestamp", "_+_(duration, timestamp) -> timestamp", add),
    overload("add_timestamp_duration", "_+_(timestamp, duration) -> timestamp", add),
    overload("add_int64", "_+_(int, int) -> int", _add_int),
    overload("add_list", "_+_(list(A), list(A)) -> list(A)", add_lists),
    overload("add_string", "_+_(string, string) -> string", _concatenate),
    overload("add_uint64", "_+_(uint, uint) -> uint", add),
    overload("divide_double", "_/_(double, double) -> double", divide),
    overload("divide_int64", "_/_(int, int) -> int", divide),
    overload("divide_uint64", "_/_(uint, uint) -> uint", divide),
    overload("modulo_int64", "_%_(int, int) -> int", modulo),
    overload("modulo_uint64", "_%_(uint, uint) -> uint", modulo),
    overload("multiply_double", "_*_(double, double) -> double", multiply),
    overload("multiply_int64", "_*_(int, int) -> int", multiply),
    overload("multiply_uint64", "_*_(uint, uint) -> uint", multiply),
    overload("negate_double", "-_(double) -> double", negate),
    overload("negate_int64", "-_(int) -> int", negate),
    overload("subtract_double", "_-_(double, double) -> double", subtract),
    overload("subtract_duration_duration", "_-_(duration, duration) -> duration", subtract),
    overload("subtract_int64", "_-_(int, int) -> int", _sub_int),
    overload("subtract_timestamp_duration", "_-_(timestamp, duration) -> timestamp", subtract),
    overload("subtract_timestamp_timestamp", "_-_(timestamp, timestamp) -> duration", subtract),
    overload("subtract_uint64", "_-_(uint, uint) -> uint", subtract),
    overload("logical_not", "!_(bool) -> bool", invert),
]
DYNAMIC: dict[str, Callable[..., Any]] = {
    "_+_": add,
    "_-_": subtract,
    "_*_": multiply,
    "_/_": divide,
    "_%_": modulo,
    "-_": negate,
    "!_": invert,
    **{function: comparison(accepts, function) for function, (_, accepts, _) in COMPARISONS.items()},
}
"""What an operator does where the types are only known when it is evaluated."""
