"""Endpoints and EndpointSlices. Source: kubernetes pkg/apis/core/validation, pkg/apis/discovery, printers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.addresses import STRICT_SINCE, canonical_ip, family, ip, non_special, strict_ip
from sampan.api.resources.checking import (
    collect,
    good_label,
    good_subdomain,
    immutable_fields,
    label,
    one_of,
    port_number,
    qualified,
)
from sampan.api.resources.columns import AGE, NAME
from sampan.api.resources.reading import items, joined
from sampan.schema.causes import duplicate, invalid, required, too_many
from sampan.schema.names import dns1123_label, dns1123_subdomain, label_value
from sampan.schema.objects import Object

SHOWN = 3
PROTOCOLS = ("SCTP", "TCP", "UDP")
ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
Check = Callable[[str, Any], Iterator[Cause]]
MAX_ENDPOINTS, MAX_ADDRESSES, MAX_PORTS, MAX_HINTS = 1000, 100, 20_000, 8
DEPRECATED = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"


def default_endpoints(endpoints: Object) -> None:
    for subset in items(endpoints, "subsets"):
        for port in items(subset, "ports"):
            if not port.get("protocol"):
                port["protocol"] = "TCP"


def validate_endpoints(new: Object, old: Object | None, *, check: Check) -> Iterator[Cause]:
    """``check`` judges addresses."""
    if old is not None and new.get("subsets") == old.get("subsets"):
        return
    for index, subset in enumerate(items(new, "subsets")):
        path = f"subsets[{index}]"
        if not items(subset, "addresses") and not items(subset, "notReadyAddresses"):
            yield required(path, "must specify `addresses` or `notReadyAddresses`")
        for kind in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(items(subset, kind)):
                yield from endpoint_address(address, f"{path}.{kind}[{place}]", check)
        ports = items(subset, "ports")
        for place, port in enumerate(ports):
            yield from endpoint_port(port, f"{path}.ports[{place}]", named=len(ports) > 1)


def endpoint_address(address: Object, path: str, check: Check) -> Iterator[Cause]:
    text = address.get("ip") or ""
    yield from check(f"{path}.ip", text)
    yield from label(f"{path}.hostname", address.get("hostname"), needed=False)
    node = address.get("nodeName")
    if node is not None and not good_subdomain(node):
        yield from judged(f"{path}.nodeName", node, dns1123_subdomain)
    yield from non_special(f"{path}.ip", text)


def endpoint_port(port: Object, path: str, *, named: bool) -> Iterator[Cause]:
    yield from label(f"{path}.name", port.get("name"), needed=named)
    yield from port_number(f"{path}.port", port.get("port") or 0)
    yield from one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
    if port.get("appProtocol") is not None:
        yield from qualified(f"{path}.appProtocol", port["appProtocol"])


def endpoints_cell(endpoints: Object) -> str:
    listed = []
    for subset in items(endpoints, "subsets"):
        ports = items(subset, "ports") or [{}]
        for port in ports:
            for address in items(subset, "addresses"):
                listed.append(f"{address.get('ip')}:{port['port']}" if port.get("port") else str(address.get("ip")))
    if len(listed) > SHOWN:
        return ",".join(listed[:SHOWN]) + f" + {len(listed) - SHOWN} more..."
    return joined(listed)


ENDPOINTS = Resource(
    group="",
    version="v1",
    kind="Endpoints",
    plural="endpoints",
    short_names=("ep",),
    generation=False,
    default=default_endpoints,
    validate=collect(partial(validate_endpoints, check=strict_ip)),
    by_version=lambda minor: {
        "deprecated": DEPRECATED if minor >= 33 else "",
        "validate": collect(partial(validate_endpoints, check=strict_ip if minor >= STRICT_SINCE else ip)),
    },
    trusts_definition=False,
    columns=(NAME, Column("Endpoints", endpoints_cell), AGE),
)


# EndpointSlice


def prepare_slice(new: Object, old: Object | None) -> None:
    """``dropTopologyOnV1``: what v1beta1 called the topology is only kept where it was."""
    endpoints = items(new, "endpoints")
    if old is None or endpoints != items(old, "endpoints"):
        for endpoint in endpoints:
            endpoint.pop("deprecatedTopology", None)


def default_slice(endpoint_slice: Object) -> None:
    for port in items(endpoint_slice, "ports"):
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def validate_slice(new: Object, old: Object | None, *, minor: int) -> Iterator[Cause]:
    kind, endpoints, ports = new.get("addressType"), items(new, "endpoints"), items(new, "ports")
    if not kind:
        yield required("addressType")
    elif old is None or kind != "IP":
        yield from one_of("addressType", kind, ADDRESS_TYPES)
    if len(endpoints) > MAX_ENDPOINTS:
        yield too_many("endpoints", len(endpoints), MAX_ENDPOINTS)
    elif old is None or endpoints != items(old, "endpoints"):
        nowhere = "" if minor >= 37 else "must contain at least 1 address"  # declarative validation
        checks = {"IPv4": strict_ip, "IPv6": canonical_ip} if minor >= STRICT_SINCE else {"IPv4": ip, "IPv6": ip}
        for index, endpoint in enumerate(endpoints):
            if not items(endpoint, "addresses"):
                yield required(f"endpoints[{index}].addresses", nowhere)
            yield from slice_endpoint(endpoint, kind, checks, f"endpoints[{index}]")
    if len(ports) > MAX_PORTS:
        yield too_many("ports", len(ports), MAX_PORTS)
    else:
        yield from slice_port_list(ports)
    yield from immutable_fields(new, old, "addressType")


def slice_endpoint(endpoint: Object, kind: Any, checks: Mapping[str, Check], path: str) -> Iterator[Cause]:
    addresses = items(endpoint, "addresses")
    if len(addresses) > MAX_ADDRESSES:
        yield too_many(f"{path}.addresses", len(addresses), MAX_ADDRESSES)
    for index, address in enumerate(addresses):
        if kind == "FQDN":
            yield from domain(address, f"{path}.addresses[{index}]")
        elif kind == "IPv4" == family(address):
            yield from non_special(f"{path}.addresses[{index}]", address)
        elif kind in checks:
            wrong = list(checks[kind](f"{path}.addresses[{index}]", address))
            yield from wrong or slice_address(address, kind, f"{path}.addresses", index)
    host, node = endpoint.get("hostname"), endpoint.get("nodeName")
    if host is not None and not good_label(host):
        yield from judged(f"{path}.hostname", host, dns1123_label)
    if node is not None and not good_subdomain(node):
        yield from judged(f"{path}.nodeName", node, dns1123_subdomain)
    for key, check in (("forZones", label_value), ("forNodes", dns1123_subdomain)):
        yield from hints(items(endpoint, "hints", key), f"{path}.hints.{key}", check)


def slice_address(address: str, kind: str, path: str, index: int) -> Iterator[Cause]:
    """An address of the other family is told of the list, not of its own place."""
    if family(address) != kind:
        yield invalid(path, address, f"must be an {kind} address")
    yield from non_special(f"{path}[{index}]", address)


def domain(address: str, path: str) -> Iterator[Cause]:
    """``IsFullyQualifiedDomainName``: only the first thing wrong is told."""
    if not address:
        yield required(path)
        return
    name = address.removesuffix(".")
    wrong = dns1123_subdomain(name)
    if wrong:
        yield invalid(path, name, ",".join(wrong))
    elif "." not in name:
        yield invalid(path, name, "should be a domain with at least two segments separated by dots")
    else:
        long = next((part for part in name.split(".") if dns1123_label(part)), None)
        if long is not None:
            yield invalid(path, long, ",".join(dns1123_label(long)))


def hints(listed: list[Object], path: str, check: Callable[[str], list[str]]) -> Iterator[Cause]:
    if len(listed) > MAX_HINTS:
        yield too_many(path, len(listed), MAX_HINTS)
        return
    seen: set[str] = set()
    for index, hint in enumerate(listed):
        name, at = hint.get("name") or "", f"{path}[{index}].name"
        if name in seen:
            yield duplicate(at, name)
        seen.add(name)
        yield from judged(at, name, check)


def judged(path: str, value: str, check: Callable[[str], list[str]]) -> Iterator[Cause]:
    """A name that is there, which the empty one is too."""
    for message in check(value):
        yield invalid(path, value, message)


def slice_port_list(ports: list[Object]) -> Iterator[Cause]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        name = port.get("name") or ""
        yield from label(f"ports[{index}].name", name, needed=False)
        if name in names:
            yield duplicate(f"ports[{index}].name", name)
        names.add(name)
        yield from one_of(f"ports[{index}].protocol", port.get("protocol"), PROTOCOLS)
        if port.get("appProtocol") is not None:
            yield from qualified(f"ports[{index}].appProtocol", port["appProtocol"])


def shortened(values: list[str]) -> str:
    if len(values) > SHOWN:
        return ",".join(values[:SHOWN]) + f" + {len(values) - SHOWN} more..."
    return ",".join(values)


def slice_ports(endpoint_slice: Object) -> str:
    ports = items(endpoint_slice, "ports")
    if not ports:
        return "<unset>"
    return shortened([str(port["port"]) if port.get("port") is not None else "*" for port in ports])


def slice_endpoints(endpoint_slice: Object) -> str:
    found = [address for endpoint in items(endpoint_slice, "endpoints") for address in items(endpoint, "addresses")]
    return shortened(found) or "<unset>"


ENDPOINT_SLICE = Resource(
    group="discovery.k8s.io",
    version="v1",
    kind="EndpointSlice",
    plural="endpointslices",
    default=default_slice,
    prepare=prepare_slice,
    validate=collect(partial(validate_slice, minor=37)),
    by_version=lambda minor: {"validate": collect(partial(validate_slice, minor=minor))},
    trusts_definition=False,
    columns=(
        NAME,
        Column("AddressType", ".addressType"),
        Column("Ports", slice_ports),
        Column("Endpoints", slice_endpoints),
        AGE,
    ),
)
