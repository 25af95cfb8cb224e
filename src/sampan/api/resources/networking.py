"""networking.k8s.io and discovery.k8s.io in one list; classes, addresses and ranges, which are small, stand here.

Source: kubernetes pkg/apis/networking/v1/defaults.go, pkg/apis/networking/validation, printers.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.addresses import IP_MESSAGE, cidr, cidr_family, family
from sampan.api.resources.checking import collect, domain_prefixed_path, immutable, label, named, one_of
from sampan.api.resources.columns import AGE, NAME
from sampan.api.resources.endpoints import ENDPOINT_SLICE
from sampan.api.resources.ingresses import GROUP, INGRESS, local_reference
from sampan.api.resources.network_policies import NETWORK_POLICY
from sampan.api.resources.reading import dig, items, joined, mapping, text
from sampan.schema.causes import forbidden, invalid, required, too_long
from sampan.schema.names import dns1123_subdomain, path_segment
from sampan.schema.objects import Object

LONGEST_CONTROLLER = 250
ONE_OF_EACH = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"

# IngressClass


def default_class(ingress_class: Object) -> None:
    reference = dig(ingress_class, "spec", "parameters")
    if isinstance(reference, dict):
        reference.setdefault("scope", "Cluster")


def validate_class(new: Object, old: Object | None) -> Iterator[Cause]:
    controller, reference = text(new, "spec", "controller"), dig(new, "spec", "parameters")
    if old is not None:
        yield from immutable("spec.controller", controller, text(old, "spec", "controller"))
    if not controller:
        yield required("spec.controller")
    else:
        if len(controller) > LONGEST_CONTROLLER:
            yield too_long("spec.controller", LONGEST_CONTROLLER)
        yield from domain_prefixed_path("spec.controller", controller)
    if reference is not None:
        yield from class_parameters(reference, "spec.parameters")


def class_parameters(reference: Object, path: str) -> Iterator[Cause]:
    yield from local_reference(reference, path)
    scope, namespace = reference.get("scope"), reference.get("namespace")
    if scope is None:
        yield required(f"{path}.scope")
        return
    yield from one_of(f"{path}.scope", scope, ("Cluster", "Namespace"))
    if scope == "Namespace":
        if namespace is None:
            yield required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
        else:
            yield from label(f"{path}.namespace", namespace)
    elif scope == "Cluster" and namespace is not None:
        yield forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")


def parameters(ingress_class: Object) -> str:
    reference = mapping(ingress_class, "spec", "parameters")
    if not reference:
        return "<none>"
    kind = str(reference.get("kind"))
    if reference.get("apiGroup"):
        kind = f"{kind}.{reference['apiGroup']}"
    return f"{kind}/{reference.get('name')}"


INGRESS_CLASS = Resource(
    group=GROUP,
    version="v1",
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
    default=default_class,
    validate=collect(validate_class),
    trusts_definition=False,
    columns=(NAME, Column("Controller", ".spec.controller"), Column("Parameters", parameters), AGE),
)

# IPAddress and ServiceCIDR


def validate_address(new: Object, old: Object | None) -> Iterator[Cause]:
    name, parent, path = text(new, "metadata", "name"), dig(new, "spec", "parentRef"), "spec.parentRef"
    if not family(name):
        yield invalid("metadata.name", name, IP_MESSAGE)
    if old is not None:
        yield from immutable(path, parent, dig(old, "spec", "parentRef"))
        return
    if parent is None:
        yield required(path)
        return
    if parent.get("group"):
        for message in dns1123_subdomain(parent["group"]):
            yield invalid(f"{path}.group", parent["group"], message)
    for key in ("resource", "name"):
        yield from named(f"{path}.{key}", parent.get(key), path_segment)
    yield from named(f"{path}.namespace", parent.get("namespace"), path_segment, needed=False)


def validate_ranges(new: Object, old: Object | None) -> Iterator[Cause]:
    ranges, before, path = items(new, "spec", "cidrs"), items(old, "spec", "cidrs"), "spec.cidrs"
    if old is None:
        yield from ranges_of(ranges, path)
    elif len(ranges) == len(before):
        for index, (now, was) in enumerate(zip(ranges, before, strict=True)):
            yield from immutable(f"{path}[{index}]", now, was)
    elif len(before) == 1 and len(ranges) == 2:
        yield from immutable(f"{path}[0]", ranges[0], before[0])
        yield from ranges_of(ranges, path)
    else:
        yield from immutable(path, ranges, before)


def ranges_of(ranges: list[str], path: str) -> Iterator[Cause]:
    if not ranges:
        yield required(path, "at least one CIDR required")
    elif len(ranges) > 2:
        yield invalid(path, {"CIDRs": ranges}, "may only hold up to 2 values")
    else:
        for index, value in enumerate(ranges):
            yield from cidr(f"{path}[{index}]", value)
        if len(ranges) == 2 and cidr_family(ranges[0]) == cidr_family(ranges[1]) != "":
            yield invalid(path, ranges, ONE_OF_EACH)


IP_ADDRESS = Resource(
    group=GROUP,
    version="v1",
    kind="IPAddress",
    plural="ipaddresses",
    singular="ipaddress",
    namespaced=False,
    short_names=("ip",),
    name_is="path",
    validate=collect(validate_address),
    trusts_definition=False,
    columns=(
        NAME,
        Column(
            "ParentRef",
            lambda ip: "/".join(
                part
                for part in (text(ip, "spec", "parentRef", key) for key in ("resource", "namespace", "name"))
                if part
            ),
        ),
        AGE,
    ),
)
SERVICE_CIDR = Resource(
    group=GROUP,
    version="v1",
    kind="ServiceCIDR",
    plural="servicecidrs",
    namespaced=False,
    status=True,
    prepare=lambda new, old: new.update(status={}) if old is None else None,
    validate=collect(validate_ranges),
    validates={"status": lambda new, old: []},
    trusts_definition=False,
    columns=(NAME, Column("CIDRs", lambda cidr: joined(items(cidr, "spec", "cidrs"))), AGE),
)

RESOURCES = (INGRESS, INGRESS_CLASS, NETWORK_POLICY, IP_ADDRESS, SERVICE_CIDR, ENDPOINT_SLICE)
