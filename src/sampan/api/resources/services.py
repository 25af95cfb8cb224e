"""Services: defaults, strategy and declaration. Source: kubernetes pkg/apis/core/v1/defaults.go, pkg/registry/core/service.

Checks stand in ``service_validation``; addresses and node ports are given by admission (``service_addresses``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.addresses import STRICT_SINCE, family
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import AGE, NAME, WIDE, labels_text
from sampan.api.resources.pod_spec import fill
from sampan.api.resources.reading import items, joined, mapping, text
from sampan.api.resources.service_validation import (
    HINTS,
    MODE,
    RELAXED_NAMES_SINCE,
    is_external,
    needs_health_check,
    service,
    service_changes,
    service_status,
)
from sampan.schema.objects import Object

AFFINITY_SECONDS = 10800
NODE_PORT_TYPES = ("LoadBalancer", "NodePort")


def default(service: Object) -> None:
    spec = service.setdefault("spec", {})
    fill(spec, "sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        if mapping(spec, "sessionAffinityConfig", "clientIP").get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}
    elif spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    fill(spec, "type", "ClusterIP")
    for port in items(spec, "ports"):
        fill(port, "protocol", "TCP")
        if port.get("targetPort") in (None, 0, "") and "port" in port:
            port["targetPort"] = port["port"]
    if is_external(spec):
        fill(spec, "externalTrafficPolicy", "Cluster")
    if spec["type"] in ("ClusterIP", *NODE_PORT_TYPES):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def default_with_modes(service: Object) -> None:
    """As ``default``, and say how addresses of load balancers are reached (KEP-1860)."""
    default(service)
    if service["spec"]["type"] == "LoadBalancer":
        for point in items(service, "status", "loadBalancer", "ingress"):
            if point.get("ip"):
                point.setdefault("ipMode", "VIP")


def prepare(new: Object, old: Object | None) -> None:
    """Carry addresses over an update that leaves them out; drop what the new type has not (dropTypeDependentFields)."""
    spec = mapping(new, "spec")
    if old is None:
        new["status"] = {"loadBalancer": {}}
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        return
    before = mapping(old, "spec")
    kind, was = spec.get("type") or "ClusterIP", before.get("type") or "ClusterIP"
    if kind != "ExternalName" and was != "ExternalName":
        keep_addresses(spec, before)
    if kind in NODE_PORT_TYPES and was in NODE_PORT_TYPES:
        keep_node_ports(spec, before)
    if needs_health_check(spec) and needs_health_check(before) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before.get("healthCheckNodePort")
    if kind != was:
        drop_type_dependent(spec, before, kind)
    if needs_health_check(before) and not needs_health_check(spec):
        drop_same(spec, before, ("healthCheckNodePort",))


def keep_addresses(spec: Object, before: Object) -> None:
    """Addresses that are left out are those of before; one of the two fields that name them may be changed alone."""
    given, known = spec.get("clusterIP"), before.get("clusterIP")
    if not given and not spec.get("clusterIPs"):
        given = spec["clusterIP"] = known
    if given and not spec.get("clusterIPs"):
        spec["clusterIPs"] = before.get("clusterIPs") if given == known else [given]
    elif given != known and spec.get("clusterIPs") == before.get("clusterIPs"):
        # only the old field was changed: the list follows
        if given:
            spec["clusterIPs"] = [given]
        else:
            spec.pop("clusterIPs", None)
    for key in ("ipFamilies", "ipFamilyPolicy"):
        if not spec.get(key) and before.get(key):
            spec[key] = before[key]


def keep_node_ports(spec: Object, before: Object) -> None:
    known = {(p.get("protocol"), p.get("port")): p.get("nodePort") for p in items(before, "ports")}
    taken = {port.get("nodePort") for port in items(spec, "ports")}
    for port in items(spec, "ports"):
        number = known.get((port.get("protocol") or "TCP", port.get("port")))
        if not port.get("nodePort") and number and number not in taken:
            port["nodePort"] = number


def drop_type_dependent(spec: Object, before: Object, kind: str) -> None:
    if kind == "ExternalName":
        drop_same(spec, before, ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"))
    if kind not in NODE_PORT_TYPES:
        numbers = [[port.get("nodePort") for port in items(of, "ports")] for of in (spec, before)]
        if numbers[0] == numbers[1]:
            for port in items(spec, "ports"):
                port.pop("nodePort", None)
    if not is_external(spec):
        drop_same(spec, before, ("externalTrafficPolicy",))
    if kind != "LoadBalancer":
        drop_same(spec, before, ("allocateLoadBalancerNodePorts", "loadBalancerClass"))


def drop_same(spec: Object, before: Object, keys: tuple[str, ...]) -> None:
    """Drop fields that the user did not touch: they belong to the type of before."""
    for key in keys:
        if spec.get(key) == before.get(key):
            spec.pop(key, None)


def by_version(minor: int) -> Mapping[str, Any]:
    """What came with versions: how load balancers are reached (1.30), more ways to spread traffic (1.34), names that begin
    with a digit, CIDRs that are of one network and addresses that all programs read alike (1.36)."""
    known = ("PreferClose", "PreferSameZone", "PreferSameNode") if minor >= 34 else ("PreferClose",)
    modes = minor >= 30

    def validate(new: Object, old: Object | None) -> Iterator[Cause]:
        if old is not None:
            yield from service_changes(mapping(new, "spec"), mapping(old, "spec"))
        stays = {*items(old, "spec", "loadBalancerSourceRanges"), *items(old, "spec", "externalIPs")}
        yield from service(new, known, strict=minor >= STRICT_SINCE, known=stays)

    return {
        "name_is": "label" if minor >= RELAXED_NAMES_SINCE else "label1035",
        "default": default_with_modes if modes else default,
        "validate": collect(validate),
        "validates": {"status": collect(lambda new, old: service_status(new, modes))},
    }


def warnings(new: Object, old: Object | None) -> Iterator[str]:
    """``GetWarningsForService``."""
    spec = mapping(new, "spec")
    kind, external = spec.get("type"), items(spec, "externalIPs")
    if HINTS in mapping(new, "metadata", "annotations"):
        yield f"annotation {HINTS} is deprecated, please use {MODE} instead"
    headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    if headless:
        if spec.get("loadBalancerIP"):
            yield "spec.loadBalancerIP is ignored for headless services"
        if external:
            yield "spec.externalIPs is ignored for headless services"
        if spec.get("sessionAffinity") != "None":
            yield "spec.SessionAffinity is ignored for headless services"
    for index, address in enumerate(external):
        yield from address_warnings(f"spec.externalIPs[{index}]", address)
    if kind == "ExternalName" and external:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if kind != "ExternalName" and spec.get("externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def address_warnings(field: str, text: str) -> Iterator[str]:
    """``GetWarningsForIP``: an IPv6 address that is not written as RFC 5952 wants it."""
    if family(text) == "IPv6":
        import ipaddress

        canonical = str(ipaddress.IPv6Address(text))
        if canonical != text:
            yield f'{field}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{canonical}")'


# columns


def external_address(service: Object) -> str:
    kind = text(service, "spec", "type")
    external = items(service, "spec", "externalIPs")
    if kind == "ExternalName":
        return text(service, "spec", "externalName")
    if kind == "LoadBalancer":
        points = items(service, "status", "loadBalancer", "ingress")
        given = [point.get("ip") or point.get("hostname") or "" for point in points]
        return ",".join([*given, *external]) or "<pending>"
    return joined(external)


def port_cell(service: Object) -> str:
    cells = []
    for port in items(service, "spec", "ports"):
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        cells.append(f"{port.get('port')}{node}/{port.get('protocol')}")
    return joined(cells)


def cluster_ip(service: Object) -> str:
    return text(service, "spec", "clusterIP") or "<none>"


SERVICE = Resource(
    group="",
    version="v1",
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    status=True,
    generation=False,
    prepare=prepare,
    warn=warnings,
    by_version=by_version,
    trusts_definition=False,
    **by_version(37),
    returns_deleted=True,
    columns=(
        NAME,
        Column("Type", ".spec.type"),
        Column("Cluster-IP", cluster_ip),
        Column("External-IP", external_address),
        Column("Port(s)", port_cell),
        AGE,
        Column("Selector", lambda service: labels_text(mapping(service, "spec", "selector")), priority=WIDE),
    ),
    field_selectors={
        "spec.clusterIP": lambda service: text(service, "spec", "clusterIP"),
        "spec.type": lambda service: text(service, "spec", "type"),
    },
)
