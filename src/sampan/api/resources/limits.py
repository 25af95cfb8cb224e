"""LimitRanges and ResourceQuotas. Source: kubernetes pkg/apis/core/validation, pkg/registry/core/resourcequota, printers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import AGE, NAME
from sampan.api.resources.quantities import (
    amount,
    container_resource_name,
    less,
    overcommits,
    quantity,
    quota_resource_name,
    resource_name,
    rounded_up,
)
from sampan.api.resources.reading import items, mapping
from sampan.schema.causes import duplicate, forbidden, invalid, required
from sampan.schema.names import qualified_name
from sampan.schema.objects import Object

AMOUNTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
COMPARISONS = (
    ("min", "max", "min", "min", "min value {a} is greater than max value {b}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "min value {a} is greater than default request value {b}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "defaultRequest",
        "default request value {a} is greater than max value {b}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value {a} is greater than default limit value {b}",
    ),
    ("min", "default", "default", "min", "min value {a} is greater than default value {b}"),
    ("default", "max", "default", "max", "default value {a} is greater than max value {b}"),
)
"""The first may not be more than the second: ``(first, second, field complained of, amount shown, message)``."""


def default_limit_range(limit_range: Object) -> None:
    for limit in items(limit_range, "spec", "limits"):
        for key in AMOUNTS:
            if limit.get(key):
                rounded_up(limit[key])
        if limit.get("type") != "Container":
            continue
        for name, value in mapping(limit, "max").items():
            limit.setdefault("default", {}).setdefault(name, value)
        for name, value in mapping(limit, "default").items():
            limit.setdefault("defaultRequest", {}).setdefault(name, value)
        for name, value in mapping(limit, "min").items():
            limit.setdefault("defaultRequest", {}).setdefault(name, value)


def validate_limit_range(new: Object, old: Object | None) -> Iterator[Cause]:
    kinds: set[Any] = set()
    for index, limit in enumerate(items(new, "spec", "limits")):
        path, kind = f"spec.limits[{index}]", limit.get("type") or ""
        yield from limit_type(f"{path}.type", kind)
        if kind in kinds:
            yield duplicate(f"{path}.type", kind)
        kinds.add(kind)
        yield from amounts(limit, kind, path)
        names = sorted({name for key in AMOUNTS for name in mapping(limit, key)})
        for name in names:
            yield from consistent(limit, name, path)


def limit_type(path: str, kind: str) -> Iterator[Cause]:
    messages = qualified_name(kind)
    if not messages and "/" not in kind and kind not in LIMIT_TYPES:
        messages = ["must be a standard limit type or fully qualified"]
    for message in messages:
        yield invalid(path, kind, message)


def amounts(limit: Object, kind: str, path: str) -> Iterator[Cause]:
    named = container_resource_name if kind in ("Pod", "Container") else resource_name
    for key in AMOUNTS:
        if kind == "Pod" and key in ("default", "defaultRequest"):
            if limit.get(key):
                yield forbidden(f"{path}.{key}", "may not be specified when `type` is 'Pod'")
            continue
        for name in mapping(limit, key):
            yield from named(f"{path}.{key}[{name}]", name)
    if kind == "PersistentVolumeClaim" and all("storage" not in mapping(limit, key) for key in ("min", "max")):
        why = "either minimum or maximum storage value is required, but neither was provided"
        yield required(f"{path}.limits", why)


def consistent(limit: Object, name: str, path: str) -> Iterator[Cause]:
    for first, second, field, shown, message in COMPARISONS:
        one, other = mapping(limit, first).get(name), mapping(limit, second).get(name)
        if one is not None and other is not None and less(other, one):
            value = mapping(limit, shown)[name]
            yield invalid(f"{path}.{field}[{name}]", str(value), message.format(a=one, b=other))
    yield from ratio(limit, name, f"{path}.maxLimitRequestRatio[{name}]")
    own, request = mapping(limit, "default").get(name), mapping(limit, "defaultRequest").get(name)
    if own is not None and request is not None and own != request and not overcommits(name):
        why = f"default value {own} must equal to defaultRequest value {request} in {name}"
        yield invalid(f"{path}.defaultRequest[{name}]", str(request), why)


def ratio(limit: Object, name: str, path: str) -> Iterator[Cause]:
    value = mapping(limit, "maxLimitRequestRatio").get(name)
    most = amount(str(value)) if value is not None else None
    if most is None:
        return
    if less(value, "1"):
        yield invalid(path, str(value), f"ratio {value} is less than 1")
    low, high = (amount(str(mapping(limit, key).get(name) or "x")) for key in ("min", "max"))
    if low is not None and high is not None and low.nano > 0:
        bound = high.nano / low.nano
        if most.nano / 1e9 > bound:
            yield invalid(path, str(value), f"ratio {value} is greater than max/min = {bound:f}")


LIMIT_RANGE = Resource(
    group="",
    version="v1",
    kind="LimitRange",
    plural="limitranges",
    short_names=("limits",),
    generation=False,
    default=default_limit_range,
    validate=collect(validate_limit_range),
    trusts_definition=False,
    columns=(NAME, Column("Created At", ".metadata.creationTimestamp")),
)


# quotas

SCOPES = (
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)  # fmt: skip
POD_AMOUNTS = frozenset((
    "cpu", "memory", "ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", "requests.cpu",
    "requests.memory", "requests.ephemeral-storage",
))  # fmt: skip
CLAIM_AMOUNTS = frozenset(("persistentvolumeclaims", "requests.storage"))
CONFLICTS = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
ONLY_EXISTS = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)
VALUED = ("PriorityClass", "VolumeAttributesClass")


def fits_scope(scope: str, name: str) -> bool:
    """``IsResourceQuotaScopeValidForResource``, of resources that quotas know."""
    if scope == "BestEffort":
        return name == "pods"
    if scope == "VolumeAttributesClass":
        return name in CLAIM_AMOUNTS
    return name == "pods" or name in POD_AMOUNTS


def standard(name: str) -> bool:
    return not list(quota_resource_name("", name)) and "/" not in name


def hard(values: Object, path: str) -> Iterator[Cause]:
    for name, value in values.items():
        yield from quota_resource_name(f"{path}[{name}]", name)
        yield from quantity(f"{path}[{name}]", name, value)


def quota_scopes(spec: Object) -> Iterator[Cause]:
    listed, names = items(spec, "scopes"), sorted(mapping(spec, "hard"))
    for scope in listed:
        if scope not in SCOPES:
            yield invalid("spec.scopes", listed, "unsupported scope")
        elif any(standard(name) and not fits_scope(scope, name) for name in names):
            yield invalid("spec.scopes", listed, "unsupported scope applied to resource")
    if any(pair <= set(listed) for pair in CONFLICTS):
        yield invalid("spec.scopes", listed, "conflicting scopes")


def scope_selector(spec: Object) -> Iterator[Cause]:
    selector, path = mapping(spec, "scopeSelector"), "spec.scopeSelector.matchExpressions"
    names, seen = sorted(mapping(spec, "hard")), set()
    for expression in items(selector, "matchExpressions"):
        scope, operator = expression.get("scopeName") or "", expression.get("operator") or ""
        values = items(expression, "values")
        seen.add(scope)
        if scope not in SCOPES:
            yield invalid(f"{path}.scopeName", scope, "unsupported scope")
        elif any(standard(name) and not fits_scope(scope, name) for name in names):
            yield invalid(path, selector, "unsupported scope applied to resource")
        if scope in SCOPES and scope not in VALUED and operator != "Exists":
            yield invalid(f"{path}.operator", operator, ONLY_EXISTS)
        if operator in ("In", "NotIn"):
            if not values:
                why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                yield required(f"{path}.values", why)
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                yield invalid(f"{path}.values", values, why)
        else:
            yield invalid(f"{path}.operator", operator, "not a valid selector operator")
    if any(pair <= seen for pair in CONFLICTS):
        yield invalid("spec.scopeSelector.matchExpressions", items(spec, "scopes"), "conflicting scopes")


def default_quota(quota: Object) -> None:
    for part, keys in (("spec", ("hard",)), ("status", ("hard", "used"))):
        for key in keys:
            rounded_up(mapping(quota, part, key))


def validate_quota(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    yield from hard(mapping(spec, "hard"), "spec.hard")
    yield from quota_scopes(spec)
    yield from scope_selector(spec)
    if old is not None and set(items(spec, "scopes")) != set(items(old, "spec", "scopes")):
        yield invalid("spec.scopes", items(spec, "scopes"), "field is immutable")


def validate_quota_status(new: Object, old: Object | None) -> Iterator[Cause]:
    for key in ("hard", "used"):
        yield from hard(mapping(new, "status", key), f"status.{key}")


def usage(limits: bool) -> Callable[[Object], str]:
    def cell(quota: Object) -> str:
        used = mapping(quota, "status", "used")
        wanted = mapping(quota, "status", "hard") or mapping(quota, "spec", "hard")
        shown = [f"{name}: {used.get(name, 0)}/{value}" for name, value in sorted(wanted.items())]
        return ", ".join(text for text in shown if text.startswith("limits") == limits)

    return cell


RESOURCE_QUOTA = Resource(
    group="",
    version="v1",
    kind="ResourceQuota",
    plural="resourcequotas",
    short_names=("quota",),
    status=True,
    generation=False,
    default=default_quota,
    prepare=lambda new, old: new.update(status={}) if old is None else None,
    validate=collect(validate_quota),
    validates={"status": collect(validate_quota_status)},
    trusts_definition=False,
    returns_deleted=True,
    columns=(NAME, Column("Request", usage(False)), Column("Limit", usage(True)), AGE),
)
