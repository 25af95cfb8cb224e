"""How functions are declared: one line a overload, its signature written as CEL's documentation writes it.

    overload("string_find_string", "string.find(string) -> string", find)

A capital letter is a type parameter. ``run`` gets the arguments, the target first, as Python values of the declared
types; it returns a value or raises ``EvaluationError``. What a call costs is in ``costs.py`` and ``runtime_costs.py``,
by the overload's id, unless given here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from sampan.schema.cel import types
from sampan.schema.cel.types import Type

NAMED: dict[str, Type] = {
    "bool": types.BOOL,
    "int": types.INT,
    "uint": types.UINT,
    "double": types.DOUBLE,
    "string": types.STRING,
    "bytes": types.BYTES,
    "null": types.NULL,
    "dyn": types.DYN,
    "timestamp": types.TIMESTAMP,
    "duration": types.DURATION,
    "URL": types.object_type("kubernetes.URL"),
    "Quantity": types.object_type("kubernetes.Quantity"),
    "Semver": types.object_type("kubernetes.Semver"),
    "Format": types.object_type("kubernetes.NamedFormat"),
    "IP": types.opaque("net.IP"),
    "CIDR": types.opaque("net.CIDR"),
    "Authorizer": types.object_type("kubernetes.authorization.Authorizer"),
    "PathCheck": types.object_type("kubernetes.authorization.PathCheck"),
    "GroupCheck": types.object_type("kubernetes.authorization.GroupCheck"),
    "ResourceCheck": types.object_type("kubernetes.authorization.ResourceCheck"),
    "Decision": types.object_type("kubernetes.authorization.Decision"),
}
"""The words of signatures. Those of libraries are type names of Kubernetes (k8s.io/apiserver/pkg/cel)."""


class Overload(NamedTuple):
    """One way to call a function. ``args`` has the target first where ``member``."""

    id: str
    function: str
    member: bool
    args: tuple[Type, ...]
    result: Type
    params: tuple[str, ...]
    run: Callable[..., Any]


def overload(id: str, text: str, run: Callable[..., Any]) -> Overload:
    """Return an overload from ``type.name(type, …) -> type`` (a method) or ``name(type, …) -> type``."""
    call, _, result = text.partition(" -> ")
    target, name, inside = _split(call)
    args = [_type(part) for part in ([target] if target else []) + _arguments(inside)]
    result_type = _type(result)
    found: dict[str, None] = {}
    for type in (*args, result_type):
        _params(type, found)
    return Overload(id, name, bool(target), tuple(args), result_type, tuple(found), run)


def _split(call: str) -> tuple[str, str, str]:
    """Split before the last parenthesis at depth 0 into target, name and arguments."""
    depth, at = 0, len(call) - 1
    for at in range(len(call) - 1, -1, -1):
        depth += (call[at] == ")") - (call[at] == "(")
        if depth == 0:
            break
    head, inside = call[:at], call[at + 1 : -1]
    target, dot, name = head.rpartition(".")
    is_type = target in NAMED or target.endswith(")") or (len(target) == 1 and target.isupper())
    return (target, name, inside) if dot and is_type else ("", head, inside)


def _arguments(text: str) -> list[str]:
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += character
    return [part.strip() for part in [*parts, current] if part.strip()]


def _type(text: str) -> Type:
    text = text.strip()
    if text in NAMED:
        return NAMED[text]
    if len(text) == 1 and text.isupper():
        return types.param(text)
    name, _, inside = text.partition("(")
    params = [_type(part) for part in _arguments(inside[:-1])]
    if name == "list":
        return types.list_of(params[0])
    if name == "map":
        return types.map_of(params[0], params[1])
    if name == "optional":
        return types.optional_of(params[0])
    if name == "type":
        return types.type_of(params[0])
    raise ValueError(f"{text} is no type")


def _params(type: Type, found: dict[str, None]) -> None:
    if type.kind == "param":
        found[type.name] = None
    for item in type.params:
        _params(item, found)


Functions = dict[str, list[Overload]]


def functions(*groups: Iterable[Overload]) -> Functions:
    """Return the overloads of several libraries by the function's name, in order."""
    found: Functions = {}
    for group in groups:
        for one in group:
            found.setdefault(one.function, []).append(one)
    return found
