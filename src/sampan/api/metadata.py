"""ObjectMeta: what the server sets and what a client may not change. Pure functions on plain dicts.

Source: API conventions, "Metadata"; k8s.io/apiserver ``rest.BeforeCreate`` and ``rest.BeforeUpdate``.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import lru_cache

from sampan.api.resource import Cause
from sampan.schema.causes import invalid
from sampan.schema.objects import Object

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""27 letters: no vowels, no look-alikes, so that no words arise by chance."""
SUFFIX_LENGTH = 5
SUFFIXES = len(SUFFIX_ALPHABET) ** SUFFIX_LENGTH
MAX_GENERATED_BASE = 63 - SUFFIX_LENGTH

VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The two highest bits of the seventeenth digit of a UUID say which layout it has."""

SERVER_SET = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


NOT_GIVEN = frozenset((*SERVER_SET, "resourceVersion", "name", "generateName", "namespace"))
"""What a new object has from elsewhere than the rest of what was sent."""


def now(clock: Callable[[], float] = time.time) -> str:
    """Return the time as metav1.Time writes it: RFC 3339 in whole seconds."""
    return _of_second(int(clock()))


def timestamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@lru_cache(2)
def _of_second(seconds: int) -> str:
    return timestamp(seconds)


def new_uid() -> str:
    """Return a random UUID (RFC 9562, version 4), as ``uuid.uuid4`` makes it at three times the cost."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def generate_name(base: str) -> str:
    """Return ``base`` and five random characters, 63 at most."""
    n, letters = int(random.random() * SUFFIXES), SUFFIX_ALPHABET
    suffix = letters[n % 27] + letters[n // 27 % 27] + letters[n // 27**2 % 27] + letters[n // 27**3 % 27]
    return base[:MAX_GENERATED_BASE] + suffix + letters[n // 27**4]


def on_create(obj: Object, namespace: str, counts_generation: bool, at: str) -> None:
    """Give a new object its server-set metadata, in place. The name is the caller's business."""
    given = obj["metadata"]
    metadata: Object = {}
    for field in ("name", "generateName"):
        if given.get(field):
            metadata[field] = given[field]
    if namespace:
        metadata["namespace"] = namespace
    metadata["uid"] = new_uid()
    if counts_generation:
        metadata["generation"] = 1
    metadata["creationTimestamp"] = at
    for field, value in given.items():
        if field not in NOT_GIVEN:
            metadata[field] = value
    if metadata.get("managedFields") == []:
        del metadata["managedFields"]
    obj["metadata"] = metadata


def on_update(new: Object, old: Object) -> None:
    """Carry over what an update may not change, in place."""
    metadata, before = new["metadata"], old["metadata"]
    metadata.pop("resourceVersion", None)
    for field in ("name", "generateName", "namespace", *SERVER_SET):
        if field in before:
            metadata[field] = before[field]
        else:
            metadata.pop(field, None)
    if "managedFields" not in metadata and "managedFields" in before:
        metadata["managedFields"] = before["managedFields"]
    elif metadata.get("managedFields") == []:
        del metadata["managedFields"]  # the last owner has let go


def spec_changed(new: Object, old: Object) -> bool:
    """Whether anything but metadata and status differs."""
    ignored = ("metadata", "status")
    for field, value in new.items():
        if field not in ignored and value != old.get(field):
            return True
    return any(field not in new and value is not None for field, value in old.items() if field not in ignored)


def forbidden_finalizers(new: Object, old: Object) -> list[Cause]:
    """An object that is being deleted gets no new finalizers."""
    if not old["metadata"].get("deletionTimestamp"):
        return []
    added = [
        item
        for item in new["metadata"].get("finalizers") or []
        if item not in (old["metadata"].get("finalizers") or [])
    ]
    if not added:
        return []
    names = ", ".join(f'"{item}"' for item in added)
    message = (
        "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
        f"[]string{{{names}}}"
    )
    return [Cause("metadata.finalizers", "FieldValueForbidden", message)]


STANDARD_FINALIZERS = ("foregroundDeletion", "kubernetes", "orphan")
FREE_FINALIZERS = ("apiextensions.k8s.io", "apiregistration.k8s.io")
"""Groups outside ``pkg/apis/core/validation``, whose finalizers may have any qualified name."""


def unknown_finalizers(group: str, obj: Object) -> list[Cause]:
    """A finalizer without a domain is one of Kubernetes' own (``validateKubeFinalizerName``)."""
    if group in FREE_FINALIZERS:
        return []
    why = "name is neither a standard finalizer name nor is it fully qualified"
    return [
        invalid(f"metadata.finalizers[{index}]", name, why)
        for index, name in enumerate(obj["metadata"]["finalizers"])
        if "/" not in name and name not in STANDARD_FINALIZERS
    ]


def merge_status(new: Object, old: Object, custom: bool) -> Object:
    """Return what an update of ``/status`` makes: the old object with the new status (and, for built-in kinds, the new
    labels, annotations and finalizers)."""
    merged = {**old, "metadata": dict(old["metadata"])}
    merged.pop("status", None)
    if "status" in new:
        merged["status"] = new["status"]
    fields = ("managedFields",) if custom else ("labels", "annotations", "finalizers", "managedFields")
    for field in fields:
        if field in new["metadata"]:
            merged["metadata"][field] = new["metadata"][field]
        else:
            merged["metadata"].pop(field, None)
    return merged
