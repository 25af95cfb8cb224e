"""Resources of a whole pod: what its containers ask for together, defaults and checks of pod-level resources.

Source: KEP-2837, component-helpers/resource (AggregateContainerRequests), KEP-753 for sidecars.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.quantities import HUGE, amount, less, overcommits, pod_resource_name, requirements
from sampan.api.resources.reading import mapping
from sampan.schema.causes import forbidden, invalid
from sampan.schema.objects import Object
from sampan.schema.quantity import Quantity

Amounts = dict[str, Quantity]


def aggregate(spec: Object, kind: str) -> Amounts:
    """Return what the containers need at once of each resource (``kind``: requests or limits): all that run together,
    or more where an init container needs more before them."""
    together: Amounts = {}
    sidecars: Amounts = {}
    first: Amounts = {}
    for container in spec.get("containers") or ():
        add(together, of(container, kind))
    for container in spec.get("initContainers") or ():
        own = of(container, kind)
        if container.get("restartPolicy") == "Always":
            add(together, own)
            add(sidecars, own)
            most(first, sidecars)
        else:
            alone = dict(own)
            add(alone, sidecars)
            most(first, alone)
    most(together, first)
    return together


def of(container: Object, kind: str) -> Amounts:
    listed = mapping(container, "resources", kind)
    return {name: found for name, value in listed.items() if (found := amount(str(value))) is not None}


def add(total: Amounts, more: Mapping[str, Quantity]) -> None:
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value


def most(total: Amounts, other: Mapping[str, Quantity]) -> None:
    for name, value in other.items():
        if name not in total or total[name] < value:
            total[name] = value


def supported(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith(HUGE)


def default_pod_resources(spec: Object) -> None:
    """Fill requests and limits of the pod from what is said of it and of its containers, in place."""
    resources = spec.get("resources")
    if not resources:
        return
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if limits or requests:
        for name, value in aggregate(spec, "limits").items():
            if name.startswith(HUGE) and name not in requests:
                resources.setdefault("limits", {}).setdefault(name, str(value))
    limits = resources.get("limits") or {}
    if limits:
        wanted = resources.setdefault("requests", {})
        for name, value in aggregate(spec, "requests").items():
            if supported(name) and overcommits(name):
                wanted.setdefault(name, str(value))
        for name, value in limits.items():
            if supported(name):
                wanted.setdefault(name, value)


def pod_resources(spec: Object, field: str, claims: Iterable[str] = ()) -> Iterator[Cause]:
    """Yield why pod-level resources are refused."""
    resources: dict[str, Any] = spec["resources"]
    if resources.get("claims"):
        yield forbidden(f"{field}.claims", "claims may not be set for Resources at pod-level")
    yield from requirements(resources, field, claims, named=pod_resource_name)
    asked = resources.get("requests") or {}
    for name, value in aggregate(spec, "requests").items():
        if less(asked.get(name, "0"), str(value)):
            why = f"must be greater than or equal to aggregate container requests of {value}"
            yield invalid(f"{field}.requests[{name}]", str(asked.get(name, "0")), why)
    limits = resources.get("limits") or {}
    for index, container in enumerate(spec.get("containers") or ()):
        for name, value in mapping(container, "resources", "limits").items():
            if name in limits and less(limits[name], value):
                why = f"must be less than or equal to pod limits of {limits[name]}"
                yield invalid(f"{field}.containers[{index}][{name}].limits", str(value), why)
