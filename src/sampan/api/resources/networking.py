"""networking.k8s.io and discovery.k8s.io. Source: kubernetes pkg/apis/networking and discovery, printers."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.addresses import valid_ip
from sampan.api.resources.checking import (
    collect,
    immutable_fields,
    label_selector,
    one_of,
    port_name_messages,
)
from sampan.api.resources.columns import AGE, NAME, field, selector
from sampan.api.resources.endpoints import ENDPOINT_SLICE
from sampan.api.resources.reading import dig, items, joined, mapping, text
from sampan.schema.causes import forbidden, invalid, required
from sampan.schema.names import dns1123_subdomain
from sampan.schema.objects import Object

GROUP = "networking.k8s.io"
SHOWN = 3
IP_MESSAGE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"

# Ingress


def backend(value: Object, path: str) -> Iterator[Cause]:
    service, resource = value.get("service"), value.get("resource")
    if service is not None and resource is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif service is None and resource is None:
        yield required(path, "resource or service backend is required")
    elif service is not None:
        if not service.get("name"):
            yield required(f"{path}.service.name")
        port = mapping(service, "port")
        if port.get("name") and port.get("number"):
            yield invalid(path, "", "cannot set both port name & port number")
        elif not port.get("name") and not port.get("number"):
            yield required(path, "port name or number is required")


def validate_ingress(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    if not items(spec, "rules") and spec.get("defaultBackend") is None:
        yield invalid("spec", spec.get("rules") or [], "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend") is not None:
        yield from backend(spec["defaultBackend"], "spec.defaultBackend")
    for index, rule in enumerate(items(spec, "rules")):
        path = f"spec.rules[{index}]"
        host = rule.get("host") or ""
        if valid_ip(host):
            yield invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
        elif host:
            bare = host[2:] if host.startswith("*.") else host
            for message in dns1123_subdomain(bare):
                yield invalid(f"{path}.host", host, message)
        http = rule.get("http")
        if http is not None and not items(http, "paths"):
            yield required(f"{path}.http.paths")
        for place, route in enumerate(items(http, "paths")):
            yield from ingress_path(route, f"{path}.http.paths[{place}]")


def ingress_path(route: Object, path: str) -> Iterator[Cause]:
    kind, where = route.get("pathType"), route.get("path") or ""
    if kind is None:
        yield required(f"{path}.pathType", "pathType must be specified")
    elif kind in ("Exact", "Prefix"):
        if not where.startswith("/"):
            yield invalid(f"{path}.path", where, "must be an absolute path")
        for part in ("//", "/./", "/../", "%2f", "%2F"):
            if part in where:
                yield invalid(f"{path}.path", where, f"must not contain '{part}'")
    else:
        yield from one_of(f"{path}.pathType", kind, ("Exact", "ImplementationSpecific", "Prefix"))
    yield from backend(mapping(route, "backend"), f"{path}.backend")


def hosts(ingress: Object) -> str:
    found = [rule["host"] for rule in items(ingress, "spec", "rules") if rule.get("host")]
    if len(found) > SHOWN:
        return ",".join(found[:SHOWN]) + f" + {len(found) - SHOWN} more..."
    return ",".join(found) or "*"


INGRESS = Resource(
    group=GROUP,
    version="v1",
    kind="Ingress",
    plural="ingresses",
    short_names=("ing",),
    status=True,
    prepare=lambda new, old: new.update(status={"loadBalancer": {}}) if old is None else None,
    validate=collect(validate_ingress),
    columns=(
        NAME,
        Column("Class", field("spec", "ingressClassName")),
        Column("Hosts", hosts),
        Column(
            "Address",
            lambda ingress: ",".join(
                point.get("ip") or point.get("hostname") or ""
                for point in items(ingress, "status", "loadBalancer", "ingress")
            ),
        ),
        Column("Ports", lambda ingress: "80, 443" if items(ingress, "spec", "tls") else "80"),
        AGE,
    ),
)


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
    validate=collect(lambda new, old: immutable_fields(new, old, "spec.controller")),
    columns=(NAME, Column("Controller", ".spec.controller"), Column("Parameters", parameters), AGE),
)

# NetworkPolicy


def default_policy(policy: Object) -> None:
    spec = policy.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    for way in ("ingress", "egress"):
        for rule in items(spec, way):
            for port in items(rule, "ports"):
                port.setdefault("protocol", "TCP")
    if not items(spec, "policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if items(spec, "egress") else ["Ingress"]


def validate_policy(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    yield from label_selector("spec.podSelector", spec.get("podSelector"))
    for index, kind in enumerate(items(spec, "policyTypes")):
        yield from one_of(f"spec.policyTypes[{index}]", kind, ("Egress", "Ingress"))
    for way, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(items(spec, way)):
            for place, peer in enumerate(items(rule, side)):
                yield from peer_of(peer, f"spec.{way}[{index}].{side}[{place}]")
            for place, port in enumerate(items(rule, "ports")):
                path = f"spec.{way}[{index}].ports[{place}]"
                yield from one_of(f"{path}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
                if isinstance(port.get("port"), str):
                    for message in port_name_messages(port["port"]):
                        yield invalid(f"{path}.port", port["port"], message)


def peer_of(peer: Object, path: str) -> Iterator[Cause]:
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    if not given:
        yield required(path, "must specify a peer")
    elif "ipBlock" in given and len(given) > 1:
        yield forbidden(path, "may not specify both ipBlock and another peer")
    for key in given:
        if key != "ipBlock":
            yield from label_selector(f"{path}.{key}", peer[key])
        elif not dig(peer, "ipBlock", "cidr"):
            yield required(f"{path}.ipBlock.cidr")


NETWORK_POLICY = Resource(
    group=GROUP,
    version="v1",
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
    default=default_policy,
    validate=collect(validate_policy),
    columns=(NAME, Column("Pod-Selector", selector("spec", "podSelector")), AGE),
)

IP_ADDRESS = Resource(
    group=GROUP,
    version="v1",
    kind="IPAddress",
    plural="ipaddresses",
    singular="ipaddress",
    namespaced=False,
    short_names=("ip",),
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
    columns=(NAME, Column("CIDRs", lambda cidr: joined(items(cidr, "spec", "cidrs"))), AGE),
)

RESOURCES = (INGRESS, INGRESS_CLASS, NETWORK_POLICY, IP_ADDRESS, SERVICE_CIDR, ENDPOINT_SLICE)
