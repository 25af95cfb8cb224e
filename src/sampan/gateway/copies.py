"""The gateway's copies of what it watches: thousands of objects that stay for good, kept as bytes and without what nobody
here reads.

Who manages which field is most of an object's bytes, and what ``kubectl apply`` leaves in an annotation is all of it once
more. Of a thousand objects of a kind most bytes are the same: each is kept as what differs from another of its kind (DEFLATE
with that one as its dictionary, RFC 1951). An object is read from its bytes when it is asked for, and goes again; what of it
stays, in what is made of it, is kept once where many say it (``shared``). Copy before changing, as with all that informers
have.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, MutableMapping
from functools import lru_cache
from sys import intern
from typing import Any

import orjson

from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.schema.objects import Object

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
WORD_LENGTH = 32
"""Longer texts are hardly said twice, uids (36) never."""
Key = tuple[Any, ...]
SHARED: dict[Key, Any] = {}
MOST_SHARED = 2000
"""Parts of objects that are known at a time."""


LONGEST_ALIKE = 4096
"""Objects with more bytes (Secrets, code) are seldom like others, and take long."""
ALIKE = 500
"""So many objects of a kind are told by what differs from the same one; what they look like may change."""
WINDOW, HASHES = -13, 5
"""Of DEFLATE: 8 KiB, an object and its like; and what it takes to find what is the same."""
LIKES: dict[str, tuple[bytes, int]] = {}
"""Kind → an object, and how many have been told by it."""


class Packed:
    """An object as bytes: a twentieth of what its dicts would take. What is unpacked later is another, equal object.
    ``like``: what it is told by the differences from; None: by its JSON as it is."""

    __slots__ = ("like", "value")

    def __init__(self, value: bytes, like: bytes | None = None) -> None:
        self.value, self.like = value, like

    @property
    def text(self) -> bytes:
        """The object's JSON."""
        if self.like is None:
            return self.value
        return zlib.decompressobj(WINDOW, self.like).decompress(self.value)


def packed_of(kind: str, text: bytes) -> Packed:
    """Return an object of a kind, by its JSON."""
    if len(text) > LONGEST_ALIKE:
        return Packed(text)
    like, count = LIKES.get(kind, (text, 0))
    if count >= ALIKE:
        like, count = text, 0
    LIKES[kind] = like, count + 1
    made = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, WINDOW, HASHES, zlib.Z_DEFAULT_STRATEGY, like)
    return Packed(made.compress(text) + made.flush(), like)


class Lean(dict[str, Any]):
    """A lean object that is there for a moment, with what is kept of it."""

    __slots__ = ("packed",)
    packed: Packed


@lru_cache(maxsize=256)
def unpack(packed: Packed) -> Lean:
    """Return the object; what was asked for just now is not read again."""
    made = Lean(lean(orjson.loads(packed.text)))
    made.packed = packed
    return made


def pack(obj: Object, value: bytes | None = None) -> Lean:
    """Return an object as ``LeanInformer`` keeps it. ``value``: JSON of it that somebody else keeps anyway."""
    made = Lean(lean(obj))
    made.packed = packed_of(str(made.get("kind", "")), orjson.dumps(made)) if value is None else Packed(value)
    return made


class PackedObjects(MutableMapping[str, Object]):
    """Key → object, kept as bytes."""

    def __init__(self) -> None:
        self._packed: dict[str, Packed] = {}

    def __getitem__(self, key: str) -> Object:
        return unpack(self._packed[key])

    def __setitem__(self, key: str, obj: Object) -> None:
        self._packed[key] = obj.packed if isinstance(obj, Lean) else pack(obj).packed

    def __delitem__(self, key: str) -> None:
        del self._packed[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, key: object) -> bool:
        return key in self._packed


class LeanInformer(Informer):
    """An ``Informer`` that keeps lean objects, packed."""

    def __init__(self, client: Client, resource: ResourceType, namespace: str | None = None) -> None:
        super().__init__(client, resource, namespace)
        self.objects = PackedObjects()

    def reduced(self, obj: Object) -> Object:
        return obj if isinstance(obj, Lean) else pack(obj)


def lean(obj: Object) -> Object:
    """Return a copy of an object without ``managedFields`` and what was last applied."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations and APPLIED in annotations:
        metadata["annotations"] = {name: text for name, text in annotations.items() if name != APPLIED}
    return {**obj, "metadata": metadata}


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
