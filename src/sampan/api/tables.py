"""Server-side printing: objects as a ``Table`` (meta.k8s.io), or as their metadata only.

``kubectl get`` asks for tables; metadata informers ask for ``PartialObjectMetadata``. Ages are computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sampan.api.resource import Column, Resource
from sampan.schema.durations import age
from sampan.schema.jsonpath import lookup
from sampan.schema.objects import Object

NAME = Column("Name", ".metadata.name", format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", ".metadata.creationTimestamp", type="date", description="When the object was created.")
DEFAULT_COLUMNS = (NAME, AGE)


def table(
    resource: Resource,
    objects: Sequence[Object],
    metadata: Object,
    *,
    version: str,
    include: str,
    definitions: bool = True,
) -> Object:
    """Return a Table. ``include`` is ``includeObject``: None, Metadata (also "") or Object."""
    columns = columns_of(resource)
    described = [definition(column) for column in columns] if definitions else []
    rows = [row(columns, obj, include, version) for obj in objects]
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": described,
        "rows": rows,
    }


def columns_of(resource: Resource) -> Sequence[Column]:
    return resource.columns or DEFAULT_COLUMNS


def definition(column: Column) -> Object:
    is_age = column.type == "date"
    return {
        "name": column.name,
        "type": "string" if is_age else column.type,
        "format": column.format or ("name" if column.name == "Name" else ""),
        "description": column.description,
        "priority": column.priority,
    }


def row(columns: Sequence[Column], obj: Object, include: str, version: str) -> Object:
    result: Object = {"cells": [cell(column, obj) for column in columns]}
    if include == "Object":
        result["object"] = obj
    elif include != "None":
        result["object"] = partial(obj, version)
    return result


def cell(column: Column, obj: Object) -> Any:
    """Return one cell; None where the object has no such value."""
    if callable(column.value):
        found = column.value(obj)
        return age(found) if column.type == "date" else found
    values = lookup(column.value, obj)
    if column.type == "date":
        return age(values[0] if values and isinstance(values[0], str) else None)
    if not values or values[0] is None:
        return None
    if len(values) > 1 or column.type == "string":
        return " ".join(text(value) for value in values)
    return values[0]


def text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def partial(obj: Object, version: str) -> Object:
    """Return an object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj.get("metadata", {}),
    }


def partial_list(metadata: Object, version: str) -> Object:
    """Return a list of metadata with nothing in it yet."""
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "items": [],
    }
