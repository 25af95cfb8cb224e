"""Selectors in access reviews: whether somebody may list what a selector chooses (KEP-4601, from 1.32 on). Pure.

A review gives a selector as text or as requirements; authorizers see it as a request's would be sent.
Source: authorization.k8s.io/v1 FieldSelectorAttributes; kubernetes pkg/apis/authorization/validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sampan.api.resources.reading import items, mapping, text
from sampan.schema.causes import Cause, invalid, required
from sampan.schema.objects import Object

SINCE = 32
SIGNS = {"In": "=", "NotIn": "!="}


def check(resource: Object) -> Iterator[Cause]:
    """Yield what is wrong with the selectors of a review's resourceAttributes."""
    for kind in ("fieldSelector", "labelSelector"):
        given = resource.get(kind)
        if given is None:
            continue
        path = f"spec.resourceAttributes.{kind}"
        raw, requirements = text(given, "rawSelector"), items(given, "requirements")
        if raw and requirements:
            yield invalid(f"{path}.rawSelector", raw, "may not specified at the same time as requirements")
        if not raw and not requirements:
            yield required(f"{path}.requirements", f"when {path} is specified, requirements or rawSelector is required")
        for index, requirement in enumerate(requirements):
            if not requirement.get("key"):
                yield required(f"{path}.requirements[{index}].key", "must be specified")


def as_sent(resource: Object, kind: str) -> str:
    """Return a selector as a request has it in its query; what has no such form is left out, which allows less."""
    given = mapping(resource, kind)
    return text(given, "rawSelector") or ",".join(filter(None, map(term, items(given, "requirements"))))


def term(requirement: Mapping[str, Any]) -> str:
    key, operator = text(requirement, "key"), text(requirement, "operator")
    values = [str(value) for value in items(requirement, "values")]
    if operator == "Exists":
        return key
    if operator == "DoesNotExist":
        return f"!{key}"
    if operator not in SIGNS or not values:
        return ""
    if len(values) == 1:
        return f"{key}{SIGNS[operator]}{values[0]}"
    return f"{key} {operator.lower()} ({','.join(values)})"
