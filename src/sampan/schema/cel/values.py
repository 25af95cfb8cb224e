"""The values of expressions as Python's: what JSON has is itself, and classes for what it has not.

int is ``int``, double ``float``, string ``str``, list ``list``, map and declared objects ``dict``, null ``None``. Numbers
are never taken for booleans: every comparison and overload looks at ``type(value)``.
Source: the CEL specification, "Values" and "Equality".
"""

from __future__ import annotations

from typing import Any

from sampan.schema.cel.errors import no_overload

MAX_INT, MIN_INT, MAX_UINT = 2**63 - 1, -(2**63), 2**64 - 1


class Uint(int):
    """An unsigned 64-bit integer."""

    __slots__ = ()


class _Nanoseconds:
    """A number of nanoseconds that is not a number to CEL."""

    __slots__ = ("nanos",)

    def __init__(self, nanos: int) -> None:
        self.nanos = nanos

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.nanos == self.nanos

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.nanos))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.nanos})"


class Timestamp(_Nanoseconds):
    """A moment: nanoseconds since 1970 in UTC; ``offset``: seconds of the zone it was written in, for ``string(x)``."""

    __slots__ = ("offset",)

    def __init__(self, nanos: int, offset: int = 0) -> None:
        super().__init__(nanos)
        self.offset = offset


class Duration(_Nanoseconds):
    """A span of time in nanoseconds, within 64 bits."""

    __slots__ = ()


class Optional:
    """A value that may be missing; ``NONE`` has none."""

    __slots__ = ("present", "value")

    def __init__(self, value: Any, present: bool = True) -> None:
        self.value = value
        self.present = present

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Optional) or self.present != other.present:
            return False
        return not self.present or equal(self.value, other.value)

    def __hash__(self) -> int:
        return hash(self.present)


NONE = Optional(None, False)


class TypeValue:
    """A type as a value (``type(x) == int``)."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeValue) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class Opaque:
    """The base of library values (quantities, addresses): ``type_name`` is their CEL type's; ``bytes_long`` what they
    count for in costs, None where they are one unit."""

    __slots__ = ()
    type_name = ""

    @property
    def bytes_long(self) -> int | None:
        return None


class ObjectValue(dict[str, Any]):
    """An object made in an expression (``Object.spec{replicas: 3}``)."""

    __slots__ = ("type_name",)

    def __init__(self, type_name: str, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.type_name = type_name


class SetList(list[Any]):
    """A list of ``x-kubernetes-list-type: set``: order does not matter, and adding merges."""

    __slots__ = ()


class MapList(list[Any]):
    """A list of ``x-kubernetes-list-type: map``: items are known by their keys; adding overwrites."""

    __slots__ = ("keys",)

    def __init__(self, items: list[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def key_of(self, item: Any) -> tuple[Any, ...]:
        return tuple(item.get(key) for key in self.keys) if isinstance(item, dict) else ()


NUMBERS = frozenset((int, Uint, float))
TYPE_NAMES: dict[type, str] = {
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    list: "list",
    SetList: "list",
    MapList: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeValue: "type",
    Optional: "optional_type",
}


def type_name(value: Any) -> str:
    """Return the name of a value's type."""
    name = TYPE_NAMES.get(type(value))
    if name is not None:
        return name
    if isinstance(value, (Opaque, ObjectValue)):
        return value.type_name
    return "map" if isinstance(value, dict) else type(value).__name__


def equal(left: Any, right: Any) -> bool:
    """CEL's ``==``: numbers by value whatever their types, everything else only with its own type."""
    kind, other = type(left), type(right)
    if kind is other and kind not in (list, dict, SetList, MapList):
        return bool(left == right)
    if kind in NUMBERS:
        return other in NUMBERS and left == right
    if isinstance(left, list):
        return isinstance(right, list) and equal_lists(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and equal_maps(left, right)
    return kind is other and bool(left == right)


def equal_lists(left: list[Any], right: list[Any]) -> bool:
    if len(left) != len(right):
        return False
    if isinstance(left, SetList):
        return all(contains(right, item) for item in left)
    if isinstance(left, MapList):
        known = {left.key_of(item): item for item in right}
        return all(left.key_of(item) in known and equal(item, known[left.key_of(item)]) for item in left)
    return all(equal(mine, yours) for mine, yours in zip(left, right, strict=True))


def equal_maps(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    if len(left) != len(right):
        return False
    return all(key in right and equal(value, right[key]) for key, value in left.items())


def contains(items: list[Any], wanted: Any) -> bool:
    return any(equal(item, wanted) for item in items)


def compare(left: Any, right: Any) -> int:
    """Return -1, 0 or 1; numbers of different types compare by value. Raises ``EvaluationError``."""
    kind, other = type(left), type(right)
    if (kind is other and kind in ORDERED) or (kind in NUMBERS and other in NUMBERS):
        if left == right:
            return 0
        return -1 if left < right else 1
    if kind is other and issubclass(kind, _Nanoseconds):
        return int(left.nanos > right.nanos) - int(left.nanos < right.nanos)
    raise no_overload()


ORDERED = frozenset((bool, int, Uint, float, str, bytes))


def size_of(value: Any) -> int:
    """Return what a value counts for in costs: its length, or 1."""
    if isinstance(value, (str, bytes, list, dict)):
        return len(value)
    if isinstance(value, Optional) and value.present:
        return size_of(value.value)
    if isinstance(value, Opaque):
        return 1 if value.bytes_long is None else value.bytes_long
    return 1


def is_zero(value: Any) -> bool:
    """Whether ``optional.ofNonZeroValue`` takes a value for none."""
    if isinstance(value, _Nanoseconds):
        return value.nanos == 0
    return value is None or (isinstance(value, (bool, int, float, str, bytes, list, dict)) and not value)
