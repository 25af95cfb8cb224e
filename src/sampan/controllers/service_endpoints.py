"""The endpoints of a Service with a selector, from its pods. Pure.

What flows: a Service and the pods of its namespace to endpoints by the set of ports they have, as EndpointSlices hold them;
and those to the subsets of the older Endpoints object. Source: discovery.k8s.io/v1, KEP-1672 (terminating endpoints), DNS
specification 1.1 (hostnames).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from sampan.controllers.ownership import condition_of, is_pod_ready
from sampan.schema.objects import Object

CAPACITY = 1000
"""How many addresses an Endpoints object may have."""
Group = tuple[list[Object], list[Object]]
"""A set of ports, and the endpoints that have it."""


def ports_key(ports: list[Object]) -> bytes:
    """Return one key for equal sets of ports, in whatever order they and their fields are."""
    ordered = sorted(
        ports, key=lambda port: (port.get("name") or "", port.get("protocol") or "", port.get("port") or 0)
    )
    return orjson.dumps(ordered, option=orjson.OPT_SORT_KEYS)


def selects(service: Object, pod: Object) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


def port_number(service_port: Object, pod: Object) -> int | None:
    """Return the pod's port that a Service's port leads to (names are looked up in the containers)."""
    target = service_port.get("targetPort", service_port["port"])
    if isinstance(target, int):
        return target or int(service_port["port"])
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == target and port.get("protocol", "TCP") == service_port.get("protocol", "TCP"):
                return int(port["containerPort"])
    return None


def families_of(service: Object) -> list[str]:
    """Return the address families of a Service's slices: ``IPv4``, ``IPv6``."""
    return service["spec"].get("ipFamilies") or ["IPv4"]


def address_of(pod: Object, family: str) -> str:
    """Return a pod's address of a family, "" when it has none."""
    status = pod.get("status") or {}
    addresses = [one.get("ip", "") for one in status.get("podIPs") or ()] or [status.get("podIP") or ""]
    return next((ip for ip in addresses if ip and (":" in ip) is (family == "IPv6")), "")


def facts_of(pod: Object) -> tuple[object, ...] | None:
    """Return what endpoints tell of a pod, and what chooses it; None: there is none of it, as it has no address (any
    more)."""
    status, spec, metadata = pod.get("status") or {}, pod["spec"], pod["metadata"]
    if not (status.get("podIP") or status.get("podIPs")) or status.get("phase") in ("Succeeded", "Failed"):
        return None
    ready = condition_of(pod, "Ready") or {}
    return (
        metadata.get("labels"),
        metadata.get("uid"),
        "deletionTimestamp" in metadata,
        status.get("podIPs") or status.get("podIP"),
        ready.get("status"),
        ready.get("lastTransitionTime"),
        *(spec.get(name) for name in ("nodeName", "hostname", "subdomain")),
    )


def endpoints_of(
    service: Object, pods: list[Object], family: str = "IPv4", zones: Mapping[str, str] | None = None
) -> dict[bytes, Group]:
    """Return ``{port set: (ports, endpoints)}``: pods with other numbers for a named port are in other slices. ``zones``: of
    nodes, by name."""
    groups: dict[bytes, Group] = {}
    for pod in pods:
        address = address_of(pod, family) if selects(service, pod) else ""
        if not address or pod["status"].get("phase") in ("Succeeded", "Failed"):
            continue
        ports = []
        for service_port in service["spec"].get("ports") or ():
            number = port_number(service_port, pod)
            if number is None:
                continue
            port = {
                "name": service_port.get("name", ""),
                "port": number,
                "protocol": service_port.get("protocol", "TCP"),
            }
            if "appProtocol" in service_port:
                port["appProtocol"] = service_port["appProtocol"]
            ports.append(port)
        if service["spec"].get("ports") and not ports:
            continue
        groups.setdefault(ports_key(ports), (ports, []))[1].append(endpoint_of(service, pod, address, zones or {}))
    for _, endpoints in groups.values():
        endpoints.sort(key=lambda endpoint: str(endpoint["addresses"]))
    return groups


def endpoint_of(service: Object, pod: Object, address: str, zones: Mapping[str, str]) -> Object:
    terminating = "deletionTimestamp" in pod["metadata"]
    serving = is_pod_ready(pod)
    ready = (serving and not terminating) or bool(service["spec"].get("publishNotReadyAddresses"))
    metadata = pod["metadata"]
    endpoint: Object = {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    if pod["spec"].get("nodeName"):
        endpoint["nodeName"] = pod["spec"]["nodeName"]
    if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = pod["spec"]["hostname"]
    zone = zones.get(endpoint.get("nodeName", ""))
    if zone:
        endpoint["zone"] = zone
    if ready and (hints := hints_of(service, endpoint)):
        endpoint["hints"] = hints
    return endpoint


def hints_of(service: Object, endpoint: Object) -> Object:
    """Return from where an endpoint is best reached, as the Service wishes (KEP-4444, KEP-3015)."""
    wish, zone, node = service["spec"].get("trafficDistribution"), endpoint.get("zone"), endpoint.get("nodeName")
    hints: Object = {}
    if wish in ("PreferClose", "PreferSameZone", "PreferSameNode") and zone:
        hints["forZones"] = [{"name": zone}]
    if wish == "PreferSameNode" and node:
        hints["forNodes"] = [{"name": node}]
    return hints


def within_capacity(groups: Iterable[Group], most: int = CAPACITY) -> tuple[list[Group], bool]:
    """Return what of all endpoints an Endpoints object may hold, the ready ones first, and whether some are left out."""
    kept: list[Group] = []
    whole = list(groups)
    if sum(len(endpoints) for _, endpoints in whole) <= most:
        return whole, False
    for ports, endpoints in whole:
        ready_first = sorted(endpoints, key=lambda one: not one["conditions"]["ready"])
        kept.append((ports, ready_first[:most]))
        most -= min(most, len(endpoints))
    return kept, True


def legacy_subsets(groups: Iterable[Group]) -> list[Object]:
    """Return the ``subsets`` of the Endpoints object: one for each set of ports."""
    subsets = []
    for ports, endpoints in groups:
        subset: dict[str, Any] = {}
        for name, wanted in (("addresses", True), ("notReadyAddresses", False)):
            entries = [
                {
                    "ip": endpoint["addresses"][0],
                    **({"hostname": endpoint["hostname"]} if "hostname" in endpoint else {}),
                    **({"nodeName": endpoint["nodeName"]} if "nodeName" in endpoint else {}),
                    "targetRef": endpoint["targetRef"],
                }
                for endpoint in endpoints
                if endpoint["conditions"]["ready"] is wanted and not endpoint["conditions"]["terminating"]
            ]
            if entries:
                subset[name] = entries
        if subset:
            if ports:
                subset["ports"] = [{k: v for k, v in port.items() if v != ""} for port in ports]
            subsets.append(subset)
    return subsets
