"""Lists: sums, extremes and places (Kubernetes' lists library), sets, and cel-go's ext/lists (1.34)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from itertools import pairwise
from typing import Any

from sampan.schema.cel.arithmetic import add
from sampan.schema.cel.declarations import overload
from sampan.schema.cel.errors import EvaluationError
from sampan.schema.cel.macros import Macros, _map, bound
from sampan.schema.cel.nodes import Call, Ident, Node
from sampan.schema.cel.parser import MacroError
from sampan.schema.cel.values import Duration, Uint, compare, contains, equal, type_name

SUMMABLE = {"int": 0, "uint": Uint(0), "double": 0.0, "duration": Duration(0)}
COMPARABLE = ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")
LONGEST_RANGE = 10_000_000
"""A list of more items would cost more than any call may."""


def _sum(zero: Any) -> Callable[[list[Any]], Any]:
    def run(items: list[Any]) -> Any:
        total = zero
        for item in items:
            total = add(total, item)
        return total

    return run


def _extreme(name: str, sign: int) -> Callable[[list[Any]], Any]:
    def run(items: list[Any]) -> Any:
        if not items:
            raise EvaluationError(f"{name} called on empty list")
        best = items[0]
        for item in items[1:]:
            if compare(best, item) == sign:
                best = item
        return best

    return run


def _is_sorted(items: list[Any]) -> bool:
    return all(compare(one, after) <= 0 for one, after in pairwise(items))


def _index_of(items: list[Any], wanted: Any) -> int:
    return next((index for index, item in enumerate(items) if equal(item, wanted)), -1)


def _last_index_of(items: list[Any], wanted: Any) -> int:
    return next((index for index in range(len(items) - 1, -1, -1) if equal(items[index], wanted)), -1)


def _includes(target: Any, wanted: Any) -> bool:
    return contains(target, wanted) if isinstance(target, list) else equal(target, wanted)


KUBERNETES = [
    *(overload(f"list_{name}_is_sorted_bool", f"list({name}).isSorted() -> bool", _is_sorted) for name in COMPARABLE),
    *(
        overload(f"list_{name}_sum_{name}", f"list({name}).sum() -> {name}", _sum(zero))
        for name, zero in SUMMABLE.items()
    ),
    *(overload(f"list_{name}_max_{name}", f"list({name}).max() -> {name}", _extreme("max", -1)) for name in COMPARABLE),
    *(overload(f"list_{name}_min_{name}", f"list({name}).min() -> {name}", _extreme("min", 1)) for name in COMPARABLE),
    overload("list_a_index_of_int", "list(A).indexOf(A) -> int", _index_of),
    overload("list_a_last_index_of_int", "list(A).lastIndexOf(A) -> int", _last_index_of),
]
INCLUDES = [overload("list_includes_dyn_dyn", "dyn.includes(dyn) -> bool", _includes)]

# sets


def _contains_all(items: list[Any], wanted: list[Any]) -> bool:
    return all(contains(items, item) for item in wanted)


SETS = [
    overload("list_sets_contains_list", "sets.contains(list(T), list(T)) -> bool", _contains_all),
    overload(
        "list_sets_equivalent_list",
        "sets.equivalent(list(T), list(T)) -> bool",
        lambda one, other: _contains_all(one, other) and _contains_all(other, one),
    ),
    overload(
        "list_sets_intersects_list",
        "sets.intersects(list(T), list(T)) -> bool",
        lambda one, other: any(contains(other, item) for item in one),
    ),
]

# cel-go ext/lists


def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    if start < 0 or end < 0:
        raise EvaluationError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise EvaluationError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if len(items) < end:
        raise EvaluationError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return items[start:end]


def _flatten(items: list[Any], depth: int = 1) -> list[Any]:
    if depth < 0:
        raise EvaluationError("level must be non-negative")
    flat = list(items)
    while depth > 0 and any(isinstance(item, list) for item in flat):
        flat = [inner for item in flat for inner in (item if isinstance(item, list) else (item,))]
        depth -= 1
    return flat


def _sorted_by(items: list[Any], keys: list[Any]) -> list[Any]:
    if len(items) != len(keys):
        raise EvaluationError(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got "
            f"{len(items)} and {len(keys)} elements respectively"
        )
    if any(type(key) is not type(keys[0]) for key in keys):
        raise EvaluationError("list elements must have the same type")
    if keys and type_name(keys[0]).rpartition(".")[2].lower() not in COMPARABLE:
        raise EvaluationError("list elements must be comparable")
    in_order = cmp_to_key(compare)
    order = sorted(range(len(keys)), key=lambda index: in_order(keys[index]))
    return [items[index] for index in order]


def _distinct(items: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if not contains(found, item):
            found.append(item)
    return found


def _range(count: int) -> list[int]:
    if count > LONGEST_RANGE:
        raise EvaluationError(f"lists.range({count}) is longer than {LONGEST_RANGE}")
    return list(range(count))


def _sort_by(at: int, target: Node | None, args: list[Node]) -> Node:
    assert target is not None
    if not isinstance(args[0], Ident):
        raise MacroError(args[0].position, "argument is not an identifier")
    name = "@__sortBy_input__"
    keys = _map(at, Ident(at, name), args[0].name, "", args[1:])
    return bound(at, name, target, Call(at, "@sortByAssociatedKeys", [keys], Ident(at, name)))


EXTENDED = [
    overload("list_slice", "list(T).slice(int, int) -> list(T)", _slice),
    overload("list_flatten", "list(list(T)).flatten() -> list(T)", _flatten),
    overload("list_flatten_int", "list(dyn).flatten(int) -> list(dyn)", _flatten),
    *(
        overload(f"list_{name}_sort", f"list({name}).sort() -> list({name})", lambda items: _sorted_by(items, items))
        for name in COMPARABLE
    ),
    *(
        overload(
            f"list_{name}_sortByAssociatedKeys", f"list(T).@sortByAssociatedKeys(list({name})) -> list(T)", _sorted_by
        )
        for name in COMPARABLE
    ),
    overload("lists_range", "lists.range(int) -> list(int)", _range),
    overload("list_reverse", "list(T).reverse() -> list(T)", lambda items: items[::-1]),
    overload("list_distinct", "list(T).distinct() -> list(T)", _distinct),
]
SORT_BY: Macros = {("sortBy", 2, True): _sort_by}
