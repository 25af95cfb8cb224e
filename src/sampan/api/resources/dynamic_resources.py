"""resource.k8s.io (DRA): what devices there are, and what claims pods have on them.

Versions differ in shape: v1 and v1beta2 have a request's wishes under ``exactly`` and a device's properties in itself;
v1beta1 and v1alpha3 have the wishes in the request and the properties under ``basic``. ``nest_…`` and ``flatten_…`` convert.
Kinds of the first design (v1alpha1, v1alpha2) are in ``classic_claims``. Source: KEP-4381, kubernetes pkg/apis/resource.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from sampan.api import metadata
from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources import classic_claims, resource_slices
from sampan.api.resources.checking import collect, immutable
from sampan.api.resources.columns import AGE, NAME, field
from sampan.api.resources.device_requests import claim_spec, claim_status, configuration, listed, selectors
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import forbidden, invalid, required, too_long
from sampan.schema.names import caseless_subdomain, long_name, qualified_name, validate_annotations, validate_labels
from sampan.schema.objects import Object

GROUP = "resource.k8s.io"
NESTED, FLAT = ("v1", "v1beta2"), ("v1beta1", "v1alpha3")
WISHES = ("adminAccess", "allocationMode", "capacity", "count", "derivedAttributes", "deviceClassName", "selectors",
          "tolerations")  # fmt: skip
PLAIN_DEVICE = ("name", "basic")


# shapes


def claims_of(obj: Object) -> Object:
    """Return the claim's spec in a claim or a template."""
    spec = mapping(obj, "spec")
    return mapping(spec, "spec") if obj.get("kind") == "ResourceClaimTemplate" else spec


def nest_claim(obj: Object) -> None:
    """From v1beta1's shape to v1's, in place."""
    for request in items(claims_of(obj), "devices", "requests"):
        wishes = {key: request.pop(key) for key in WISHES if key in request}
        if not items(request, "firstAvailable") and wishes:
            request["exactly"] = wishes


def flatten_claim(obj: Object) -> None:
    for request in items(claims_of(obj), "devices", "requests"):
        request.update(request.pop("exactly", None) or {})


def nest_slice(obj: Object) -> None:
    for device in items(obj, "spec", "devices"):
        device.update(device.pop("basic", None) or {})
        for name, value in mapping(device, "capacity").items():
            if not isinstance(value, dict):  # v1alpha3 has the amount alone
                device["capacity"][name] = {"value": value}


def flatten_slice(obj: Object) -> None:
    for index, device in enumerate(items(obj, "spec", "devices")):
        basic = {key: value for key, value in device.items() if key != "name"}
        obj["spec"]["devices"][index] = {"name": device.get("name"), "basic": basic}


def flatten_alpha_slice(obj: Object) -> None:
    flatten_slice(obj)
    for device in items(obj, "spec", "devices"):
        for name, value in mapping(device, "basic", "capacity").items():
            device["basic"]["capacity"][name] = value.get("value")


Convert = Callable[[Object], None]
CONVERSIONS: dict[tuple[str, str, str, str], Convert] = {}
for _nested in NESTED:
    for _flat in FLAT:
        for _kind in ("ResourceClaim", "ResourceClaimTemplate"):
            CONVERSIONS[GROUP, _kind, _flat, _nested] = nest_claim
            CONVERSIONS[GROUP, _kind, _nested, _flat] = flatten_claim
        CONVERSIONS[GROUP, "ResourceSlice", _flat, _nested] = nest_slice
        CONVERSIONS[GROUP, "ResourceSlice", _nested, _flat] = (
            flatten_alpha_slice if _flat == "v1alpha3" else flatten_slice
        )


def alpha_capacity(obj: Object) -> None:
    """From v1beta1's amounts to v1alpha3's, in place."""
    nest_slice(obj)
    flatten_alpha_slice(obj)


def beta_capacity(obj: Object) -> None:
    nest_slice(obj)
    flatten_slice(obj)


CONVERSIONS[GROUP, "ResourceSlice", "v1beta1", "v1alpha3"] = alpha_capacity
CONVERSIONS[GROUP, "ResourceSlice", "v1alpha3", "v1beta1"] = beta_capacity


def in_new_shape(nest: Convert, check: Callable[[Object, Object | None], Iterator[Cause]]) -> Any:
    """Return the ``Validate`` of a version in the old shape: it is judged in the new one."""

    def judge(new: Object, old: Object | None) -> list[Cause]:
        shaped = [copy.deepcopy(one) for one in (new, old) if one is not None]
        for one in shaped:
            nest(one)
        return list(check(shaped[0], shaped[1] if old is not None else None))

    return judge


# claims


def default_claim(obj: Object) -> None:
    for request in items(claims_of(obj), "devices", "requests"):
        for wish in (request, mapping(request, "exactly"), *items(request, "firstAvailable")):
            default_wish(wish, wish is not request or "deviceClassName" in request)


def default_wish(wish: Object, is_wish: bool) -> None:
    if not is_wish:
        return
    if not wish.get("allocationMode") and wish:
        wish["allocationMode"] = "ExactCount"
    if wish.get("allocationMode") == "ExactCount" and not wish.get("count"):
        wish["count"] = 1
    for toleration in items(wish, "tolerations"):
        if not toleration.get("operator"):
            toleration["operator"] = "Equal"


def prepare_claim(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {}


def validate_claim(new: Object, old: Object | None) -> Iterator[Cause]:
    if old is None:
        yield from claim_spec(mapping(new, "spec"), "spec")
    else:
        yield from immutable("spec", mapping(new, "spec"), mapping(old, "spec"))


def validate_claim_status(new: Object, old: Object | None) -> Iterator[Cause]:
    assert old is not None
    yield from claim_status(new, old)


def validate_template(new: Object, old: Object | None) -> Iterator[Cause]:
    if old is None:
        yield from template_metadata(mapping(new, "spec", "metadata"), "spec.metadata")
        yield from claim_spec(mapping(new, "spec", "spec"), "spec.spec")
    else:
        yield from immutable("spec", mapping(new, "spec"), mapping(old, "spec"))


def template_metadata(given: Object, path: str) -> Iterator[Cause]:
    """Templates have labels and annotations only (``ValidateTemplateObjectMeta``)."""
    yield from (Cause(*cause) for cause in validate_annotations(mapping(given, "annotations"), f"{path}.annotations"))
    yield from (Cause(*cause) for cause in validate_labels(mapping(given, "labels"), f"{path}.labels"))
    for key, value in given.items():
        if value and key not in ("annotations", "labels"):
            yield forbidden(f"{path}.{'uID' if key == 'uid' else key}", "cannot be set")


def claim_state(claim: Object) -> str:
    going = bool(dig(claim, "metadata", "deletionTimestamp"))
    states = ["deleted"] if going else []
    if dig(claim, "status", "allocation") is None:
        return ",".join(states) or "pending"
    states.append("allocated")
    states += ["reserved"] if items(claim, "status", "reservedFor") else []
    return ",".join(states)


# classes, slices, taints


def validate_class(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    before = None if old is None else items(old, "spec", "selectors")
    yield from selectors("spec.selectors", items(spec, "selectors"), before)
    yield from listed("spec.config", items(spec, "config"), 32, configuration)
    if spec.get("extendedResourceName") is not None:
        yield from extended_name("spec.extendedResourceName", spec["extendedResourceName"])


def extended_name(path: str, name: str) -> Iterator[Cause]:
    """``ExtendedResourceName``: a name with a domain of somebody else's, which may be counted by a quota."""
    if "/" not in name:
        yield invalid(path, name, "a name must be a domain-prefixed path, such as 'example.com/my-prop'")
    elif "kubernetes.io/" in name:
        yield invalid(path, name, 'must not have "kubernetes.io/" domain')
    if name.startswith("requests."):
        yield invalid(path, name, 'must not have "requests." prefix')
    for message in qualified_name(f"requests.{name}"):
        yield invalid(path, name, message)


def default_slice(obj: Object) -> None:
    at = metadata.now()
    for device in items(obj, "spec", "devices"):
        for one in (*items(device, "taints"), *items(device, "basic", "taints")):
            resource_slices.default_taint(one, at)


def default_rule(obj: Object) -> None:
    chosen = dig(obj, "spec", "taint")
    if chosen is not None:
        resource_slices.default_taint(chosen, metadata.now())


def default_pool_request(request: Object) -> None:
    request.setdefault("spec", {}).setdefault("limit", 100)


def validate_pool_request(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    driver, limit, pool = text(spec, "driver"), spec.get("limit"), spec.get("poolName")
    if not driver:
        yield required("spec.driver")
    else:
        yield from (invalid("spec.driver", driver, message) for message in caseless_subdomain(driver))
    if pool is not None:
        yield from declared_pool_name("spec.poolName", pool)
    if limit is not None and limit < 1:
        yield invalid("spec.limit", limit, "must be greater than or equal to 1")
    elif limit is not None and limit > 1000:
        yield invalid("spec.limit", limit, "must be less than or equal to 1000")
    if old is not None:
        yield from immutable("spec", spec, mapping(old, "spec"))


def declared_pool_name(path: str, name: str) -> Iterator[Cause]:
    if len(name.encode()) > 253:
        yield too_long(path, 253)
    for index, part in enumerate(name.split("/")):
        if not part:
            yield invalid(path, name, f"segment {index}: must not be empty")
            continue
        for message in long_name(part):
            yield invalid(path, part, f"segment {index}: {message}")


def dynamic(version: str, kind: str, plural: str, *columns: Column, namespaced: bool = False, **extra: Any) -> Resource:
    return Resource(
        group=GROUP,
        version=version,
        kind=kind,
        plural=plural,
        namespaced=namespaced,
        columns=(NAME, *columns, AGE),
        trusts_definition=False,
        **extra,
    )


SLICE_COLUMNS = (
    Column("Node", field("spec", "nodeName", missing="")),
    Column("Driver", ".spec.driver"),
    Column("Pool", field("spec", "pool", "name", missing="")),
)
SLICE_FIELDS = {f"spec.{key}": lambda one, key=key: text(one, "spec", key) for key in ("nodeName", "driver")}


def of_version(version: str) -> Iterator[Resource]:
    flat = version in FLAT
    claim, template, slices = (
        (
            in_new_shape(nest_claim, validate_claim),
            in_new_shape(nest_claim, validate_template),
            in_new_shape(nest_slice, resource_slices.validate_slice),
        )
        if flat
        else (collect(validate_claim), collect(validate_template), collect(resource_slices.validate_slice))
    )
    status = in_new_shape(nest_claim, validate_claim_status) if flat else collect(validate_claim_status)
    yield dynamic(version, "DeviceClass", "deviceclasses", validate=collect(validate_class))
    yield dynamic(
        version,
        "ResourceClaim",
        "resourceclaims",
        Column("State", claim_state),
        namespaced=True,
        status=True,
        generation=False,
        default=default_claim,
        prepare=prepare_claim,
        validate=claim,
        validates={"status": status},
    )
    yield dynamic(
        version,
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
        namespaced=True,
        generation=False,
        default=default_claim,
        validate=template,
    )
    yield dynamic(
        version,
        "ResourceSlice",
        "resourceslices",
        *SLICE_COLUMNS,
        default=default_slice,
        validate=slices,
        field_selectors=SLICE_FIELDS,
    )


def taint_rule(version: str) -> Resource:
    return dynamic(
        version,
        "DeviceTaintRule",
        "devicetaintrules",
        status=True,
        default=default_rule,
        prepare=lambda new, old: new.pop("status", None) if old is None else None,
        validate=collect(resource_slices.validate_rule),
    )


POOL_STATUS_REQUEST = dynamic(
    "v1alpha3",
    "ResourcePoolStatusRequest",
    "resourcepoolstatusrequests",
    Column("Driver", ".spec.driver"),
    Column("Pool", field("spec", "poolName")),
    status=True,
    generation=False,
    default=default_pool_request,
    prepare=lambda new, old: new.pop("status", None) if old is None else None,
    validate=collect(validate_pool_request),
)

RESOURCES = (
    *(resource for version in (*NESTED, *FLAT) for resource in of_version(version)),
    *(taint_rule(version) for version in ("v1", "v1beta2", "v1alpha3")),
    POOL_STATUS_REQUEST,
    *classic_claims.RESOURCES,
)
