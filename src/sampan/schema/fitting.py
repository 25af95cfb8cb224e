"""Whether a custom resource is already as its schema wants it: the common case of a write, in one walk that says only yes.

``compile_pruned`` and ``compile_fits`` return predicates made of closures, compiled field by field as objects come that
have them. Yes is sure; no means that ``structural`` and ``validation`` must look, which prune, and find the words for what
is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sampan.schema.validation import INT_OR_STRING, RANGES, compile_validator

if TYPE_CHECKING:
    from sampan.schema.structural import StructuralType

Fits = Callable[[Any], bool]
META_FIELDS = ("apiVersion", "kind", "metadata")
COMPOSED = ("allOf", "anyOf", "oneOf", "not")
_ABSENT: Any = object()


def anything(value: Any) -> bool:
    return True


def nothing(value: Any) -> bool:
    return False


# --- nothing to prune -------------------------------------------------------------------------------------------------


def compile_pruned(node: StructuralType, root: bool = False) -> Fits:
    """Return what says that a map or list has no unknown field and no null that would be dropped."""
    if node.shape == "any" and node.preserve:
        return anything
    if node.shape == "struct":
        return _pruned_struct(node, META_FIELDS if root or node.embedded else ())
    if node.shape == "map" and not node.embedded:
        return _pruned_map(node)
    return _pruned_list(node) if node.shape == "list" else nothing


def _pruned_struct(node: StructuralType, kept: tuple[str, ...]) -> Fits:
    known: dict[str, Fits] = {}
    preserve = node.preserve

    def learn(key: str) -> Fits | None:
        child = node.fields.get(key) or node.child(key)
        if child is None:
            return anything if preserve else None
        known[key] = _value(child)
        return known[key]

    def pruned(value: Any) -> bool:
        if value.__class__ is not dict:
            return False
        for key, item in value.items():
            if key in kept:
                continue
            below = known.get(key) or learn(key)
            if below is None or not below(item):
                return False
        return True

    return pruned


def _pruned_map(node: StructuralType) -> Fits:
    below: list[Fits] = []

    def pruned(value: Any) -> bool:
        if value.__class__ is not dict:
            return False
        if not below:
            below.append(_value(node.element))
        return all(map(below[0], value.values()))

    return pruned


def _pruned_list(node: StructuralType) -> Fits:
    below: list[Fits] = []

    def pruned(value: Any) -> bool:
        if value.__class__ is not list:
            return False
        if not below:
            # a null in a list is validation's business, whatever the items are
            below.append(_value(node.element, keeps_null=True))
        return all(map(below[0], value))

    return pruned


def _value(child: Any, keeps_null: bool = False) -> Fits:
    """Return the predicate of one value: scalars are never pruned, nulls sometimes."""
    structural = hasattr(child, "keeps_null")  # metadata of an object inside has a type that prunes for itself
    null = keeps_null or (child.keeps_null if structural else child.nullable)
    inside = compile_pruned(child) if structural else anything
    if inside is anything and null:
        return anything

    def pruned(value: Any) -> bool:
        kind = value.__class__
        if kind is dict or kind is list:
            return inside(value)
        return null or value is not None

    return pruned


# --- nothing to refuse ------------------------------------------------------------------------------------------------


def compile_fits(schema: dict[str, Any], skipped: tuple[str, ...] = ()) -> Fits:
    """Return what says that a value has nothing that ``validation`` would refuse. ``skipped``: fields that it is not to look
    at."""
    kind = schema.get("type", "")
    if any(schema.get(word) for word in COMPOSED) or schema.get(INT_OR_STRING) or kind not in MAKERS:
        return _by_validation(schema, skipped)
    fits = _of_enum(schema) if schema.get("enum") else MAKERS[kind](schema, skipped)
    if fits is None:
        return _by_validation(schema, skipped)
    if not schema.get("nullable") or schema.get("enum"):
        return fits
    return lambda value: value is None or fits(value)


def _by_validation(schema: dict[str, Any], skipped: tuple[str, ...]) -> Fits:
    if skipped:
        return nothing
    validate = compile_validator(schema)

    def fits(value: Any) -> bool:
        causes: list[Any] = []
        validate(value, "", causes)
        return not causes

    return fits


def _of_enum(schema: dict[str, Any]) -> Fits | None:
    values = schema["enum"]
    others = ("format", "minLength", "maxLength", "pattern")
    if schema["type"] != "string" or any(schema.get(word) for word in others):
        return None
    allowed = frozenset(value for value in values if isinstance(value, str))
    return lambda value: value.__class__ is str and value in allowed


def _string(schema: dict[str, Any], skipped: tuple[str, ...]) -> Fits | None:
    if schema.get("pattern") or schema.get("format"):
        return None
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    if not shortest and longest is None:
        return lambda value: value.__class__ is str
    most = longest if longest is not None else 1 << 62
    return lambda value: value.__class__ is str and shortest <= len(value) <= most


def _boolean(schema: dict[str, Any], skipped: tuple[str, ...]) -> Fits | None:
    return lambda value: value.__class__ is bool


def _integer(schema: dict[str, Any], skipped: tuple[str, ...]) -> Fits | None:
    low, high = _bounds(schema)
    limit = RANGES.get(schema.get("format", ""), RANGES["int64"])
    low, high = max(low, -limit), min(high, limit - 1)
    return None if _open(schema) else lambda value: value.__class__ is int and low <= value <= high


def _number(schema: dict[str, Any], skipped: tuple[str, ...]) -> Fits | None:
    low, high = _bounds(schema)
    if _open(schema):
        return None
    return lambda value: (value.__class__ is float or value.__class__ is int) and low <= value <= high


def _bounds(schema: dict[str, Any]) -> tuple[float, float]:
    low, high = schema.get("minimum"), schema.get("maximum")
    return -float("inf") if low is None else low, float("inf") if high is None else high


def _open(schema: dict[str, Any]) -> bool:
    return bool(schema.get("exclusiveMinimum") or schema.get("exclusiveMaximum") or schema.get("multipleOf"))


def _array(schema: dict[str, Any], skipped: tuple[str, ...]) -> Fits | None:
    fewest, most = schema.get("minItems", 0), schema.get("maxItems")
    longest = most if most is not None else 1 << 62
    each = compile_fits(schema["items"]) if schema.get("items") else anything
    unique = _unique(schema)

    def fits(value: Any) -> bool:
        if value.__class__ is not list or not fewest <= len(value) <= longest:
            return False
        return all(map(each, value)) and (unique is None or len(value) < 2 or unique(value))

    return fits


def _unique(schema: dict[str, Any]) -> Fits | None:
    kind, keys = schema.get("x-kubernetes-list-type"), tuple(schema.get("x-kubernetes-list-map-keys") or ())
    if kind == "map":
        return lambda value: _differ([tuple(item.get(key, _ABSENT) for key in keys) for item in value])
    return _differ if kind == "set" else None


def _differ(values: list[Any]) -> bool:
    try:
        return len(set(values)) == len(values)
    except TypeError:  # maps and lists: as JSON
        return False


def _object(schema: dict[str, Any], skipped: tuple[str, ...]) -> Fits | None:
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    must = tuple(name for name in schema.get("required") or () if name not in skipped)
    fewest, most = schema.get("minProperties", 0), schema.get("maxProperties")
    if skipped and (fewest or most is not None):
        return None
    longest = most if most is not None else 1 << 62
    other = compile_fits(additional) if isinstance(additional, dict) else anything
    known: dict[str, Fits] = dict.fromkeys(skipped, anything)

    def learn(name: str) -> Fits:
        if name not in properties:
            return other
        known[name] = compile_fits(properties[name])
        return known[name]

    def fits(value: Any) -> bool:
        if value.__class__ is not dict or not fewest <= len(value) <= longest:
            return False
        for name in must:
            if name not in value:
                return False
        # a generator would cost as much as what it walks over
        for name, item in value.items():  # noqa: SIM110
            if not (known.get(name) or learn(name))(item):
                return False
        return True

    return fits


MAKERS: dict[str, Callable[[dict[str, Any], tuple[str, ...]], Fits | None]] = {
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "array": _array,
    "object": _object,
}
