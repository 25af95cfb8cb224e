"""The syntax tree of an expression: what the parser makes, the checker annotates and the compiler turns into closures.

``position`` is where errors point to. The checker fills ``type`` (of every node), ``overloads`` (of calls) and
``reference`` (of names that are a variable, a type or an enum value).
"""

from __future__ import annotations

from typing import Any

from sampan.schema.cel.types import Type


class Node:
    """Any expression. ``depth`` counts the levels below it, so that none of the walks can recurse without end."""

    __slots__ = ("depth", "position", "type")
    depth: int
    type: Type

    def __init__(self, position: int, *children: Node) -> None:
        self.position = position
        self.depth = 1 + max((child.depth for child in children), default=0)


class Literal(Node):
    __slots__ = ("value",)

    def __init__(self, position: int, value: Any) -> None:
        super().__init__(position)
        self.value = value


class Ident(Node):
    """A name. After checking, ``name`` may be qualified (``a.b`` resolved as one variable)."""

    __slots__ = ("constant", "name")

    def __init__(self, position: int, name: str) -> None:
        super().__init__(position)
        self.name = name
        self.constant: Any = None
        """What the name stands for where it is not a variable: a type."""


class Select(Node):
    """``operand.field``; ``test`` is ``has(operand.field)``; ``resolved`` takes its place when it names a variable.
    ``field`` is the name in JSON once it is checked, ``key`` as it was written."""

    __slots__ = ("field", "key", "operand", "resolved", "test")

    def __init__(self, position: int, operand: Node, field: str, test: bool = False) -> None:
        super().__init__(position, operand)
        self.operand = operand
        self.field = self.key = field
        self.test = test
        self.resolved: Ident | None = None


class Call(Node):
    """A function, method, operator. ``overloads`` are those that may apply; ``target`` is None for functions."""

    __slots__ = ("args", "function", "overloads", "target")

    def __init__(self, position: int, function: str, args: list[Node], target: Node | None = None) -> None:
        super().__init__(position, *args, *([target] if target is not None else []))
        self.function = function
        self.args = args
        self.target = target
        self.overloads: list[Any] = []


class ListNode(Node):
    """``[a, ?b]``; ``optional`` holds the places of the optional ones."""

    __slots__ = ("elements", "optional")

    def __init__(self, position: int, elements: list[Node], optional: frozenset[int] = frozenset()) -> None:
        super().__init__(position, *elements)
        self.elements = elements
        self.optional = optional


class Entry:
    """``key: value`` of a map (``key`` a node) or of an object (``key`` a name)."""

    __slots__ = ("key", "optional", "position", "value")

    def __init__(self, position: int, key: Any, value: Node, optional: bool) -> None:
        self.position = position
        self.key = key
        self.value = value
        self.optional = optional


class MapNode(Node):
    __slots__ = ("entries",)

    def __init__(self, position: int, entries: list[Entry]) -> None:
        super().__init__(position, *(entry.key for entry in entries), *(entry.value for entry in entries))
        self.entries = entries


class Struct(Node):
    """``Name{field: value}``; after checking ``name`` is the declared type's."""

    __slots__ = ("fields", "name")

    def __init__(self, position: int, name: str, fields: list[Entry]) -> None:
        super().__init__(position, *(field.value for field in fields))
        self.name = name
        self.fields = fields


class Comprehension(Node):
    """A macro's loop: ``accu`` begins as ``init``; while ``condition``, each item makes it ``step``; then ``result``.
    ``macro`` names what made it, for which there are faster closures than the general loop."""

    __slots__ = ("accu", "condition", "init", "macro", "range", "result", "step", "var", "var2")

    def __init__(
        self,
        position: int,
        range: Node,
        var: str,
        var2: str,
        accu: str,
        init: Node,
        condition: Node,
        step: Node,
        result: Node,
        macro: str = "",
    ) -> None:
        super().__init__(position, range, init, condition, step, result)
        self.range = range
        self.var = var
        self.var2 = var2
        self.accu = accu
        self.init = init
        self.condition = condition
        self.step = step
        self.result = result
        self.macro = macro
