"""CEL expressions that choose devices: what they may use, and what keeps one from being written.

``device`` has ``driver``, and ``attributes`` and ``capacity`` by domain and name. The engine is imported with the first
expression. Source: k8s.io/dynamic-resource-allocation cel/compile.go, KEP-4381.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sampan.api.resource import Cause
from sampan.schema.causes import forbidden, invalid
from sampan.schema.remembering import remembered

if TYPE_CHECKING:
    from sampan.schema.cel.environment import Environment

MOST_ENTRIES = 32
"""Attributes and capacities that a device may have together."""

MOST_CHARACTERS = 64
"""Of an attribute that is a string."""

MAX_COST = 1_000_000
"""What one evaluation of a selector may cost."""


class EveryName(dict[str, Any]):
    """The fields of a map whose entries are all alike: what ``map.name`` costs is known, whatever the name."""

    def __init__(self, field: Any) -> None:
        self.field = field

    def __bool__(self) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:
        return self.field


@lru_cache(maxsize=1)
def selector_environment() -> Environment:
    """Return what a selector may use."""
    from sampan.schema.cel import types
    from sampan.schema.cel.declarations import NAMED
    from sampan.schema.cel.declared import Declared, Field, map_type, object_of, scalar
    from sampan.schema.cel.environment import environment

    def entries_of(element: Declared) -> Declared:
        declared = map_type(element, MOST_ENTRIES)
        declared.fields = EveryName(Field("", element))
        return declared

    def by_domain(element: types.Type) -> Declared:
        return entries_of(entries_of(scalar(element, 1, MOST_CHARACTERS)))

    fields = {
        "driver": scalar(types.STRING, 2, 63),
        "attributes": by_domain(types.DYN),
        "capacity": by_domain(NAMED["Quantity"]),
        "allowMultipleAllocations": scalar(types.BOOL, 4),
    }
    device = object_of("kubernetes.DRADevice", {name: (name, type) for name, type in fields.items()})
    return environment(variables={"device": device}, extra=("bindings",))


@remembered(1024, longest=4096)
def problem(expression: str) -> tuple[str, bool]:
    """Return what is wrong with a selector, and whether it is its cost."""
    from sampan.schema.cel import types
    from sampan.schema.cel.admission import plain
    from sampan.schema.cel.errors import CelError
    from sampan.schema.cel.program import compile

    try:
        program = compile(expression, selector_environment())
    except CelError as error:
        return f"compilation failed: {error}", False
    if program.result_type not in (types.BOOL, types.DYN):
        return f"must evaluate to bool or the unknown type, not {plain(program.result_type)}", False
    costly = program.estimated_cost.most > MAX_COST
    return ("too complex, exceeds cost limit", True) if costly else ("", False)


def judged(path: str, expression: str) -> Iterator[Cause]:
    """Yield why a selector is refused."""
    why, costly = problem(expression)
    if costly:
        yield forbidden(path, why)
    elif why:
        yield invalid(path, expression, why)
