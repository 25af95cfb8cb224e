"""Services and Endpoints. Source: kubernetes pkg/apis/core/v1/defaults.go, validation.go (ValidateService), printers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.addresses import valid_ip
from sampan.api.resources.checking import (
    collect,
    immutable,
    label,
    labels_of,
    needed_one_of,
    one_of,
    port_number,
    port_or_name,
    subdomain,
)
from sampan.api.resources.columns import AGE, NAME, WIDE, labels_text
from sampan.api.resources.reading import dig, items, joined, mapping, text
from sampan.schema.causes import duplicate, forbidden, invalid, required
from sampan.schema.objects import Object

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
SHOWN_ENDPOINTS = 3


def default(service: Object) -> None:
    spec = service.setdefault("spec", {})
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        config.setdefault("timeoutSeconds", 10800)
    elif spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    kind = spec.setdefault("type", "ClusterIP")
    for port in items(spec, "ports"):
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, "") and "port" in port:
            port["targetPort"] = port["port"]
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def prepare(new: Object, old: Object | None) -> None:
    """Carry addresses over an update that leaves them out; drop what the new type has not (dropTypeDependentFields)."""
    if old is None:
        new["status"] = {"loadBalancer": {}}
        return
    spec, before = mapping(new, "spec"), mapping(old, "spec")
    kind, was = spec.get("type") or "ClusterIP", before.get("type") or "ClusterIP"
    if kind != "ExternalName" and was != "ExternalName":
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if not spec.get(key) and before.get(key):
                spec[key] = before[key]
    if kind in ("NodePort", "LoadBalancer") and was in ("NodePort", "LoadBalancer"):
        keep_node_ports(spec, before)
    if kind != was:
        drop_type_dependent(spec, before, kind)


def keep_node_ports(spec: Object, before: Object) -> None:
    known = {(p.get("protocol"), p.get("port")): p.get("nodePort") for p in items(before, "ports")}
    for port in items(spec, "ports"):
        number = known.get((port.get("protocol") or "TCP", port.get("port")))
        if not port.get("nodePort") and number:
            port["nodePort"] = number
    if before.get("healthCheckNodePort") and spec.get("externalTrafficPolicy") == "Local":
        spec.setdefault("healthCheckNodePort", before["healthCheckNodePort"])


def drop_type_dependent(spec: Object, before: Object, kind: str) -> None:
    if kind == "ExternalName":
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            if spec.get(key) == before.get(key):
                spec.pop(key, None)
    if kind not in ("NodePort", "LoadBalancer"):
        known = {port.get("nodePort") for port in items(before, "ports")}
        for port in items(spec, "ports"):
            if port.get("nodePort") in known:
                port.pop("nodePort", None)
        for key in ("externalTrafficPolicy", "healthCheckNodePort"):
            if spec.get(key) == before.get(key):
                spec.pop(key, None)
    if kind != "LoadBalancer":
        for key in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(key) == before.get(key):
                spec.pop(key, None)


def validate(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    kind = spec.get("type")
    headless = spec.get("clusterIP") == "None"
    yield from needed_one_of("spec.type", kind, TYPES)
    if not items(spec, "ports") and not headless and kind != "ExternalName":
        yield required("spec.ports")
    yield from ports(spec, headless)
    yield from labels_of(mapping(spec, "selector"), "spec.selector")
    yield from needed_one_of("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
    if kind == "ExternalName":
        if spec.get("clusterIP"):
            yield forbidden("spec.clusterIP", "may not be set when `type` is 'ExternalName'")
        yield from subdomain("spec.externalName", (spec.get("externalName") or "").rstrip("."))
    if kind == "LoadBalancer" and headless:
        yield invalid("spec.clusterIP", "None", "may not be set to 'None' for LoadBalancer services")
    if kind == "NodePort" and headless:
        yield invalid("spec.clusterIP", "None", "may not be set to 'None' for NodePort services")
    yield from addresses(spec)
    yield from policies(spec, kind)
    if old is not None:
        yield from changes(spec, mapping(old, "spec"))


def addresses(spec: Object) -> Iterator[Cause]:
    for index, address in enumerate(items(spec, "clusterIPs")):
        if address != "None" and not valid_ip(address):
            message = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            yield invalid(f"spec.clusterIPs[{index}]", address, message)
    for index, address in enumerate(items(spec, "externalIPs")):
        if not valid_ip(address):
            message = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            yield invalid(f"spec.externalIPs[{index}]", address, message)
    seconds = dig(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds")
    if seconds is not None and not 0 < seconds <= 86400:
        message = "must be greater than 0 and less than 86400"
        yield invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, message)


def policies(spec: Object, kind: Any) -> Iterator[Cause]:
    external = spec.get("externalTrafficPolicy")
    if external and kind not in ("NodePort", "LoadBalancer") and not items(spec, "externalIPs"):
        yield invalid("spec.externalTrafficPolicy", external, "may only be set for externally-accessible services")
    elif external:
        yield from one_of("spec.externalTrafficPolicy", external, ("Cluster", "Local"))
    yield from one_of("spec.internalTrafficPolicy", spec.get("internalTrafficPolicy"), ("Cluster", "Local"))
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        yield forbidden("spec.allocateLoadBalancerNodePorts", "may only be used when `type` is 'LoadBalancer'")


def ports(spec: Object, headless: bool) -> Iterator[Cause]:
    listed = items(spec, "ports")
    names: set[str] = set()
    numbers: set[tuple[Any, Any]] = set()
    node_ports: set[tuple[Any, Any]] = set()
    for index, port in enumerate(listed):
        path = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(listed) > 1:
            yield required(f"{path}.name")
        elif name:
            yield from label(f"{path}.name", name)
            if name in names:
                yield duplicate(f"{path}.name", name)
            names.add(name)
        yield from port_number(f"{path}.port", port.get("port") or 0)
        yield from needed_one_of(f"{path}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
        yield from port_or_name(f"{path}.targetPort", port.get("targetPort") or 0)
        key = (port.get("protocol"), port.get("port"))
        if key in numbers:
            yield duplicate(path, {"protocol": key[0], "port": key[1]})
        numbers.add(key)
        node_port = port.get("nodePort")
        if node_port:
            if spec.get("type") == "ClusterIP":
                yield forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'")
            if (port.get("protocol"), node_port) in node_ports:
                yield duplicate(f"{path}.nodePort", node_port)
            node_ports.add((port.get("protocol"), node_port))


def changes(spec: Object, before: Object) -> Iterator[Cause]:
    if spec.get("type") == before.get("type") != "ExternalName" and before.get("clusterIP"):
        first_new, first_old = spec.get("clusterIP"), before.get("clusterIP")
        if first_new != first_old:
            yield from immutable("spec.clusterIPs[0]", first_new, first_old)
    if spec.get("type") == before.get("type") == "LoadBalancer":
        new_class, old_class = spec.get("loadBalancerClass"), before.get("loadBalancerClass")
        if new_class != old_class:
            yield invalid("spec.loadBalancerClass", new_class, "may not change once set")


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
    name_is="label1035",
    default=default,
    prepare=prepare,
    validate=collect(validate),
    returns_deleted=True,
    storage_group_resource="services/specs",
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


def default_endpoints(endpoints: Object) -> None:
    for subset in items(endpoints, "subsets"):
        for port in items(subset, "ports"):
            port.setdefault("protocol", "TCP")


def validate_endpoints(new: Object, old: Object | None) -> Iterator[Cause]:
    for index, subset in enumerate(items(new, "subsets")):
        path = f"subsets[{index}]"
        if not items(subset, "addresses") and not items(subset, "notReadyAddresses"):
            yield required(path, "must specify `addresses` or `notReadyAddresses`")
        for kind in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(items(subset, kind)):
                if not valid_ip(address.get("ip") or ""):
                    message = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                    yield invalid(f"{path}.{kind}[{place}].ip", address.get("ip") or "", message)
        for place, port in enumerate(items(subset, "ports")):
            if not port.get("name") and len(items(subset, "ports")) > 1:
                yield required(f"{path}.ports[{place}].name")
            yield from port_number(f"{path}.ports[{place}].port", port.get("port") or 0)


def endpoints_cell(endpoints: Object) -> str:
    listed = []
    for subset in items(endpoints, "subsets"):
        ports = items(subset, "ports") or [{}]
        for port in ports:
            for address in items(subset, "addresses"):
                listed.append(f"{address.get('ip')}:{port['port']}" if port.get("port") else str(address.get("ip")))
    if len(listed) > SHOWN_ENDPOINTS:
        return ",".join(listed[:SHOWN_ENDPOINTS]) + f" + {len(listed) - SHOWN_ENDPOINTS} more..."
    return joined(listed)


ENDPOINTS = Resource(
    group="",
    version="v1",
    kind="Endpoints",
    plural="endpoints",
    short_names=("ep",),
    generation=False,
    default=default_endpoints,
    validate=collect(validate_endpoints),
    storage_group_resource="services/endpoints",
    columns=(NAME, Column("Endpoints", endpoints_cell), AGE),
)
