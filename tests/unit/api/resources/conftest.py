"""What the tables of golden messages share: a good object, one change, the causes it gives."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from sampan.api.resource import Resource
from sampan.api.resources import declarations

Object = dict[str, Any]


def declared(kind: str, group: str = "", version: str = "v1", minor: int = 37) -> Resource:
    """Return a built-in declaration as a Kubernetes version has it."""
    found = next(r for r in declarations() if (r.group, r.version, r.kind) == (group, version, kind))
    return found if found.by_version is None else replace(found, **found.by_version(minor))


def causes(
    resource: Resource, obj: Object, old: Object | None = None, subresource: str = "", *, default: bool = True
) -> dict[str, str]:
    """Default an object as the registry does and return ``field → message`` of every cause."""
    obj, old = copy.deepcopy(obj), copy.deepcopy(old)
    for one in (obj, old) if default else ():
        if one is not None and resource.default is not None:
            resource.default(one)
    validate = resource.validates.get(subresource, resource.validate)
    assert validate is not None
    found: dict[str, str] = {}
    for cause in validate(obj, old):
        kind = cause.message.partition(":")[0]
        assert REASONS[kind] == cause.reason, cause
        found[cause.field] = f"{found[cause.field]} | {cause.message}" if cause.field in found else cause.message
    return found


REASONS = {
    "Required value": "FieldValueRequired",
    "Invalid value": "FieldValueInvalid",
    "Unsupported value": "FieldValueNotSupported",
    "Forbidden": "FieldValueForbidden",
    "Duplicate value": "FieldValueDuplicate",
    "Not found": "FieldValueNotFound",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
}


def changed(obj: Object, path: str, value: Any) -> Object:
    """Return a copy with the field at a dotted path (numbers are indexes) set, or removed where the value is None."""
    copied = copy.deepcopy(obj)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    at: Any = copied
    for part in parents:
        if isinstance(at, list):
            at = at[part]
        else:
            at = at.setdefault(part, {})
    if value is None:
        del at[last]
    else:
        at[last] = value
    return copied
