"""What a Service may be and become. Source: kubernetes pkg/apis/core/validation (ValidateService, ValidateServiceUpdate)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.addresses import cidr, family, ip, non_special, one_of_each_family, strict_cidr, strict_ip
from sampan.api.resources.checking import label, labels_of, one_of, port_number, port_or_name, qualified, subdomain
from sampan.api.resources.reading import items, mapping
from sampan.schema.causes import duplicate, forbidden, invalid, not_supported, required
from sampan.schema.names import dns1123_subdomain
from sampan.schema.objects import Object

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
POLICIES = ("Cluster", "Local")
FAMILIES = ("IPv4", "IPv6")
FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
HINTS, MODE = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"
ONLY_LOAD_BALANCERS = "may only be used when `type` is 'LoadBalancer'"
NO_CHANGE = "may not change once set"
MAX_AFFINITY_SECONDS = 86400
RELAXED_NAMES_SINCE = 36
"""Kubernetes' ``RelaxedServiceNameValidation`` (KEP-5311) is on from 1.36 on."""


def is_headless(spec: Object) -> bool:
    return items(spec, "clusterIPs") == ["None"]


def is_external(spec: Object) -> bool:
    """Whether it is reached from outside (``ExternallyAccessible``)."""
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def service(
    obj: Object, distributions: Sequence[str] = DISTRIBUTIONS, *, strict: bool = True, known: Collection[str] = ()
) -> Iterator[Cause]:
    """Yield why a Service is refused. ``strict``: ranges are of one network, addresses as all read them (1.36), but
    for those that are ``known``."""
    spec = mapping(obj, "spec")
    kind, headless = spec.get("type"), is_headless(spec)
    noted = mapping(obj, "metadata", "annotations")
    if MODE in noted and HINTS in noted and noted[MODE] != noted[HINTS]:
        why = f"must match annotations[{HINTS}] when both are specified"
        yield invalid(f"metadata.annotations[{MODE}]", noted[MODE], why)
    if not items(spec, "ports") and not headless and kind != "ExternalName":
        yield required("spec.ports")
    if headless and kind in ("LoadBalancer", "NodePort"):
        yield invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind == "ExternalName":
        yield from external_name(spec)
    yield from port_list(items(spec, "ports"))
    yield from labels_of(mapping(spec, "selector"), "spec.selector")
    yield from affinity(spec)
    if kind != "ExternalName":
        yield from cluster_ips(spec)
    for index, address in enumerate(items(spec, "externalIPs")):
        judge = strict_ip if strict and address not in known else ip
        wrong = list(judge(f"spec.externalIPs[{index}]", address))
        yield from wrong or non_special(f"spec.externalIPs[{index}]", address)
    if not kind:
        yield required("spec.type")
    else:
        yield from one_of("spec.type", kind, TYPES)
    yield from unique_ports(items(spec, "ports"), kind)
    yield from source_ranges(spec, noted, kind, strict, known)
    yield from load_balancer(spec, kind)
    yield from traffic(spec, kind, distributions)


def external_name(spec: Object) -> Iterator[Cause]:
    for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(key):
            yield forbidden(f"spec.{key}", "may not be set for ExternalName services")
    name = (spec.get("externalName") or "").removesuffix(".")
    yield from subdomain("spec.externalName", name)


def affinity(spec: Object) -> Iterator[Cause]:
    kind, config = spec.get("sessionAffinity"), spec.get("sessionAffinityConfig")
    if not kind:
        yield required("spec.sessionAffinity")
    else:
        yield from one_of("spec.sessionAffinity", kind, ("ClientIP", "None"))
    if kind == "None" and config is not None:
        yield forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")
    if kind == "ClientIP":
        seconds, path = mapping(config, "clientIP").get("timeoutSeconds"), "spec.sessionAffinityConfig"
        if seconds is None:
            yield required(f"{path}.clientIP.timeoutSeconds", "when session affinity type is ClientIP")
        elif not 0 < seconds <= MAX_AFFINITY_SECONDS:
            why = f"must be greater than 0 and less than {MAX_AFFINITY_SECONDS}"
            yield invalid(f"{path}.clientIP.timeoutSeconds", seconds, why)


def port_list(ports: Sequence[Object]) -> Iterator[Cause]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name") or ""
        yield from label(f"{path}.name", name, needed=len(ports) > 1)
        if name and name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)
        yield from port_number(f"{path}.port", port.get("port") or 0)
        if not port.get("protocol"):
            yield required(f"{path}.protocol")
        else:
            yield from one_of(f"{path}.protocol", port["protocol"], PROTOCOLS)
        yield from port_or_name(f"{path}.targetPort", port.get("targetPort", 0))
        if port.get("appProtocol") is not None:
            yield from qualified(f"{path}.appProtocol", port["appProtocol"])


def unique_ports(ports: Sequence[Object], kind: Any) -> Iterator[Cause]:
    node_ports: set[tuple[Any, Any]] = set()
    numbers: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        path, protocol, node = f"spec.ports[{index}]", port.get("protocol"), port.get("nodePort")
        if node:
            if kind == "ClusterIP":
                yield forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'")
            if (protocol, node) in node_ports:
                yield duplicate(f"{path}.nodePort", node)
            node_ports.add((protocol, node))
        key = (protocol, port.get("port"))
        if key in numbers:
            shown = {"Name": "", "Protocol": protocol, "AppProtocol": None, "Port": key[1]}
            yield duplicate(path, {**shown, "TargetPort": 0, "NodePort": 0})
        numbers.add(key)


def source_ranges(spec: Object, noted: Object, kind: Any, strict: bool, known: Collection[str]) -> Iterator[Cause]:
    check = strict_cidr if strict else cidr
    ranges, path = items(spec, "loadBalancerSourceRanges"), "spec.LoadBalancerSourceRanges"
    if not ranges and SOURCE_RANGES in noted:
        path = f"metadata.annotations[{SOURCE_RANGES}]"
        ranges = [part for part in str(noted[SOURCE_RANGES]).split(",") if str(noted[SOURCE_RANGES]).strip()]
        if kind != "LoadBalancer":
            yield forbidden(path, ONLY_LOAD_BALANCERS)
        for value in ranges:
            yield from check(path, value.strip())
        return
    if ranges and kind != "LoadBalancer":
        yield forbidden(path, ONLY_LOAD_BALANCERS)
    for index, value in enumerate(ranges):
        if value not in known:
            yield from check(f"{path}[{index}]", value.strip())


def load_balancer(spec: Object, kind: Any) -> Iterator[Cause]:
    allocate, name = spec.get("allocateLoadBalancerNodePorts"), spec.get("loadBalancerClass")
    if allocate is not None and kind != "LoadBalancer":
        yield forbidden("spec.allocateLoadBalancerNodePorts", ONLY_LOAD_BALANCERS)
    if kind == "LoadBalancer" and allocate is None:
        yield required("allocateLoadBalancerNodePorts")
    if name is not None and kind != "LoadBalancer":
        yield forbidden("spec.loadBalancerClass", ONLY_LOAD_BALANCERS)
    elif name is not None:
        yield from qualified("spec.loadBalancerClass", name)


def traffic(spec: Object, kind: Any, distributions: Sequence[str]) -> Iterator[Cause]:
    external, internal = spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy")
    if not is_external(spec):
        if external:
            why = "may only be set for externally-accessible services"
            yield invalid("spec.externalTrafficPolicy", external, why)
    elif not external:
        yield required("spec.externalTrafficPolicy")
    else:
        yield from one_of("spec.externalTrafficPolicy", external, POLICIES)
    check = spec.get("healthCheckNodePort")
    if check and not needs_health_check(spec):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield invalid("spec.healthCheckNodePort", check, why)
    elif check:
        yield from port_number("spec.healthCheckNodePort", check)
    if internal is None and kind in ("ClusterIP", "LoadBalancer", "NodePort"):
        yield required("spec.internalTrafficPolicy")
    yield from one_of("spec.internalTrafficPolicy", internal, POLICIES)
    yield from one_of("spec.trafficDistribution", spec.get("trafficDistribution"), distributions)


def cluster_ips(spec: Object) -> Iterator[Cause]:
    """``ValidateServiceClusterIPsRelatedFields``."""
    first, listed, families = spec.get("clusterIP") or "", items(spec, "clusterIPs"), items(spec, "ipFamilies")
    path = "spec.clusterIPs"
    if first and not listed:
        yield required(path)
    elif first and listed[0] != first:
        yield invalid(path, listed, "first value must match `clusterIP`")
    elif not first and listed:
        yield invalid(path, listed, "must be empty when `clusterIP` is not specified")
    for index, kind in enumerate(families):
        if kind not in FAMILIES:
            yield not_supported(f"spec.ipFamilies[{index}]", kind, FAMILIES)
        if kind in families[:index]:
            yield duplicate(f"spec.ipFamilies[{index}]", kind)
    yield from one_of("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), FAMILY_POLICIES)
    wrong = list(wrong_ips(listed, path))
    yield from wrong
    if len(listed) > 2:
        yield invalid(path, listed, "may only hold up to 2 values")
    if wrong:
        return
    yield from one_of_each_family(path, listed)
    for index, (address, kind) in enumerate(zip(listed, families, strict=False)):
        if address != "None" and kind in FAMILIES and family(address) != kind:
            why = f"expected an {kind} value as indicated by `ipFamilies[{index}]`"
            yield invalid(f"{path}[{index}]", address, why)


def wrong_ips(listed: Sequence[str], path: str) -> Iterator[Cause]:
    for index, address in enumerate(listed):
        if index == 0 and address == "None":
            if len(listed) > 1:
                yield invalid(path, list(listed), "'None' must be the first and only value")
        else:
            yield from ip(f"{path}[{index}]", address)


# updates


def service_changes(spec: Object, before: Object) -> Iterator[Cause]:
    """Yield what an update changes that it may not."""
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        headless, was = is_headless(spec), is_headless(before)
        if not (headless and was):
            yield from stays("clusterIPs", spec, before, "primary clusterIP can not be unset", "secondary clusterIP")
        if not headless and not was:
            yield from stays("ipFamilies", spec, before, "primary ipFamily can not be unset", "secondary ipFamily")
    name, old_name = spec.get("loadBalancerClass"), before.get("loadBalancerClass")
    if spec.get("type") == before.get("type") == "LoadBalancer" and name != old_name:
        yield invalid("spec.loadBalancerClass", name, NO_CHANGE)
    checks = [of.get("healthCheckNodePort") for of in (spec, before) if needs_health_check(of)]
    if len(checks) == 2 and checks[0] != checks[1]:
        yield forbidden("spec.healthCheckNodePort", "field is immutable")


def stays(key: str, spec: Object, before: Object, unset: str, released: str) -> Iterator[Cause]:
    """The first of a list stays; the second may come, and go with SingleStack."""
    listed, was = items(spec, key), items(before, key)
    if len(listed) == len(was):
        for index, (now, then) in enumerate(zip(listed, was, strict=True)):
            if now != then:
                yield invalid(f"spec.{key}[{index if key == 'clusterIPs' else 0}]", listed, NO_CHANGE)
        return
    if not listed:
        yield invalid(f"spec.{key}[0]", listed, unset)
    elif was and listed[0] != was[0]:
        yield invalid(f"spec.{key}[0]", listed, NO_CHANGE)
    if len(was) > len(listed) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        why = f"must be set to 'SingleStack' when releasing the {released}"
        yield invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), why)


def service_status(obj: Object, ip_modes: bool = True) -> Iterator[Cause]:
    """Yield why the status of a Service is refused (``ValidateLoadBalancerStatus``)."""
    points = items(obj, "status", "loadBalancer", "ingress")
    if points and mapping(obj, "spec").get("type") != "LoadBalancer":
        yield forbidden("status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'")
        return
    for index, point in enumerate(points):
        path, address, mode = f"status.loadBalancer.ingress[{index}]", point.get("ip"), point.get("ipMode")
        if address:
            yield from ip(f"{path}.ip", address)
        if mode is None and address and ip_modes:
            yield required(f"{path}.ipMode", "must be specified when `ip` is set")
        elif mode is not None and not address:
            yield forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set")
        else:
            yield from one_of(f"{path}.ipMode", mode, ("Proxy", "VIP"))
        yield from ingress_hostname(point.get("hostname") or "", f"{path}.hostname")


def ingress_hostname(name: str, path: str) -> Iterator[Cause]:
    """The name a load balancer is known by, of Services and Ingresses alike."""
    for message in dns1123_subdomain(name) if name else ():
        yield invalid(path, name, message)
    if name and family(name):
        yield invalid(path, name, "must be a DNS name, not an IP address")
