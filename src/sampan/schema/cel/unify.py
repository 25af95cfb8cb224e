"""Whether one type may stand where another is wanted, finding out type parameters on the way.

Source: the CEL specification's type rules as cel-go's checker/types.go applies them.
"""

from __future__ import annotations

from sampan.schema.cel.types import DYN, Type, param

Mapping = dict[Type, Type]
LEGACY_NULLABLE = frozenset(("opaque", "object", "timestamp", "duration"))
PRIMITIVE = frozenset(("bool", "bytes", "double", "int", "string", "uint", "duration", "timestamp", "object"))
WITH_PARAMS = frozenset(("opaque", "list", "map", "function"))


def assignable(mapping: Mapping, left: Type, right: Type) -> bool:
    """Whether the types agree; ``mapping`` learns what parameters stand for (and stays as it was where they do not)."""
    return assignable_all(mapping, (left,), (right,))


def assignable_all(mapping: Mapping, left: tuple[Type, ...], right: tuple[Type, ...]) -> bool:
    if len(left) != len(right):
        return False
    trial = dict(mapping)
    if not all(_assignable(trial, mine, yours) for mine, yours in zip(left, right, strict=True)):
        return False
    mapping.update(trial)
    return True


def _assignable(mapping: Mapping, left: Type, right: Type) -> bool:
    if right.kind == "param":
        valid, known = _substitutes(mapping, left, right)
        if valid or known:
            return valid
    if left.kind == "param":
        return _substitutes(mapping, right, left)[0]
    if left.kind in ("dyn", "error") or right.kind in ("dyn", "error"):
        return True
    if left.kind == "null" or right.kind == "null":
        other = right if left.kind == "null" else left
        return other.kind in LEGACY_NULLABLE or other.kind == "null"
    if left.kind in PRIMITIVE:
        return left == right
    if left.kind == "type":
        return right.kind == "type"
    if left.kind in WITH_PARAMS:
        if left.kind != right.kind or left.name != right.name or len(left.params) != len(right.params):
            return False
        return all(_assignable(mapping, mine, yours) for mine, yours in zip(left.params, right.params, strict=True))
    return False


def _substitutes(mapping: Mapping, type: Type, parameter: Type) -> tuple[bool, bool]:
    """Whether ``type`` may be what ``parameter`` stands for, and whether that was known before."""
    if type == parameter:
        return True, True
    known = mapping.get(parameter)
    if known is not None:
        if type == known:
            return True, True
        if _assignable(mapping, type, known):
            general = most_general(type, known)
            if _unreferenced(mapping, parameter, general):
                mapping[parameter] = general
            return True, True
        return False, True
    if _unreferenced(mapping, parameter, type):
        mapping[parameter] = type
        return True, False
    return False, False


def _unreferenced(mapping: Mapping, type: Type, within: Type) -> bool:
    if type == within:
        return False
    if within.kind == "param":
        known = mapping.get(within)
        return known is None or _unreferenced(mapping, type, known)
    return all(_unreferenced(mapping, type, item) for item in within.params)


def most_general(left: Type, right: Type) -> Type:
    return left if less_specific(left, right) else right


def less_specific(left: Type, right: Type) -> bool:
    if left.kind in ("dyn", "param"):
        return True
    if right.kind in ("dyn", "param") or left.kind != right.kind:
        return False
    if left.kind in ("opaque", "list", "map"):
        if left.name != right.name or len(left.params) != len(right.params):
            return False
        return all(less_specific(mine, yours) for mine, yours in zip(left.params, right.params, strict=True))
    return left.kind == "type" or left == right


def substitute(mapping: Mapping, type: Type, to_dyn: bool = False) -> Type:
    """Return a type with what is known of its parameters put in; ``to_dyn``: the unknown ones become dyn."""
    known = mapping.get(type)
    if known is not None:
        return substitute(mapping, known, to_dyn)
    if type.kind == "param":
        return DYN if to_dyn else type
    if not type.params:
        return type
    return type._replace(params=tuple(substitute(mapping, item, to_dyn) for item in type.params))


def fresh(type: Type, renamed: Mapping) -> Type:
    """Return an overload's type with its own parameters renamed."""
    return substitute(renamed, type) if renamed else type


def variable(number: int) -> Type:
    return param(f"_var{number}")
