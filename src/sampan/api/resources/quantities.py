"""Amounts of compute resources: which names they may have, and that requests fit limits.

Source: kubernetes pkg/apis/core/validation (validateResourceRequirements …), pkg/apis/core/helper.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import good_label, label
from sampan.schema.causes import duplicate, forbidden, invalid, not_supported, required
from sampan.schema.names import qualified_name
from sampan.schema.objects import Object
from sampan.schema.quantity import Quantity, QuantityError, parse
from sampan.schema.remembering import remembered

NON_NEGATIVE = "must be greater than or equal to 0"
HUGE = "hugepages-"
NATIVE = "kubernetes.io/"
CONTAINER_RESOURCES = ("cpu", "memory", "ephemeral-storage")
POD_RESOURCES = ("cpu", "hugepages-", "memory")
COUNTED = (
    "configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services",
    "services.loadbalancers", "services.nodeports",
)  # fmt: skip
STANDARD = frozenset((
    "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu",
    "limits.memory", "limits.ephemeral-storage", "storage", "requests.storage", *COUNTED,
))  # fmt: skip
QUOTA_RESOURCES = STANDARD - {"storage"}
INTEGERS = frozenset(COUNTED)
QUOTA_OBJECT = re.compile(r"count/[a-z0-9.-]+", re.ASCII)


@remembered(4096)
def amount(text: str) -> Quantity | None:
    """Return a quantity as a number, None for what is none (the decoder has refused that already)."""
    try:
        return parse(text)
    except QuantityError:
        return None


def less(one: Any, other: Any) -> bool:
    """Whether an amount is smaller than another; both must be quantities."""
    first, second = amount(str(one)), amount(str(other))
    return first is not None and second is not None and first < second


def is_native(name: str) -> bool:
    return "/" not in name or NATIVE in name


def is_extended(name: str) -> bool:
    """Whether a name is that of an extended resource (``example.com/gpu``)."""
    return not is_native(name) and not name.startswith("requests.") and not qualified_name("requests." + name)


def overcommits(name: str) -> bool:
    """Whether requests may be lower than limits: not for huge pages and extended resources."""
    return is_native(name) and not name.startswith(HUGE)


@remembered(1024)
def resource_messages(name: str) -> tuple[str, ...]:
    """What is wrong with the name of any compute resource (``validateResourceName``)."""
    found = qualified_name(name)
    if not found and "/" not in name and name not in STANDARD and HUGE not in name:
        found = ["must be a standard resource type or fully qualified"]
    return tuple(found)


@remembered(1024)
def container_resource_messages(name: str) -> tuple[str, ...]:
    """What is wrong with the name of a resource that a container asks for."""
    found = list(resource_messages(name))
    if "/" not in name:
        if name not in CONTAINER_RESOURCES and not name.startswith(HUGE):
            found.append("must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        found.append("doesn't follow extended resource name standard")
    return tuple(found)


def container_resource_name(field: str, name: str) -> Iterator[Cause]:
    for message in container_resource_messages(name):
        yield invalid(field, name, message)


def resource_name(field: str, name: str) -> Iterator[Cause]:
    for message in resource_messages(name):
        yield invalid(field, name, message)


def quota_resource_name(field: str, name: str) -> Iterator[Cause]:
    yield from resource_name(field, name)
    if "/" not in name and name not in QUOTA_RESOURCES and not name.removeprefix("requests.").startswith(HUGE):
        yield invalid(field, name, "must be a standard resource for quota")


def pod_resource_name(field: str, name: str) -> Iterator[Cause]:
    if resource_messages(name):
        yield from resource_name(field, name)
    elif name not in ("cpu", "memory") and not name.startswith(HUGE):
        yield not_supported(field, name, POD_RESOURCES)


def quantity(field: str, name: str, value: Any) -> Iterator[Cause]:
    """``ValidateResourceQuantityValue``: not negative, and whole where the resource is counted."""
    found = amount(str(value))
    if found is None:
        return
    if found.nano < 0:
        yield invalid(field, str(value), NON_NEGATIVE)
    if (name in INTEGERS or is_extended(name)) and found.nano % 1_000_000_000:
        yield invalid(field, str(value), "must be an integer")


def positive(field: str, value: Any) -> Iterator[Cause]:
    found = amount(str(value))
    if found is not None and found.nano <= 0:
        yield invalid(field, str(value), "must be greater than zero")


def huge_pages(field: str, name: str, value: Any) -> Iterator[Cause]:
    size, found = amount(name.removeprefix(HUGE)), amount(str(value))
    if found is not None and (size is None or size.nano <= 0 or found.nano % size.nano):
        yield invalid(field, str(value), f"{value} is not positive integer multiple of {name}")


Named = Callable[[str, str], Iterator[Cause]]


def requirements(
    given: Object, field: str, claims: Iterable[str] = (), named: Named = container_resource_name
) -> Iterator[Cause]:
    """Yield why ResourceRequirements are refused; ``claims`` are the names of the pod's resource claims."""
    limits, requests = given.get("limits") or {}, given.get("requests") or {}
    for name, value in limits.items():
        yield from one_amount(f"{field}.limits", name, value, named)
    for name, value in requests.items():
        yield from one_amount(f"{field}.requests", name, value, named)
        if name in limits:
            yield from within(f"{field}.requests", name, value, limits[name])
        elif not overcommits(name):
            yield required(f"{field}.limits", "Limit must be set for non overcommitable resources")
    if limits or requests:
        names = limits.keys() | requests.keys()
        if any(name.startswith(HUGE) for name in names) and not names & {"cpu", "memory"}:
            yield forbidden(field, "HugePages require cpu or memory")
    if given.get("claims"):
        yield from claim_names(given["claims"], f"{field}.claims", sorted(claims))


def one_amount(field: str, name: str, value: Any, named: Named) -> Iterator[Cause]:
    plain = name == "cpu" or name == "memory"
    found = amount(value) if isinstance(value, str) else None
    if plain and found is not None and found.nano >= 0:
        return
    path = f"{field}[{name}]"
    yield from named(path, name)
    yield from quantity(path, name, value)
    if name.startswith(HUGE):
        yield from huge_pages(path, name, value)


def within(field: str, name: str, request: Any, limit: Any) -> Iterator[Cause]:
    asked, most = amount(str(request)), amount(str(limit))
    if asked is None or most is None or asked == most:
        return
    if not overcommits(name):
        yield invalid(field, str(request), f"must be equal to {name} limit of {limit}")
    elif most < asked:
        yield invalid(field, str(request), f"must be less than or equal to {name} limit of {limit}")


def claim_names(listed: list[Object], field: str, claims: list[str]) -> Iterator[Cause]:
    """The claims that a container uses: each is one of the pod's, and named once."""
    seen: set[str] = set()
    for index, claim in enumerate(listed):
        path, name, request = f"{field}[{index}]", claim.get("name") or "", claim.get("request") or ""
        if not name:
            yield required(path)
            continue
        key = f"{name}/{request}" if request else name
        if request and name not in seen and not good_label(request):
            yield from label(f"{path}.request", request)
        if name in seen or key in seen or (not request and any(known.startswith(name + "/") for known in seen)):
            yield duplicate(path, name if name in seen or not request else key)
        seen.add(key)
        if name not in claims:
            names = ", ".join(filter(None, claims))
            known = f": {names}" if names else " which is empty"
            why = f'Not found: "{name}": must be one of the names in pod.spec.resourceClaims{known}'
            yield Cause(path, "FieldValueNotFound", why)


def rounded_up(values: Object) -> None:
    """Round amounts finer than a thousandth up, in place (``SetDefaults_ResourceList``)."""
    for name, value in values.items():
        if isinstance(value, str) and value and (value[-1] in "nu" or "." in value):
            found = amount(value)
            if found is not None and found.nano % 1_000_000:
                values[name] = str(Quantity(-(-found.nano // 1_000_000) * 1_000_000, found.format))
