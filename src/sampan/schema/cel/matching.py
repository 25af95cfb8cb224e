"""Which overload a call means where the types are only known when it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sampan.schema.cel.declarations import Overload
from sampan.schema.cel.errors import EvaluationError, no_overload
from sampan.schema.cel.nodes import Call
from sampan.schema.cel.types import Type
from sampan.schema.cel.values import Opaque, Optional, type_name

LOOSE = frozenset(("dyn", "param", "error", "null"))
KINDS = {
    "bool": "bool", "int": "int", "uint": "uint", "double": "double", "string": "string", "bytes": "bytes",
    "null": "null_type", "timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration", "type": "type",
}  # fmt: skip
UNNAMED = frozenset(("startsWith", "endsWith", "contains", "matches", "@in", "@not_strictly_false"))
"""Functions whose refusal says no more than ``no such overload``."""

NAMED_ONLY = frozenset(("size",))


def plain_arguments(overload: Overload, kinds: Sequence[str]) -> bool:
    """Whether the checker has seen all that is to be known of the arguments."""
    wanted = [type.kind for type in overload.args]
    return all(kind not in LOOSE or want in LOOSE for kind, want in zip(kinds, wanted, strict=True))


def accepts(type: Type, value: Any) -> bool:
    """Whether a value is of a declared type, looking into lists and maps at their first item."""
    kind = type.kind
    if kind in ("dyn", "param"):
        return True
    if kind == "list":
        return isinstance(value, list) and (not value or accepts(type.params[0], value[0]))
    if kind == "map":
        if not isinstance(value, dict):
            return False
        return not value or all(accepts(p, v) for p, v in zip(type.params, next(iter(value.items())), strict=True))
    if kind == "opaque" and type.name == "optional_type":
        return isinstance(value, Optional) and (not value.present or accepts(type.params[0], value.value))
    if kind in ("object", "opaque"):
        return isinstance(value, Opaque) and value.type_name == type.name
    return type_name(value) == KINDS.get(kind)


def dispatcher(node: Call) -> Callable[..., Any]:
    """Return a function that looks at its arguments and calls the overload that takes them."""
    overloads, name = list(node.overloads), node.function

    def call(*args: Any) -> Any:
        for overload in overloads:
            if all(accepts(type, value) for type, value in zip(overload.args, args, strict=True)):
                return overload.run(*args)
        raise refusal(name, args)

    return call


def refusal(name: str, args: Sequence[Any]) -> EvaluationError:
    if name in UNNAMED:
        return no_overload()
    if name in NAMED_ONLY:
        return no_overload(name)
    return no_overload(f"{name}({', '.join(type_name(value) for value in args)})")
