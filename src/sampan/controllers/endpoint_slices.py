"""EndpointSlices and Endpoints of Services with a selector.

``endpoints_of`` is pure: a Service and its pods to the endpoints and ports they make. Slices hold at most 100 endpoints of
one port set each; a slice that need not change is not written. Source: discovery.k8s.io/v1, KEP-752, KEP-1672
(terminating endpoints), DNS specification 1.1 (hostnames).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from sampan.controllers.expectations import BELIEVED_SECONDS, Expectations
from sampan.controllers.ownership import BY_NAMESPACE, is_pod_ready, namespace_of, owner_reference
from sampan.controllers.pod_control import random_suffix
from sampan.schema.objects import Object

ZONE = "topology.kubernetes.io/zone"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"
ENDPOINTS_LABEL = "endpoints.kubernetes.io/managed-by"
AT_MOST = 100
CAPACITY = 1000
"""How many addresses an Endpoints object may have."""
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
BY_SERVICE = "service"


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


def endpoints_of(
    service: Object, pods: list[Object], family: str = "IPv4", zones: Mapping[str, str] | None = None
) -> dict[bytes, tuple[list[Object], list[Object]]]:
    """Return ``{port set: (ports, endpoints)}``: pods with other numbers for a named port are in other slices. ``zones``: of
    nodes, by name."""
    groups: dict[bytes, tuple[list[Object], list[Object]]] = {}
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
        groups.setdefault(orjson.dumps(ports), (ports, []))[1].append(endpoint_of(service, pod, address, zones or {}))
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


def slices_of(
    service: Object, pods: list[Object], family: str = "IPv4", zones: Mapping[str, str] | None = None
) -> list[tuple[list[Object], list[Object]]]:
    """Return the ports and endpoints of each slice there should be; one empty slice when there is no endpoint."""
    groups = endpoints_of(service, pods, family, zones)
    chunks = [
        (ports, endpoints[start : start + AT_MOST])
        for _, (ports, endpoints) in sorted(groups.items())
        for start in range(0, len(endpoints), AT_MOST)
    ]
    return chunks or [([], [])]


def within_capacity(
    groups: Iterable[tuple[list[Object], list[Object]]], most: int = CAPACITY
) -> tuple[list[tuple[list[Object], list[Object]]], bool]:
    """Return what of all endpoints an Endpoints object may hold, the ready ones first, and whether some are left out."""
    kept: list[tuple[list[Object], list[Object]]] = []
    whole = list(groups)
    if sum(len(endpoints) for _, endpoints in whole) <= most:
        return whole, False
    for ports, endpoints in whole:
        ready_first = sorted(endpoints, key=lambda one: not one["conditions"]["ready"])
        kept.append((ports, ready_first[:most]))
        most -= min(most, len(endpoints))
    return kept, True


def legacy_subsets(groups: Iterable[tuple[list[Object], list[Object]]]) -> list[Object]:
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


class EndpointSliceController(Controller):
    name = "endpointslice-controller"

    def __init__(
        self,
        client: Client,
        services: Informer,
        pods: Informer,
        slices: Informer,
        endpoints: Informer,
        nodes: Informer,
    ) -> None:
        super().__init__(client)
        self.services, self.pods, self.slices, self.endpoints = services, pods, slices, endpoints
        self.zones: dict[str, str] = {}
        nodes.add_handler(self._on_node)
        self._informers.append(nodes)
        self.expectations = Expectations()
        pods.add_index(BY_NAMESPACE, namespace_of)
        services.add_index(BY_NAMESPACE, namespace_of)
        slices.add_index(BY_SERVICE, service_of)
        slices.add_handler(self._on_slice)
        self.watch(services)
        self.watch(pods, self._services_of)
        self.watch(slices, service_of)
        self.watch(endpoints)

    def _on_slice(self, change: str, old: Object | None, new: Object) -> None:
        for key in service_of(new):
            self.expectations.seen(key, f"+{new['metadata']['name']}")

    def _on_node(self, change: str, old: Object | None, new: Object) -> None:
        """Follow which zone a node is in: its pods' endpoints say so."""
        name = new["metadata"]["name"]
        zone = (new["metadata"].get("labels") or {}).get(ZONE, "") if change != "DELETED" else ""
        if self.zones.get(name, "") == zone:
            return
        self.zones[name] = zone
        if change == "MODIFIED":
            for service in self.services:
                self.queue.add(f"{service['metadata']['namespace']}/{service['metadata']['name']}")

    def _services_of(self, pod: Object) -> list[str]:
        namespace = pod["metadata"].get("namespace", "")
        candidates = self.services.by_index(BY_NAMESPACE, namespace)
        return [f"{namespace}/{service['metadata']['name']}" for service in candidates if selects(service, pod)]

    async def reconcile(self, key: str) -> float | None:
        service = self.services.get(key)
        if service is None:
            self.expectations.forget(key)
            await self._delete_endpoints(key)  # slices are owned by their Service, Endpoints are not
            return None
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return None
        if "deletionTimestamp" in service["metadata"]:
            return None
        if not self.expectations.satisfied(key):
            return BELIEVED_SECONDS  # the slice made last is not in the informer yet: it would be made twice
        pods = self.pods.by_index(BY_NAMESPACE, service["metadata"]["namespace"])
        families = families_of(service)
        for family in families:
            await self._write_slices(service, key, family, slices_of(service, pods, family, self.zones))
        await self._delete_slices(one for one in self._present(key) if one["addressType"] not in families)
        # Endpoints know one family only: the Service's first
        groups, over = within_capacity(group for _, group in sorted(endpoints_of(service, pods, families[0]).items()))
        await self._write_endpoints(service, key, legacy_subsets(groups), over)
        return None

    def _present(self, key: str) -> list[Object]:
        return [one for one in self.slices.by_index(BY_SERVICE, key) if managed(one)]

    async def _write_slices(
        self, service: Object, key: str, family: str, chunks: list[tuple[list[Object], list[Object]]]
    ) -> None:
        present = [one for one in self._present(key) if one["addressType"] == family]
        spare = sorted(present, key=lambda s: str(s["metadata"]["name"]))
        labels = slice_labels(service)
        for ports, endpoints in chunks:
            there = spare.pop(0) if spare else None
            if there is None:
                await self._create(key, new_slice(service, labels, family, ports, endpoints))
            elif (there.get("ports") or [], there.get("endpoints") or [], there["metadata"]["labels"]) != (
                ports,
                endpoints,
                labels,
            ):
                metadata = {**there["metadata"], "labels": labels}
                await self.client.update(
                    ENDPOINT_SLICES, {**there, "metadata": metadata, "ports": ports, "endpoints": endpoints}
                )
        await self._delete_slices(spare)

    async def _delete_slices(self, surplus: Iterable[Object]) -> None:
        for one in surplus:
            metadata = one["metadata"]
            await self.client.delete(ENDPOINT_SLICES, metadata["name"], metadata["namespace"], uid=metadata["uid"])

    async def _create(self, key: str, new: Object) -> None:
        token = f"+{new['metadata']['name']}"
        self.expectations.expect(key, token)
        try:
            await self.client.create(ENDPOINT_SLICES, new)
        except BaseException:
            self.expectations.seen(key, token)
            raise

    async def _delete_endpoints(self, key: str) -> None:
        there = self.endpoints.get(key)
        if there is None or ENDPOINTS_LABEL not in (there["metadata"].get("labels") or {}):
            return
        metadata = there["metadata"]
        try:
            await self.client.delete(ENDPOINTS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except ApiError as error:
            if not error.is_not_found:
                raise

    async def _write_endpoints(self, service: Object, key: str, subsets: list[Object], over: bool) -> None:
        there = self.endpoints.get(key)
        metadata = service["metadata"]
        labels = {**(metadata.get("labels") or {}), ENDPOINTS_LABEL: "endpoint-controller"}
        if service["spec"].get("clusterIP") == "None":
            labels[HEADLESS_LABEL] = ""
        if there is None:
            new: Object = {
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "labels": labels},
            }
            if subsets:
                new["subsets"] = subsets
            if over:
                new["metadata"]["annotations"] = {OVER_CAPACITY: "truncated"}
            try:
                await self.client.create(ENDPOINTS, new)
            except ApiError as error:
                if not error.already_exists:
                    raise
            return
        annotations = {k: v for k, v in (there["metadata"].get("annotations") or {}).items() if k != OVER_CAPACITY}
        if over:
            annotations[OVER_CAPACITY] = "truncated"
        before = there["metadata"]
        same = (before.get("labels") or {}, before.get("annotations") or {}) == (labels, annotations)
        if not same or (there.get("subsets") or []) != subsets:
            changed = {**before, "labels": labels, "annotations": annotations}
            await self.client.update(ENDPOINTS, {**there, "metadata": changed, "subsets": subsets})


def service_of(endpoint_slice: Object) -> list[str]:
    """Return the key of the Service a slice belongs to."""
    metadata = endpoint_slice["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_LABEL)
    return [f"{metadata['namespace']}/{name}"] if name else []


def managed(endpoint_slice: Object) -> bool:
    return bool((endpoint_slice["metadata"].get("labels") or {}).get(MANAGED_LABEL) == MANAGER)


def slice_labels(service: Object) -> dict[str, str]:
    labels = {**(service["metadata"].get("labels") or {})}
    labels |= {SERVICE_LABEL: service["metadata"]["name"], MANAGED_LABEL: MANAGER}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    return labels


def new_slice(
    service: Object, labels: dict[str, str], family: str, ports: list[Object], endpoints: list[Object]
) -> Object:
    metadata = service["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name']}-{random_suffix()}",
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [owner_reference(service, SERVICES)],
        },
        "addressType": family,
        "ports": ports,
        "endpoints": endpoints,
    }
