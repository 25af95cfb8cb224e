"""node.k8s.io: RuntimeClass. Source: kubernetes pkg/apis/node (validation), KEP-585, KEP-688."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, immutable, label, one_of
from sampan.api.resources.columns import AGE, NAME
from sampan.api.resources.quantities import requirements
from sampan.api.resources.reading import items, mapping
from sampan.schema.causes import duplicate, invalid
from sampan.schema.names import label_value, qualified_name
from sampan.schema.objects import Object

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def validate_class(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from label("handler", new.get("handler"))
    yield from requirements({"limits": mapping(new, "overhead", "podFixed")}, "overhead")
    scheduling = new.get("scheduling")
    if scheduling is not None:
        for key, value in mapping(scheduling, "nodeSelector").items():
            for message in qualified_name(key):
                yield invalid("scheduling.nodeSelector", key, message)
            for message in label_value(value):
                yield invalid("scheduling.nodeSelector", value, message)
        yield from tolerations("scheduling.tolerations", items(scheduling, "tolerations"))
    if old is not None:
        yield from immutable("handler", new.get("handler"), old.get("handler"))


def tolerations(path: str, given: list[Any]) -> Iterator[Cause]:
    """``ValidateTolerations``, and that no two are the same."""
    seen: list[Any] = []
    for index, toleration in enumerate(given):
        at, key = f"{path}[{index}]", toleration.get("key") or ""
        operator, value = toleration.get("operator") or "Equal", toleration.get("value") or ""
        if key:
            for message in qualified_name(key):
                yield invalid(f"{at}.key", key, message)
        elif operator != "Exists":
            yield invalid(
                f"{at}.operator",
                toleration.get("operator") or "",
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            yield invalid(
                f"{at}.effect",
                toleration.get("effect") or "",
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            )
        if operator == "Exists" and value:
            yield invalid(f"{at}.operator", toleration, "value must be empty when `operator` is 'Exists'")
        elif operator == "Equal":
            for message in label_value(value):
                yield invalid(f"{at}.operator", value, message)
        elif operator != "Exists":
            yield from one_of(f"{at}.operator", operator, ("Equal", "Exists"))
        if toleration.get("effect"):
            yield from one_of(f"{at}.effect", toleration["effect"], EFFECTS)
        if toleration in seen:
            yield duplicate(at, toleration)
        seen.append(toleration)


RUNTIME_CLASS = Resource(
    group="node.k8s.io",
    version="v1",
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    generation=False,
    validate=collect(validate_class),
    columns=(NAME, Column("Handler", ".handler"), AGE),
)

RESOURCES = (RUNTIME_CLASS,)
