"""Typed merging and removing for server-side apply, by the rules of structured-merge-diff. Nothing given is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.schema.fields import (
    Node,
    UnkeyedItem,
    child_of,
    descend,
    is_leaf,
    is_member,
    path_element,
    show,
)

if TYPE_CHECKING:
    from sampan.schema.types import Type

MISSING = object()


class MergeError(ValueError):
    """A configuration that cannot be applied; the message names the field."""


def merge(type: Type | None, old: Any, new: Any, path: str = "") -> Any:
    """Return ``old`` with ``new`` merged into it: maps and list-maps by key, everything else replaced. Raises
    ``MergeError`` when an item of ``new`` has no key or a key occurs twice."""
    if isinstance(new, list) and not is_leaf(type, new):
        assert type is not None
        return _merge_lists(type, old if isinstance(old, list) else [], new, path)
    if new is None and isinstance(old, (dict, list)) and not is_leaf(type, old):
        return old  # a null where a map or a list stands names nothing in it
    if not isinstance(new, dict) or is_leaf(type, new):
        return new
    if not isinstance(old, dict):
        old = {}
    merged = dict(old)
    for key, item in new.items():
        merged[key] = merge(child_of(type, key), old.get(key, MISSING), item, f"{path}.{key}")
    return merged


def _elements(type: Type, items: list[Any], path: str, unique: bool) -> list[str]:
    elements: list[str] = []
    seen: set[str] = set()
    for index, item in enumerate(items):
        try:
            element = path_element(type, item)
        except UnkeyedItem as error:
            raise MergeError(f"{path}: element {index}: {error}") from None
        if unique and element in seen:
            raise MergeError(f"{path}: duplicate entries for key {show(element)}")
        seen.add(element)
        elements.append(element)
    return elements


def _merge_lists(type: Type, old: list[Any], new: list[Any], path: str) -> list[Any]:
    """Keep the order of ``old`` for what only it has and of ``new`` for what it names."""
    theirs = _elements(type, new, path, unique=True)
    try:
        ours = _elements(type, old, path, unique=False)
    except MergeError:
        return new  # the stored list cannot be matched: the configuration takes its place
    incoming = dict(zip(theirs, new, strict=True))
    present: dict[str, Any] = {}
    for element, item in zip(ours, old, strict=True):
        # an item that occurs twice is not merged with, it is replaced
        present[element] = MISSING if element in present else item
    element_type = descend(type.element)
    merged: list[Any] = []

    def take(element: str) -> None:
        item = merge(element_type, present.get(element, MISSING), incoming[element], path + show(element))
        merged.append(item)

    done: set[str] = set()
    shared = [element for element in theirs if element in present]
    next_shared = 0
    left = right = 0
    while left < len(ours) or right < len(theirs):
        if left < len(ours) and right < len(theirs) and ours[left] == theirs[right]:
            take(theirs[right])
            done.add(theirs[right])
            left, right, next_shared = left + 1, right + 1, next_shared + 1
            continue
        if left < len(ours):
            element = ours[left]
            if element not in incoming:
                merged.append(old[left])
                left += 1
                continue
            wanted = shared[next_shared] if next_shared < len(shared) else None
            if element in done or (right < len(theirs) and element != wanted):
                left += 1
                continue
        element = theirs[right]
        take(element)
        done.add(element)
        if next_shared < len(shared) and shared[next_shared] == element:
            next_shared += 1
        right += 1
    return merged


def remove(type: Type | None, value: Any, unwanted: Node) -> Any:
    """Return ``value`` without the fields of a set; None when nothing is left of it. What was emptied on the way stays
    as a null, so that it still counts as a field."""
    if not unwanted or is_leaf(type, value):
        return value
    if isinstance(value, list):
        return _remove_items(type, value, unwanted)
    kept: dict[str, Any] = {}
    for key, item in value.items():
        node = unwanted.get("f:" + key)
        if node is not None:
            if is_member(node):
                continue
            item = remove(child_of(type, key), item, node)
        kept[key] = item
    return kept if kept or not value else None


def _remove_items(type: Type | None, value: list[Any], unwanted: Node) -> Any:
    assert type is not None
    kept: list[Any] = []
    for item in value:
        try:
            node = unwanted.get(path_element(type, item))
        except UnkeyedItem:
            node = None
        if node is not None:
            if is_member(node):
                continue
            item = remove(descend(type.element), item, node)
        kept.append(item)
    return kept if kept or not value else None
