"""What a plugin's own data are to ``quick.py``: as they live, so they were measured; and small things about the source."""

from __future__ import annotations

import ast
import ipaddress
import types
from collections.abc import Iterator
from typing import Any

from sampan.gateway.plugins.quick_calls import CALLED, NUMBER, OWNED, SHORT, TABLE, TEXT, VALUE

STATIC = (type(None), bool, int, float, str, bytes)
LARGEST_TABLE, LARGEST_OWNED = 2_000_000, 1000
"""In elements, those of elements included."""
HANDFUL = 10
"""So many of the plugin's own may be gone over for each object of a document."""
SHORT_CHARACTERS = 64
LARGEST_POWER = 1024


class NotShown(Exception):
    """Something of a hook of which it is not shown that it is quick."""

    def __init__(self, text: str, node: ast.AST | None = None) -> None:
        super().__init__(text)
        self.text, self.line = text, getattr(node, "lineno", 0)


def elements_of(value: Any) -> int:
    """Return how much plain data something is, through and through; 0 where it is none, or too much."""
    count, stack = 0, [value]
    while stack and count < LARGEST_TABLE:
        one, count = stack.pop(), count + 1
        if type(one) is dict:
            stack += [*one.keys(), *one.values()]
        elif type(one) in (list, tuple, set, frozenset):
            stack += one
        elif type(one) not in STATIC and not isinstance(one, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
            return 0
    return 0 if stack else count


def kind_of(value: Any, node: ast.expr) -> str:
    """Return what a name outside the function is. Raises ``NotShown``."""
    count = elements_of(value)
    if not count:
        raise NotShown(f"{ast.unparse(node)} is no plain data", node)
    if count > LARGEST_OWNED:
        return TABLE
    if value is None:
        return VALUE
    if isinstance(value, (str, bytes)):
        return SHORT if len(value) <= SHORT_CHARACTERS else TEXT
    return NUMBER if isinstance(value, (int, float)) else OWNED


def are_short(values: Any, *, with_pairs: bool = False) -> bool:
    """Return whether all that is in a collection of the plugin's own is a number, nothing, or short text (or pairs of it)."""
    if not isinstance(values, (dict, list, tuple, set, frozenset)):
        return False
    if with_pairs:
        return all(is_short(one) or (type(one) is tuple and all(map(is_short, one))) for one in values)
    return all(is_short(one) for one in (values.values() if isinstance(values, dict) else values))


def is_short(value: Any) -> bool:
    return type(value) in STATIC and not (isinstance(value, (str, bytes)) and len(value) > SHORT_CHARACTERS)


def is_listed(called: Any) -> bool:
    try:
        return called in CALLED
    except TypeError:
        return False


def is_small(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) <= LARGEST_POWER


def is_start(part: ast.expr) -> bool:
    """Return whether a slice is of a few characters: ``[:8]``, ``[4:12]``."""
    if not isinstance(part, ast.Slice) or part.step is not None or not is_small(part.upper):
        return False
    bounds = [one for one in (part.lower, part.upper) if one is not None]
    return all(isinstance(one, ast.Constant) and type(one.value) is int and 0 <= one.value <= 256 for one in bounds)


def is_narrow(spec: ast.expr) -> bool:
    """Return whether a format's specification asks for no more than some hundred characters."""
    parts = spec.values if isinstance(spec, ast.JoinedStr) else []
    text = "".join([str(part.value) for part in parts if isinstance(part, ast.Constant)])
    is_constant = isinstance(spec, ast.JoinedStr) and all(isinstance(part, ast.Constant) for part in spec.values)
    return is_constant and all(len(digits) <= 3 for digits in numbers_in(text))


def numbers_in(text: str) -> Iterator[str]:
    yield from "".join(c if c.isdigit() else " " for c in text).split()


def attribute_of(processor: Any, node: ast.Attribute) -> Any:
    """Return what an attribute of a processor is, as it lives: data, a function, a method bound to it. Raises ``NotShown``
    where the plugin's own code would be asked for it."""
    found = next((vars(one)[node.attr] for one in type(processor).__mro__ if node.attr in vars(one)), None)
    own = getattr(processor, "__dict__", {})
    if isinstance(found, types.MemberDescriptorType) and hasattr(processor, node.attr):  # of __slots__
        return found.__get__(processor)
    if isinstance(found, staticmethod):
        found = found.__func__
    elif isinstance(found, types.FunctionType):
        return own.get(node.attr, types.MethodType(found, processor))
    elif hasattr(type(found), "__get__"):
        raise NotShown(f"{ast.unparse(node)} is made anew each time", node)
    if node.attr in own:
        return own[node.attr]
    if not any(node.attr in vars(one) for one in type(processor).__mro__):
        raise NotShown(f"{ast.unparse(node)} is not there", node)
    return found
