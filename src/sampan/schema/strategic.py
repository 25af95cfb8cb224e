"""Strategic merge patch: a merge patch that knows which lists merge, and by which key.

The rules and directives are those of apimachinery's ``util/strategicpatch``: ``$patch: delete | replace | merge``
in maps and list items, ``$retainKeys``, ``$setElementOrder/<list>``, ``$deleteFromPrimitiveList/<list>``. Nothing
given is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sampan.schema.patch import PatchError

if TYPE_CHECKING:
    from sampan.schema.types import Type

PATCH = "$patch"
RETAIN_KEYS = "$retainKeys"
SET_ORDER = "$setElementOrder/"
DELETE_FROM = "$deleteFromPrimitiveList/"

RETAIN_KEYS_WRONG = (
    "The patch format of retainKeys is wrong, the value must be a list that names every field of the patch"
)
SET_ORDER_WRONG = "The patch format of setElementOrder is wrong, the value must be a list"
DELETE_FROM_WRONG = "The patch format of deleteFromPrimitiveList is wrong, the value must be a list"

Map = dict[str, Any]


def _bad(message: str) -> PatchError:
    return PatchError(400, message)


def merge(original: Map, patch: Map, type: Type | None) -> Map:
    """Return ``original`` merged with ``patch``; ``type`` None means a map without merging lists."""
    directive = patch.get(PATCH)
    if directive is not None:
        return _replaced(directive, patch)
    merged = dict(original)
    if RETAIN_KEYS in patch:
        merged = _retain(merged, patch)
    ordered = {key[len(SET_ORDER) :]: value for key, value in patch.items() if key.startswith(SET_ORDER)}
    for key, value in patch.items():
        if key == RETAIN_KEYS or key.startswith(SET_ORDER):
            continue
        if key.startswith(DELETE_FROM):
            _delete_from(merged, key[len(DELETE_FROM) :], value)
            continue
        child = type.child(key) if type is not None else None
        _merge_field(merged, key, value, child, ordered.get(key))
    for key, order in ordered.items():
        _set_order(merged, original, key, order, patch, type)
    return merged


def _replaced(directive: Any, patch: Map) -> Map:
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != PATCH}
    if directive == "delete":
        return {}
    if directive == "merge":
        raise _bad("merging maps cannot be specified with $patch: merge, it is what happens without it")
    raise _bad(f"unknown patch type: {directive!r} in map")


def _retain(merged: Map, patch: Map) -> Map:
    keys = patch[RETAIN_KEYS]
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _bad(RETAIN_KEYS_WRONG)
    for key, value in patch.items():
        if value is not None and not key.startswith("$") and key not in keys:
            raise _bad(RETAIN_KEYS_WRONG)
    return {key: value for key, value in merged.items() if key in keys}


def _merge_field(merged: Map, key: str, value: Any, type: Type | None, order: Any) -> None:
    if value is None:
        merged.pop(key, None)
        return
    current = merged.get(key)
    strategies = type.strategies if type is not None else ()
    if isinstance(value, dict) and isinstance(current, dict) and "replace" not in strategies:
        merged[key] = merge(current, value, type)
    elif isinstance(value, list) and isinstance(current, list) and "merge" in strategies:
        assert type is not None
        merged[key] = _merge_lists(current, value, type)
    else:
        fresh = without_directives(value)
        if fresh is None:
            merged.pop(key, None)
        else:
            merged[key] = fresh


def without_directives(value: Any) -> Any:
    """Return a value as it is stored where nothing was before: no directives, no nulls; None when it deletes."""
    if isinstance(value, dict):
        if PATCH in value:
            return None  # whatever it directs: there is nothing to direct it at (``removeDirectives``)
        fresh = {key: without_directives(item) for key, item in value.items() if not _is_directive(key)}
        return {key: item for key, item in fresh.items() if item is not None}
    if isinstance(value, list):
        items = [without_directives(item) for item in value]
        return [item for item, given in zip(items, value, strict=True) if item is not None or given is None]
    return value


def _is_directive(key: str) -> bool:
    return key in (PATCH, RETAIN_KEYS) or key.startswith((SET_ORDER, DELETE_FROM))


def _delete_from(merged: Map, key: str, values: Any) -> None:
    if not isinstance(values, list):
        raise _bad(DELETE_FROM_WRONG)
    current = merged.get(key)
    if isinstance(current, list):
        deleted = {_token(value) for value in values}
        merged[key] = [item for item in current if _token(item) not in deleted]


def _merge_lists(current: list[Any], patch: list[Any], type: Type) -> list[Any]:
    if not any(isinstance(item, dict) for item in (*current, *patch)):
        both = {_token(item): item for item in (*current, *patch) if item is not None}
        return _in_order(list(both.values()), current, patch, "")
    name = type.merge_key
    if not name:
        raise _bad(f"cannot merge lists without merge key for {type.name}")
    plain, changed = _directives_of_list(current, patch, name)
    if changed is None:
        return plain
    places = _positions(plain, name)
    for item in changed:
        at = places.setdefault(_token(_key_of(item, name)), len(plain))
        if at == len(plain):
            plain.append(without_directives(item))
        else:
            plain[at] = merge(plain[at] if isinstance(plain[at], dict) else {}, item, type.element)
    return _in_order(plain, current, changed, name)


def _directives_of_list(current: list[Any], patch: list[Any], name: str) -> tuple[list[Any], list[Any] | None]:
    """Return the list without the items that are deleted, and the items to merge; None for those when the patch
    replaces the list."""
    plain, changed, replace = list(current), [], False
    for item in patch:
        if not isinstance(item, dict):
            raise _bad(f"cannot merge a list of {name} with an item that is no object")
        directive = item.get(PATCH)
        if directive is None:
            changed.append(item)
        elif directive == "delete":
            value = _key_of(item, name)
            plain = [old for old in plain if not (isinstance(old, dict) and name in old and old[name] == value)]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise _bad("merging lists cannot yet be specified in the patch")
        else:
            raise _bad(f"unknown patch type: {directive!r} in map")
    if replace:
        return [without_directives(item) for item in changed], None
    return plain, changed


def _key_of(item: Map, name: str) -> Any:
    if name not in item:
        raise PatchError(422, f"map: {item} does not contain declared merge key: {name}")
    return item[name]


def _token(value: Any) -> Any:
    """Return something hashable that is equal for equal values."""
    return value if isinstance(value, str) else (type(value), orjson.dumps(value))


def _identity(item: Any, name: str) -> Any:
    return _token(item.get(name) if name and isinstance(item, dict) else item)


def _positions(items: list[Any], name: str) -> dict[Any, int]:
    return {_identity(item, name): index for index, item in reversed(list(enumerate(items)))}


def _in_order(merged: list[Any], server: list[Any], patch: list[Any], name: str) -> list[Any]:
    """Return the items that the patch names in the patch's order and the others in the server's, interleaved so that
    no pair that the server knows changes its order without need (``mergeSortedSlice``)."""
    by_server, by_patch = _positions(server, name), _positions(patch, name)
    named = [item for item in merged if _identity(item, name) in by_patch]
    named.sort(key=lambda item: by_patch[_identity(item, name)])
    others = [item for item in merged if _identity(item, name) not in by_patch]
    result: list[Any] = []
    left, right = 0, 0
    while left < len(others) and right < len(named):
        ours = by_server.get(_identity(others[left], name), -1)
        theirs = by_server.get(_identity(named[right], name), -1)
        if 0 <= ours < theirs:
            result.append(others[left])
            left += 1
        else:
            result.append(named[right])
            right += 1
    return result + others[left:] + named[right:]


def _set_order(merged: Map, original: Map, key: str, order: Any, patch: Map, type: Type | None) -> None:
    if not isinstance(order, list):
        raise _bad(SET_ORDER_WRONG)
    current = merged.get(key)
    if not isinstance(current, list):
        return
    child = type.child(key) if type is not None else None
    name = child.merge_key if child is not None else ""
    _check_order(patch.get(key), order, name, key)
    before = original.get(key)
    merged[key] = _in_order(current, before if isinstance(before, list) else [], order, name)


def _check_order(items: Any, order: list[Any], name: str, key: str) -> None:
    """The patch's own items must come in the order that the directive gives."""
    if not isinstance(items, list) or not order:
        return
    wanted = [_identity(item, name) for item in items if not (isinstance(item, dict) and PATCH in item)]
    at = 0
    for item in order:
        if at < len(wanted) and _identity(item, name) == wanted[at]:
            at += 1
    if at < len(wanted):
        raise _bad(f"The order in patch list:\n{items}\n doesn't match {SET_ORDER}{key} list:\n{order}\n")
