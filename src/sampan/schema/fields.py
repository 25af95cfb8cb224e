"""Sets of field paths: ``FieldsV1`` of managedFields, as the nested dicts they are in JSON.

A set is a tree. Keys are path elements: ``f:name`` (field), ``k:{"name":"x"}`` (item of a list-map), ``v:"x"`` (item of
a set). A node is a member of the set when it is empty or has the key ``.``; the root is no member of itself, and an
empty root is the empty set. Sets are never changed, every operation returns a new one (or a part of an old one).

The walks below make sets from objects with the rules of structured-merge-diff: atomic lists, maps and structs are one
field, list-maps and sets are fields per item, everything else is a field per leaf.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

if TYPE_CHECKING:
    from sampan.schema.types import Type

Node: TypeAlias = dict[str, Any]

MEMBER = "."
EMPTY: Node = {}


class UnkeyedItem(ValueError):
    """An item of a list-map has none of its keys, or an item of a set is no scalar."""


# --- algebra ----------------------------------------------------------------------------------------------------------


def is_member(node: Node) -> bool:
    return not node or MEMBER in node


def union(a: Node, b: Node) -> Node:
    """Return the set of what is in either."""
    if not a or not b or a is b:
        return a or b
    merged = dict(a)
    for key, theirs in b.items():
        ours = merged.get(key)
        merged[key] = theirs if ours is None else _union_nodes(ours, theirs)
    return merged


def _union_nodes(a: Node, b: Node) -> Node:
    if a == b:
        return a
    merged = union(a, b)
    return {MEMBER: EMPTY, **merged} if is_member(a) or is_member(b) else merged


def difference(a: Node, b: Node) -> Node:
    """Return what is in ``a`` but not in ``b``; ``a`` itself when that is all of it."""
    if not a or not b:
        return a
    kept: Node | None = None
    for key, theirs in b.items():
        ours = a.get(key)
        if ours is None:
            continue
        rest = _subtract(ours, theirs)
        if rest is ours:
            continue
        kept = dict(a) if kept is None else kept
        if rest is None:
            del kept[key]
        else:
            kept[key] = rest
    return a if kept is None else kept


def _subtract(a: Node, b: Node) -> Node | None:
    """Return what is left of a node, None for nothing."""
    member = is_member(a) and not is_member(b)
    children = {key: node for key, node in a.items() if key != MEMBER}
    rest = difference(children, {key: node for key, node in b.items() if key != MEMBER})
    if member == is_member(a) and rest is children:
        return a
    if not rest:
        return EMPTY if member else None
    return {MEMBER: EMPTY, **rest} if member else rest


def intersection(a: Node, b: Node) -> Node:
    """Return what is in both."""
    both: Node = {}
    for key, ours in a.items():
        theirs = b.get(key)
        if theirs is None or key == MEMBER:
            continue
        member = is_member(ours) and is_member(theirs)
        inner = intersection(ours, theirs)
        if inner:
            both[key] = {MEMBER: EMPTY, **inner} if member else inner
        elif member:
            both[key] = EMPTY
    return both


def paths(node: Node, prefix: str = "") -> Iterator[str]:
    """Yield the members as Kubernetes prints them (``.spec.containers[name="a"].image``), in its order: of each level the
    members, then what is below."""
    keys = sorted(key for key in node if key != MEMBER)
    for key in keys:
        if is_member(node[key]):
            yield prefix + show(key)
    for key in keys:
        if node[key]:
            yield from paths(node[key], prefix + show(key))


def show(element: str) -> str:
    kind, text = element[:2], element[2:]
    if kind == "f:":
        return f".{text}"
    if kind == "v:":
        return f"[={text}]"
    if kind == "k:":
        keys = orjson.loads(text)
        return "[" + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in keys.items()) + "]"
    return f"[{text}]"


def is_set(value: Any) -> bool:
    """Whether a value from a client can be used as a set."""
    if not isinstance(value, dict):
        return False
    return all(_is_element(key) and is_set(child) and not (key == MEMBER and child) for key, child in value.items())


def _is_element(key: str) -> bool:
    return key == MEMBER or key[:2] in ("f:", "v:", "i:") or (key[:2] == "k:" and _is_key(key[2:]))


def _is_key(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


# --- walks ------------------------------------------------------------------------------------------------------------


def is_leaf(type: Type | None, value: Any) -> bool:
    """Whether a value is one field whatever it holds."""
    if isinstance(value, dict):
        return type is not None and (type.atomic or type.shape == "scalar")
    if isinstance(value, list):
        return type is None or type.shape != "list" or type.list_type == "atomic"
    return True


def descend(type: Type | None) -> Type | None:
    """Return the type to walk with: None where the content is free and deduced from the values."""
    return None if type is not None and type.shape == "any" and not type.atomic else type


def child_of(type: Type | None, key: str) -> Type | None:
    return descend(type.child(key)) if type is not None else None


def path_element(type: Type, item: Any) -> str:
    """Return the path element of a list item; raises ``UnkeyedItem``."""
    if type.list_type == "set":
        if isinstance(item, (dict, list)) or item is None:
            raise UnkeyedItem("associative list without keys has an element that is no scalar")
        return "v:" + orjson.dumps(item).decode()
    if not isinstance(item, dict):
        raise UnkeyedItem("associative list with keys may not have non-map elements")
    keys = {}
    for name in sorted(type.map_keys):
        if name in item:
            keys[name] = item[name]
        elif name in type.key_defaults:
            keys[name] = type.key_defaults[name]
    if not keys:
        names = " ".join(f'"{name}"' for name in type.map_keys)
        text = f"associative list with keys has an element that omits all key fields [{names}]"
        raise UnkeyedItem(f"{text} (and doesn't have default values for any key fields)")
    return "k:" + orjson.dumps(keys).decode()


def items_by_element(type: Type, items: list[Any]) -> dict[str, list[Any]]:
    """Return the items of a list by path element, in order; raises ``UnkeyedItem``."""
    found: dict[str, list[Any]] = {}
    for item in items:
        found.setdefault(path_element(type, item), []).append(item)
    return found


def _membered(node: Node) -> Node:
    return node if is_member(node) else {MEMBER: EMPTY, **node}


def field_set(type: Type | None, value: Any) -> Node:
    """Return the set of an object's fields as an applier names them (``ToFieldSet`` of structured-merge-diff): leaves, items
    and entries of maps are members, empty maps and nulls too; a list without items is none."""
    return _applied(type, value) or {}


def _applied(type: Type | None, value: Any) -> Node | None:
    """Return the node of a value, None where it names no field."""
    if is_leaf(type, value):
        return EMPTY
    if isinstance(value, list):
        return _applied_items(type, value) if value else None
    if not value:
        return EMPTY
    node: Node = {}
    fields = type.fields if type is not None and type.shape == "struct" else EMPTY
    for key, item in value.items():
        kind = item.__class__
        if kind is not dict and kind is not list:
            node["f:" + key] = EMPTY
            continue
        inner = _applied(child_of(type, key), item)
        if key not in fields:
            node["f:" + key] = EMPTY if inner is None else _membered(inner)
        elif inner is not None:
            node["f:" + key] = inner
    return node or None


def _applied_items(type: Type | None, value: list[Any]) -> Node:
    assert type is not None
    try:
        items = items_by_element(type, value)
    except UnkeyedItem:
        return EMPTY
    element = descend(type.element)
    node: Node = {}
    for key, same in items.items():
        node[key] = EMPTY if len(same) > 1 else _membered(_applied(element, same[0]) or EMPTY)
    return node


def created_set(type: Type | None, value: Any) -> Node:
    """Return the node of all fields of a value that was not there before, as a comparison with nothing counts them: lists
    and maps themselves, too."""
    if is_leaf(type, value) or not value:
        return EMPTY
    if isinstance(value, list):
        return _created_items(type, value)
    node: Node = {MEMBER: EMPTY}
    for key, item in value.items():
        kind = item.__class__
        node["f:" + key] = _created_child(type, key, item) if kind is dict or kind is list else EMPTY
    return node


def _created_child(type: Type | None, key: str, value: Any) -> Node:
    child = child_of(type, key)
    inner = created_set(child, value)
    if type is None or type.shape != "struct" or child is None:
        return _membered(inner)
    if MEMBER in inner and key in type.always:
        return {name: below for name, below in inner.items() if name != MEMBER}
    return inner


def _created_items(type: Type | None, value: list[Any]) -> Node:
    assert type is not None
    try:
        items = items_by_element(type, value)
    except UnkeyedItem:
        return EMPTY
    element = descend(type.element)
    node: Node = {MEMBER: EMPTY}
    for key, same in items.items():
        node[key] = _membered(created_set(element, same[0])) if len(same) == 1 else EMPTY
    return node


def compare(type: Type | None, old: Any, new: Any) -> tuple[Node | None, Node | None]:
    """Return the nodes of what was added or modified, and of what was removed; None for nothing."""
    if old == new and old.__class__ is new.__class__:
        return None, None
    if old is None and isinstance(new, (dict, list)) and not is_leaf(type, new):
        return _inside(type, new), None
    if new is None and isinstance(old, (dict, list)) and not is_leaf(type, old):
        return None, _inside(type, old)
    if old.__class__ is not new.__class__ and type is None:
        return _compare_kinds(old, new)
    if is_leaf(type, old) or is_leaf(type, new) or old.__class__ is not new.__class__:
        return EMPTY, None
    if isinstance(old, list):
        return _compare_lists(type, old, new)
    changed: Node = {}
    removed: Node = {}
    for key, item in new.items():
        if key not in old:
            changed["f:" + key] = _created_child(type, key, item)
            continue
        more, less = compare(child_of(type, key), old[key], item)
        if more is not None:
            changed["f:" + key] = more
        if less is not None:
            removed["f:" + key] = less
    for key, item in old.items():
        if key not in new:
            removed["f:" + key] = _membered(created_set(child_of(type, key), item))
    return changed or None, removed or None


def _compare_kinds(old: Any, new: Any) -> tuple[Node, Node | None]:
    """Compare free values of different kinds: the field is modified, what a map held comes or goes with it."""
    came = created_set(None, new) if isinstance(new, dict) else EMPTY
    return came, _inside(None, old) if isinstance(old, dict) else None


def _inside(type: Type | None, value: Any) -> Node | None:
    """Return the nodes of what a map or list holds, without itself."""
    return {key: node for key, node in created_set(type, value).items() if key != MEMBER} or None


def _compare_lists(type: Type | None, old: list[Any], new: list[Any]) -> tuple[Node | None, Node | None]:
    assert type is not None
    try:
        before, after = items_by_element(type, old), items_by_element(type, new)
    except UnkeyedItem:
        return EMPTY, None
    element = descend(type.element)
    changed: Node = {}
    removed: Node = {}
    for key, items in after.items():
        was = before.get(key)
        if was is None:
            changed[key] = _membered(created_set(element, items[0])) if len(items) == 1 else EMPTY
        elif len(was) > 1 or len(items) > 1:
            if was != items:
                changed[key] = EMPTY
        else:
            more, less = compare(element, was[0], items[0])
            if more is not None:
                changed[key] = more
            if less is not None:
                removed[key] = less
    for key, items in before.items():
        if key not in after:
            removed[key] = _membered(created_set(element, items[0])) if len(items) == 1 else EMPTY
    return changed or None, removed or None


def ensure_named(type: Type | None, node: Node) -> Node:
    """Return the set with every struct field on the way as a member: structs come and go with what they hold."""
    is_struct = type is not None and type.shape == "struct"
    ensured: Node = {}
    for key, inner in node.items():
        if key == MEMBER:
            ensured[key] = inner
            continue
        child = child_of(type, key[2:]) if key[:2] == "f:" else descend(type.element) if type is not None else None
        below = ensure_named(child, inner)
        named = is_struct and key[:2] == "f:" and type is not None and key[2:] in type.fields
        ensured[key] = _membered(below) if named else below
    return ensured
