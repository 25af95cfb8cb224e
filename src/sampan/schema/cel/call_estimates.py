"""Ranges, and what calls may cost: the functions that do not simply cost one.

Source: cel-go checker/cost.go, ext/{sets,lists}.go; apiserver pkg/cel/library/cost.go. Changing a number here changes
which rules may be written.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from sampan.schema.cel.nodes import Call, Literal, Node
from sampan.schema.cel.runtime_costs import AUTHORIZATION, LIST, NOMINAL, OBJECT

if TYPE_CHECKING:
    from sampan.schema.cel.estimates import Estimator

CAP = 2**64 - 1


class Range(NamedTuple):
    """A least and a most, both capped at 2^64-1."""

    low: int
    high: int

    def __add__(self, other: Range) -> Range:  # type: ignore[override]
        return Range(min(self.low + other.low, CAP), min(self.high + other.high, CAP))

    def __mul__(self, other: Range) -> Range:  # type: ignore[override]
        return Range(min(self.low * other.low, CAP), min(self.high * other.high, CAP))

    def union(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))

    def factor(self, per_unit: float) -> Range:
        return Range(_factor(self.low, per_unit), _factor(self.high, per_unit))


def _factor(amount: int, per_unit: float) -> int:
    exact = float(amount)
    if exact > 0 and per_unit > 0 and exact > 2.0**64 / per_unit:
        return CAP
    return min(math.ceil(exact * per_unit), CAP)


def exactly(amount: int) -> Range:
    return Range(amount, amount)


def at_most(amount: int) -> Range:
    return Range(0, amount)


UNKNOWN = Range(0, CAP)
ONE = exactly(1)


class CallEstimate(NamedTuple):
    cost: Range
    size: Range | None = None


Estimate = Callable[["Estimator", Call, str], "CallEstimate | None"]


def call(estimator: Estimator, node: Call, overload: str) -> CallEstimate | None:
    """Return what one overload of a call costs beside its arguments; None: nothing special."""
    make = EXTENSIONS.get(overload) or (_sort if overload.endswith(("_sort", "_sortByAssociatedKeys")) else None)
    if make is None:
        make = BY_FUNCTION.get(node.function)
    found = make(estimator, node, overload) if make is not None else None
    if found is None and overload in BY_OVERLOAD:
        return BY_OVERLOAD[overload](estimator, node, overload)
    return found


def _size(estimator: Estimator, node: Node) -> Range:
    return estimator.size_or_unknown(node)


def _target(estimator: Estimator, node: Call) -> Range:
    return _size(estimator, node.target) if node.target is not None else UNKNOWN


def _fixed(amount: int) -> Estimate:
    found = CallEstimate(exactly(amount))
    return lambda estimator, node, overload: found


def _selector(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    length = _size(estimator, node.args[0])
    return CallEstimate(exactly(LIST) + length.factor(0.1) + length.factor(0.5).factor(LIST + OBJECT))


def _each_item(estimator: Estimator, node: Call, overload: str) -> CallEstimate | None:
    if node.target is None:
        return None
    size = _target(estimator, node)
    if not node.target.type.params:
        return CallEstimate(size if node.function == "includes" else size.factor(0.1))
    item = ONE
    if node.target.type.params[0].kind in ("string", "bytes"):
        item = item + estimator.item_size(node.target).factor(0.1)
    return CallEstimate(size * item)


def _scan_arg(keeps_size: bool, factor: float = 0.1) -> Estimate:
    def make(estimator: Estimator, node: Call, overload: str) -> CallEstimate | None:
        if not node.args:
            return None
        size = _size(estimator, node.args[0])
        return CallEstimate(size.factor(factor), size if keeps_size else None)

    return make


def _scan_target(estimator: Estimator, node: Call, overload: str) -> CallEstimate | None:
    if node.target is None:
        return None
    size = _target(estimator, node)
    return CallEstimate(size.factor(0.1), size)


def _replace(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    size = _target(estimator, node)
    old, new = _size(estimator, node.args[0]), _size(estimator, node.args[1])
    most, kept_most = _replaced(size.high, old.low, new.high <= old.low)
    least, kept_least = _replaced(size.low, old.high, old.high <= new.low)
    result = Range(least, most) * new + Range(kept_least, kept_most)
    return CallEstimate(size.factor(0.2), result)


def _replaced(size: int, old: int, unchanged: bool) -> tuple[int, int]:
    """Return how often a text of ``old`` characters may be replaced in one of ``size``, and how much of it stays."""
    if old == 0:
        return min(size + 1, CAP), size
    if unchanged:
        return 0, size
    return math.ceil(float(size) / float(old)), 0


def _split(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    size = _target(estimator, node)
    most = size.high
    if len(node.args) > 1 and isinstance(node.args[1], Literal) and type(node.args[1].value) is int:
        most = node.args[1].value % (CAP + 1)
    return CallEstimate(size.factor(0.2), at_most(most))


def _join(estimator: Estimator, node: Call, overload: str) -> CallEstimate | None:
    if node.target is None:
        return None
    count = _target(estimator, node)
    size = count * estimator.item_size(node.target) if node.target.type.params else exactly(0)
    if node.args:
        gaps = Range(max(count.low - 1, 0), max(count.high - 1, 0))
        size = size + _size(estimator, node.args[0]) * gaps
    return CallEstimate(size.factor(0.1), size)


def _find(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    size = _target(estimator, node)
    cost = (size + ONE).factor(0.1) * _size(estimator, node.args[0]).factor(0.25)
    return CallEstimate(cost, at_most(size.high))


def _ip(estimator: Estimator, node: Call, overload: str) -> CallEstimate | None:
    return CallEstimate(ONE) if overload == "cidr_ip" else _scan_arg(False)(estimator, node, overload)


ADDRESS = Range(4, 16)
"""Bytes of an IPv4 or IPv6 address."""


def _contains_ip(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    cost = (ADDRESS + ADDRESS).factor(0.1)
    if overload == "cidr_contains_ip_string":
        cost = cost + _size(estimator, node.args[0]).factor(0.1)
    return CallEstimate(cost)


def _contains_cidr(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    cost = (ADDRESS + ADDRESS).factor(0.1) + ADDRESS.factor(0.1) + ONE
    if overload == "cidr_contains_cidr_string":
        cost = cost + _size(estimator, node.args[0]).factor(0.1)
    return CallEstimate(cost)


def _validate(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    return CallEstimate(_size(estimator, node.args[0]).factor(0.1).factor(128 * 0.25))


UNIT_EQUALITY = frozenset(
    (
        "net.IP", "net.CIDR", "kubernetes.Quantity", "kubernetes.Semver", "kubernetes.authorization.Authorizer",
        "kubernetes.authorization.PathCheck", "kubernetes.authorization.GroupCheck",
        "kubernetes.authorization.ResourceCheck", "kubernetes.authorization.Decision",
    )
)  # fmt: skip


def _equals(estimator: Estimator, node: Call, overload: str) -> CallEstimate | None:
    left, right = node.args[0].type, node.args[1].type
    if left != right:
        return None
    if left.name in UNIT_EQUALITY:
        return CallEstimate(ONE)
    if left.name == "kubernetes.NamedFormat":
        return CallEstimate(Range(1, 64).factor(0.1))
    if left.name == "kubernetes.URL":
        size = estimator.size(node.args[1]) or ONE
        return CallEstimate(Range(1, size.high).factor(0.1))
    return None


def _smaller(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    most = min(_size(estimator, node.args[0]).high, _size(estimator, node.args[1]).high)
    return CallEstimate(Range(1 if most > 0 else 0, most).factor(0.1))


def _matches(estimator: Estimator, node: Call, overload: str) -> CallEstimate | None:
    if node.target is None:
        return None
    cost = (_target(estimator, node) + ONE).factor(0.1) * _size(estimator, node.args[0]).factor(0.25)
    return CallEstimate(cost)


def _contains(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    return CallEstimate(_target(estimator, node).factor(0.1) * _size(estimator, node.args[0]).factor(0.1))


def _format(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    return CallEstimate(_target(estimator, node).factor(0.1))


def _to_bytes(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    size = _size(estimator, node.args[0])
    return CallEstimate(size.factor(0.1), Range(size.low, (size.high * 4) % (CAP + 1)))


def _to_text(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    size = _size(estimator, node.args[0])
    return CallEstimate(size.factor(0.1), Range(size.low // 4, size.high))


def _quote(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    size = _size(estimator, node.args[0])
    return CallEstimate(size.factor(0.1), Range(size.low + 2, (size.high * 2 + 2) % (CAP + 1)))


def _in_list(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    return CallEstimate(_size(estimator, node.args[1]))


# sets, and cel-go's lists


def _sets(factor: int) -> Estimate:
    def make(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
        sizes = _size(estimator, node.args[0]) * _size(estimator, node.args[1])
        return CallEstimate(sizes.factor(factor) + ONE)

    return make


def _allocates(factor: float, size: Range) -> CallEstimate:
    return CallEstimate(size.factor(factor) + ONE + exactly(LIST), size)


def _number(node: Node, otherwise: int) -> int:
    if isinstance(node, Literal) and type(node.value) is int:
        return max(node.value, 0)
    return otherwise


def _slice(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    end = _number(node.args[1], _target(estimator, node).high)
    return _allocates(1, exactly((end - _number(node.args[0], 0)) % (CAP + 1)))


def _range(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    return _allocates(1, exactly(_number(node.args[0], CAP)))


def _reverse(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    return _allocates(1, _target(estimator, node))


def _flatten(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    depth = _number(node.args[0], CAP) if node.args else 1
    return _allocates(float(depth), _target(estimator, node))


def _distinct(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    size = _target(estimator, node)
    return _allocates(2.0, size * size)


def _sort(estimator: Estimator, node: Call, overload: str) -> CallEstimate:
    size = _target(estimator, node) if node.function == "sort" else _size(estimator, node.args[0])
    factor = 2.1 if overload.startswith(("list_string", "list_bytes")) else 2.0
    return _allocates(factor, size * size)


EXTENSIONS: dict[str, Estimate] = {
    "list_sets_contains_list": _sets(1),
    "list_sets_intersects_list": _sets(1),
    "list_sets_equivalent_list": _sets(2),
    "list_slice": _slice,
    "lists_range": _range,
    "list_reverse": _reverse,
    "list_flatten": _flatten,
    "list_flatten_int": _flatten,
    "list_distinct": _distinct,
}
BY_FUNCTION: dict[str, Estimate] = {
    **dict.fromkeys(NOMINAL, _fixed(1)),
    "check": _fixed(AUTHORIZATION),
    "fieldSelector": _selector,
    "labelSelector": _selector,
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf", "includes"), _each_item),
    **dict.fromkeys(("url", "jsonpatch.escapeKey"), _scan_arg(True)),
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), _scan_target),
    "replace": _replace,
    "split": _split,
    "join": _join,
    **dict.fromkeys(("find", "findAll"), _find),
    **dict.fromkeys(("cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver"), _scan_arg(False)),
    "ip": _ip,
    "ip.isCanonical": _scan_arg(False, 0.2),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "validate": _validate,
    "_==_": _equals,
}
BY_OVERLOAD: dict[str, Estimate] = {
    "string_format": _format,
    "string_to_bytes": _to_bytes,
    "bytes_to_string": _to_text,
    "strings_quote": _quote,
    **dict.fromkeys(("starts_with_string", "ends_with_string"), _scan_arg(False)),
    "in_list": _in_list,
    "matches_string": _matches,
    "contains_string": _contains,
    **dict.fromkeys(("equals", "not_equals"), _smaller),
    **{
        f"{name}_{type}": _smaller
        for name in ("less", "greater", "less_equals", "greater_equals")
        for type in ("string", "bytes")
    },
}
