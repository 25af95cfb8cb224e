"""What calls cost when they are evaluated, in cel-go's units (one is about 50 ns there).

``call_cost`` gives a number, or a function of the arguments and the result. Budgets are part of what Kubernetes
promises, so the units are exactly those of cel-go interpreter/runtimecost.go and apiserver pkg/cel/library/cost.go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from sampan.schema.cel.declarations import Overload
from sampan.schema.cel.types import SCALARS
from sampan.schema.cel.values import Opaque, size_of

STRING_FACTOR = 0.1
REGEX_FACTOR = 0.25
LIST, MAP, OBJECT = 10, 30, 40
"""What making one costs."""

AUTHORIZATION = 350_000
"""A check of an authorizer: two are what one expression may ask."""

CallCost = int | Callable[[Sequence[Any], Any], int]


def scan(size: int, factor: float = STRING_FACTOR) -> int:
    return math.ceil(size * factor)


def _scan_first(args: Sequence[Any], result: Any) -> int:
    return scan(size_of(args[0]))


def _scan_second(args: Sequence[Any], result: Any) -> int:
    return scan(size_of(args[1]))


def _scan_twice(args: Sequence[Any], result: Any) -> int:
    return scan(size_of(args[0]), 2 * STRING_FACTOR)


def _scan_result_twice(args: Sequence[Any], result: Any) -> int:
    return scan(size_of(result), 2 * STRING_FACTOR)


def _scan_both(args: Sequence[Any], result: Any) -> int:
    return scan(size_of(args[0]) + size_of(args[1]))


def _contains(args: Sequence[Any], result: Any) -> int:
    return scan(size_of(args[0])) * scan(size_of(args[1]))


def _regex(args: Sequence[Any], result: Any) -> int:
    return scan(size_of(args[0]) + 1) * scan(size_of(args[1]), REGEX_FACTOR)


def _smaller(args: Sequence[Any], result: Any) -> int:
    return scan(min(size_of(args[0]), size_of(args[1])))


def _equality(args: Sequence[Any], result: Any) -> int:
    return 1 if isinstance(args[0], Opaque) else _smaller(args, result)


def _second_size(args: Sequence[Any], result: Any) -> int:
    return size_of(args[1])


def traversal(value: Any) -> int:
    """What walking through a whole value costs."""
    if isinstance(value, str):
        return int(len(value.encode()) * STRING_FACTOR)
    if isinstance(value, bytes):
        return int(len(value) * STRING_FACTOR)
    if isinstance(value, list):
        return sum(traversal(item) for item in value)
    if isinstance(value, dict):
        return sum(traversal(key) + traversal(item) for key, item in value.items())
    return 1


def _traversal(args: Sequence[Any], result: Any) -> int:
    return traversal(args[0])


def _contains_ip(args: Sequence[Any], result: Any) -> int:
    return scan(2 * size_of(args[0])) + (scan(size_of(args[1])) if isinstance(args[1], str) else 0)


def _contains_cidr(args: Sequence[Any], result: Any) -> int:
    return _contains_ip(args, result) + scan(size_of(args[0])) + 1


def _validate(args: Sequence[Any], result: Any) -> int:
    size = getattr(args[0], "regex_size", 0)
    return scan(size_of(args[1]) + 1) * scan(size, REGEX_FACTOR)


def selector(length: int) -> int:
    requirements = math.ceil(math.ceil(length * 0.5) * (LIST + OBJECT))
    return LIST + scan(length) + requirements


def _selector(args: Sequence[Any], result: Any) -> int:
    return selector(size_of(args[1]))


NOMINAL = (
    "serviceAccount", "path", "group", "resource", "subresource", "namespace", "name", "allowed", "reason", "error",
    "errored", "masked", "prefixLength", "family", "isUnspecified", "isLoopback", "isLinkLocalMulticast",
    "isLinkLocalUnicast", "isGlobalUnicast", "format.named", "sign", "asInteger", "isInteger", "asApproximateFloat",
    "isGreaterThan", "isLessThan", "compareTo", "add", "sub", "major", "minor", "patch", "getScheme", "getHostname",
    "getHost", "getPort", "getEscapedPath", "getQuery",
)  # fmt: skip
BY_FUNCTION: dict[str, CallCost] = {
    **dict.fromkeys(NOMINAL, 1),
    "check": AUTHORIZATION,
    "fieldSelector": _selector,
    "labelSelector": _selector,
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf", "includes"), _traversal),
    **dict.fromkeys(("url", "lowerAscii", "upperAscii", "substring", "trim", "jsonpatch.escapeKey"), _scan_first),
    **dict.fromkeys(("cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver"), _scan_first),
    **dict.fromkeys(("replace", "split", "ip.isCanonical"), _scan_twice),
    "join": _scan_result_twice,
    **dict.fromkeys(("find", "findAll"), _regex),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "validate": _validate,
    "_==_": _equality,
}


def _allocates(factor: float, size: int) -> int:
    return int(size * factor) + 1 + LIST


def _output(args: Sequence[Any], result: Any) -> int:
    return _allocates(1, size_of(result))


def _flatten(args: Sequence[Any], result: Any) -> int:
    return _allocates(args[1] if len(args) == 2 else 1, size_of(args[0]))


def _self_compare(items: list[Any]) -> int:
    factor = 2.0 + (STRING_FACTOR if items and isinstance(items[0], (str, bytes)) else 0)
    return _allocates(factor, len(items) ** 2)


def _sets(factor: int) -> Callable[[Sequence[Any], Any], int]:
    return lambda args, result: 1 + size_of(args[0]) * size_of(args[1]) * factor


BY_OVERLOAD: dict[str, CallCost] = {
    **dict.fromkeys(("starts_with_string", "ends_with_string"), _scan_second),
    **dict.fromkeys(("string_to_bytes", "bytes_to_string"), _scan_first),
    **dict.fromkeys(("strings_quote", "string_format"), _scan_first),
    "in_list": _second_size,
    **{
        f"{name}_{type}": _smaller
        for name in ("less", "greater", "less_equals", "greater_equals")
        for type in ("string", "bytes")
    },
    "not_equals": _smaller,
    **dict.fromkeys(("add_string", "add_bytes"), _scan_both),
    "matches_string": _regex,
    "contains_string": _contains,
    "list_sets_contains_list": _sets(1),
    "list_sets_intersects_list": _sets(1),
    "list_sets_equivalent_list": _sets(2),
    **dict.fromkeys(("list_slice", "lists_range", "list_reverse"), _output),
    **dict.fromkeys(("list_flatten", "list_flatten_int"), _flatten),
    "list_distinct": lambda args, result: _self_compare(args[0]),
}


def _by_overload(overload: Overload) -> CallCost | None:
    if overload.id in BY_OVERLOAD:
        return BY_OVERLOAD[overload.id]
    if overload.function == "sort":
        return lambda args, result: _self_compare(args[0])
    if overload.function == "@sortByAssociatedKeys":
        return lambda args, result: _self_compare(args[1])
    if overload.id == "cidr_ip":
        return 1
    return _scan_first if overload.id == "string_to_ip" else None


EXTENSIONS = ("list_sets_", "list_slice", "lists_range", "list_reverse", "list_flatten", "list_distinct")


def call_cost(function: str, overloads: Sequence[Overload], scalars: bool) -> CallCost:
    """Return what a call costs. ``scalars``: all arguments are known to be numbers, booleans or times."""
    only = overloads[0] if len(overloads) == 1 else None
    if only is not None and only.id.startswith(EXTENSIONS):
        return _by_overload(only) or 1
    if function in ("_==_", "_!=_") and scalars:
        return 1
    if function in BY_FUNCTION:
        return BY_FUNCTION[function]
    if function == "ip":
        return _scan_first if only is None or only.id != "cidr_ip" else 1
    return (_by_overload(only) if only is not None else None) or 1


def all_scalar(kinds: Sequence[str]) -> bool:
    return all(kind in SCALARS for kind in kinds)
