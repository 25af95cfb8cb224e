"""Cells that the printer columns of many kinds share. Source: kubernetes pkg/printers/internalversion."""

from __future__ import annotations

from typing import Any

from sampan.api.resource import Column
from sampan.api.resources.reading import dig, items, mapping
from sampan.schema.durations import age
from sampan.schema.objects import Object

NAME_DESCRIPTION = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "
    "client to request the generation of an appropriate name automatically."
)
AGE_DESCRIPTION = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed "
    "to be set in happens-before order across separate operations."
)


def creation_age(obj: Object) -> str:
    return age(dig(obj, "metadata", "creationTimestamp"))


NAME = Column("Name", ".metadata.name", format="name", description=NAME_DESCRIPTION)
AGE = Column("Age", creation_age, description=AGE_DESCRIPTION)
WIDE = 1


def number(*keys: str) -> Any:
    """A cell with the integer at a path, 0 where it is missing."""
    return lambda obj: int(dig(obj, *keys) or 0)


def field(*keys: str, missing: str = "<none>") -> Any:
    """A cell with the string at a path."""

    def cell(obj: Object) -> str:
        found = dig(obj, *keys)
        return missing if found is None or found == "" else str(found)

    return cell


def truth(*keys: str) -> Any:
    """A cell with a boolean, ``<unset>`` where it is missing."""

    def cell(obj: Object) -> str:
        found = dig(obj, *keys)
        return "<unset>" if found is None else str(bool(found)).lower()

    return cell


def count(*keys: str) -> Any:
    """A cell with the length of the list or map at a path."""
    return lambda obj: len(dig(obj, *keys) or ())


def selector_text(selector: Any) -> str:
    """Return a LabelSelector as ``metav1.FormatLabelSelector`` does."""
    if selector is None:
        return "<none>"
    terms = [f"{key}={value}" for key, value in sorted(mapping(selector, "matchLabels").items())]
    for expression in items(selector, "matchExpressions"):
        key, operator = expression.get("key", ""), expression.get("operator", "")
        values = ",".join(sorted(str(value) for value in items(expression, "values")))
        if operator == "In":
            terms.append(f"{key} in ({values})")
        elif operator == "NotIn":
            terms.append(f"{key} notin ({values})")
        else:
            terms.append(key if operator == "Exists" else f"!{key}")
    return ",".join(terms) or "<none>"


def labels_text(labels: dict[str, Any] | None) -> str:
    """Return a map as ``labels.FormatLabels`` does."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or "<none>"


def selector(*keys: str) -> Any:
    return lambda obj: selector_text(dig(obj, *keys))


def template_columns(*path: str) -> tuple[Column, ...]:
    """The wide columns Containers and Images of a kind with a pod template."""
    return (
        Column(
            "Containers",
            lambda obj: ",".join(c.get("name", "") for c in items(obj, *path, "containers")),
            priority=WIDE,
        ),
        Column(
            "Images", lambda obj: ",".join(c.get("image", "") for c in items(obj, *path, "containers")), priority=WIDE
        ),
    )
