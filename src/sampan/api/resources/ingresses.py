"""Ingresses. Source: kubernetes pkg/apis/networking/validation (ValidateIngress…), pkg/registry/networking/ingress."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.addresses import ip, valid_ip
from sampan.api.resources.checking import collect, named, one_of, port_name_messages, port_number, subdomain
from sampan.api.resources.columns import AGE, NAME, field
from sampan.api.resources.reading import items, mapping
from sampan.api.resources.service_validation import RELAXED_NAMES_SINCE, ingress_hostname
from sampan.schema.causes import NO_MAP, invalid, required
from sampan.schema.names import (
    SUBDOMAIN,
    dns1035_label,
    dns1123_label,
    dns1123_subdomain,
    path_segment,
    pattern,
)
from sampan.schema.objects import Object

GROUP = "networking.k8s.io"
Name = Callable[[str], list[str]]
"""What judges the name of a Service."""
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
SHOWN = 3
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
BAD_ENDS = ("/..", "/.")
WILDCARD_FORMAT = r"\*\." + SUBDOMAIN
WILDCARD = re.compile(WILDCARD_FORMAT, re.ASCII)
WILDCARD_MESSAGE = pattern(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower "
    "case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    WILDCARD_FORMAT,
    "*.example.com",
)


def prepare(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {"loadBalancer": {}}


def ingress_by_version(minor: int) -> dict[str, Any]:
    """Services may have names that begin with a digit since 1.36."""
    name = dns1123_label if minor >= RELAXED_NAMES_SINCE else dns1035_label
    return {"validate": collect(partial(validate_ingress, service_name=name))}


def validate_ingress(new: Object, old: Object | None, *, service_name: Name) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    rules, backend = items(spec, "rules"), spec.get("defaultBackend")
    if not rules and backend is None:
        yield invalid(
            "spec",
            NO_MAP if spec.get("rules") is None else rules,
            "either `defaultBackend` or `rules` must be specified",
        )
    if backend is not None:
        yield from ingress_backend(backend, "spec.defaultBackend", service_name)
    for index, rule in enumerate(rules):
        yield from ingress_rule(rule, f"spec.rules[{index}]", service_name)
    for index, tls in enumerate(items(spec, "tls")):
        for place, host in enumerate(items(tls, "hosts")):
            yield from host_name(host, f"spec.tls[{index}].hosts[{place}]")
        yield from subdomain(f"spec.tls[{index}].secretName", tls.get("secretName"), needed=False)
    name = spec.get("ingressClassName")
    if name is not None:
        for message in dns1123_subdomain(name):
            yield invalid("spec.ingressClassName", name, message)
    noted = mapping(new, "metadata", "annotations").get(CLASS_ANNOTATION)
    if old is None and noted is not None and name is not None and noted != name:
        why = "must match `ingressClassName` when both are specified"
        yield invalid(f"annotations.{CLASS_ANNOTATION}", noted, why)


def host_name(host: str, path: str) -> Iterator[Cause]:
    if "*" not in host:
        for message in dns1123_subdomain(host):
            yield invalid(path, host, message)
    elif len(host) > 253 or not WILDCARD.fullmatch(host):
        yield invalid(path, host, WILDCARD_MESSAGE if len(host) <= 253 else "must be no more than 253 characters")


def ingress_rule(rule: Object, path: str, service_name: Name) -> Iterator[Cause]:
    host, http = rule.get("host") or "", rule.get("http")
    if host:
        if valid_ip(host):
            yield invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
        yield from host_name(host, f"{path}.host")
    if http is None:
        return
    if not items(http, "paths"):
        yield required(f"{path}.http.paths")
    for index, route in enumerate(items(http, "paths")):
        yield from ingress_path(route, f"{path}.http.paths[{index}]", service_name)


def ingress_path(route: Object, path: str, service_name: Name) -> Iterator[Cause]:
    kind, where = route.get("pathType"), route.get("path") or ""
    if kind is None:
        yield required(f"{path}.pathType", "pathType must be specified")
        return
    if kind in ("Exact", "Prefix"):
        if not where.startswith("/"):
            yield invalid(f"{path}.path", where, "must be an absolute path")
        for part in BAD_SEQUENCES:
            if part in where:
                yield invalid(f"{path}.path", where, f"must not contain '{part}'")
        for end in BAD_ENDS:
            if where.endswith(end):
                yield invalid(f"{path}.path", where, f"cannot end with '{end}'")
    elif kind == "ImplementationSpecific":
        if where and not where.startswith("/"):
            yield invalid(f"{path}.path", where, "must be an absolute path")
    else:
        yield from one_of(f"{path}.pathType", kind, PATH_TYPES)
    yield from ingress_backend(mapping(route, "backend"), f"{path}.backend", service_name)


def ingress_backend(value: Object, path: str, service_name: Name) -> Iterator[Cause]:
    service, resource = value.get("service"), value.get("resource")
    if service is not None and resource is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        yield from local_reference(resource, f"{path}.resource")
    elif service is None:
        yield invalid(path, "", "resource or service backend is required")
    else:
        yield from named(f"{path}.service.name", service.get("name"), service_name)
        yield from service_port(mapping(service, "port"), path)


def service_port(port: Object, path: str) -> Iterator[Cause]:
    name, number = port.get("name"), port.get("number")
    if name and number:
        yield invalid(path, "", "cannot set both port name & port number")
    elif name:
        for message in port_name_messages(name):
            yield invalid(f"{path}.service.port.name", name, message)
    elif number:
        yield from port_number(f"{path}.service.port.number", number)
    else:
        yield required(path, "port name or number is required")


def local_reference(reference: Object, path: str) -> Iterator[Cause]:
    """A typed reference to something in the same namespace."""
    group = reference.get("apiGroup")
    if group is not None:
        for message in dns1123_subdomain(group):
            yield invalid(f"{path}.apiGroup", group, message)
    for key in ("kind", "name"):
        yield from named(f"{path}.{key}", reference.get(key), path_segment)


def validate_status(new: Object, old: Object | None) -> Iterator[Cause]:
    for index, point in enumerate(items(new, "status", "loadBalancer", "ingress")):
        path = f"status.loadBalancer.ingress[{index}]"
        if point.get("ip"):
            yield from ip(f"{path}.ip", point["ip"])
        yield from ingress_hostname(point.get("hostname") or "", f"{path}.hostname")


def warnings(new: Object, old: Object | None) -> Iterator[str]:
    if old is None and CLASS_ANNOTATION in mapping(new, "metadata", "annotations"):
        yield f"annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"


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
    prepare=prepare,
    by_version=ingress_by_version,
    validates={"status": collect(validate_status)},
    warn=warnings,
    trusts_definition=False,
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
