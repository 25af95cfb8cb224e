"""The gateway's copies of what it watches: thousands of objects that stay for good, kept without what nobody here reads.

Who manages which field is most of an object's bytes, and what ``kubectl apply`` leaves in an annotation is all of it once
more. What many objects say (a word, a ``parentRefs``, conditions of one second) is kept once and shared: copy before
changing, as with all that informers have.
"""

from __future__ import annotations

from sys import intern
from typing import Any

from sampan.client.informer import Informer
from sampan.schema.objects import Object

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
WORD_LENGTH = 32
"""Longer texts are hardly said twice, uids (36) never."""
OWN = ("resourceVersion", "uid")
"""What no two objects have in common."""
Key = tuple[Any, ...]
SHARED: dict[Key, Any] = {}
MOST_SHARED = 2000
"""Parts of objects that are known at a time."""


class LeanInformer(Informer):
    """An ``Informer`` of lean objects."""

    def reduced(self, obj: Object) -> Object:
        return lean(obj)


def lean(obj: Object) -> Object:
    """Return a copy of an object without ``managedFields`` and what was last applied."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations and APPLIED in annotations:
        metadata["annotations"] = {name: text for name, text in annotations.items() if name != APPLIED}
    kept = {intern(name): shared(value) for name, value in obj.items() if name != "metadata"}
    return {
        **kept,
        "metadata": {intern(name): value if name in OWN else shared(value) for name, value in metadata.items()},
    }


def shared(value: Any) -> Any:
    """Return an equal value, the one that was made of it before where that is known."""
    if isinstance(value, str):
        return intern(value) if len(value) <= WORD_LENGTH else value
    if isinstance(value, dict):
        made: Any = {intern(name): shared(entry) for name, entry in value.items()}
        key: Key = (*made, *map(identity, made.values()))
    elif isinstance(value, list):
        made = [shared(entry) for entry in value]
        key = (list, *map(identity, made))
    else:
        return value
    if len(SHARED) >= MOST_SHARED:
        SHARED.clear()  # what is said now is not what was said an hour ago
    return SHARED.setdefault(key, made)


def identity(value: Any) -> tuple[type, Any]:
    """Return what tells a value that ``shared`` returned from others: a container, which stays as long as its key, by its
    place; 1 is not True."""
    return value.__class__, id(value) if isinstance(value, (dict, list)) else value
