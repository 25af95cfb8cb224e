"""Endpoints that people keep by hand for a Service without selector, mirrored into EndpointSlices, which proxies read.

``mirrored`` is pure: an Endpoints object to the slices that it makes. A slice that need not change is not written. Source:
KEP-752, pkg/controller/endpointslicemirroring.
"""

from __future__ import annotations

import ipaddress

import orjson

from sampan.client.controller import Controller
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import ENDPOINT_SLICES, ENDPOINTS
from sampan.controllers.expectations import BELIEVED_SECONDS, Expectations
from sampan.controllers.ownership import owner_reference
from sampan.controllers.pod_control import random_suffix
from sampan.schema.objects import Object

SERVICE_LABEL, MANAGED_LABEL = "kubernetes.io/service-name", "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP_LABEL, LEADER = "endpointslice.kubernetes.io/skip-mirror", "control-plane.alpha.kubernetes.io/leader"
NOT_MIRRORED = ("kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time")
AT_MOST = 1000
"""Endpoints of a subset that are mirrored."""
BY_ENDPOINTS = "endpoints"


def should_mirror(endpoints: Object | None, service: Object | None) -> bool:
    """Whether Endpoints are mirrored: somebody keeps them by hand, for a Service that has no selector."""
    if endpoints is None or service is None or service["spec"].get("selector") is not None:
        return False
    metadata = endpoints["metadata"]
    if "deletionTimestamp" in metadata or (metadata.get("labels") or {}).get(SKIP_LABEL) == "true":
        return False
    return LEADER not in (metadata.get("annotations") or {})


def mirrored(endpoints: Object) -> list[Object]:
    """Return the slices of an Endpoints object, without names: per address family and set of ports."""
    groups: dict[tuple[str, bytes], tuple[list[Object], list[Object]]] = {}
    for subset in endpoints.get("subsets") or ():
        ports = [port_of(port) for port in subset.get("ports") or ()]
        addresses = [(one, True) for one in subset.get("addresses") or ()]
        addresses += [(one, False) for one in subset.get("notReadyAddresses") or ()]
        for address, ready in addresses[:AT_MOST]:
            family = family_of(address.get("ip", ""))
            if family:
                group = groups.setdefault((family, orjson.dumps(ports)), (ports, []))
                group[1].append(endpoint_of(address, ready))
    metadata = endpoints["metadata"]
    own = {name: value for name, value in (metadata.get("annotations") or {}).items() if name not in NOT_MIRRORED}
    labels = {**(metadata.get("labels") or {}), SERVICE_LABEL: metadata["name"], MANAGED_LABEL: MANAGER}
    slices = []
    for (family, _), (ports, found) in sorted(groups.items()):
        made: Object = {"labels": labels, "ownerReferences": [owner_reference(endpoints, ENDPOINTS)]}
        if own:
            made["annotations"] = own
        slices.append({"metadata": made, "addressType": family, "ports": ports, "endpoints": found})
    return slices


def port_of(port: Object) -> Object:
    made = {"name": port.get("name", ""), "port": port["port"], "protocol": port.get("protocol", "TCP")}
    return {**made, "appProtocol": port["appProtocol"]} if "appProtocol" in port else made


def endpoint_of(address: Object, ready: bool) -> Object:
    made: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for name in ("hostname", "nodeName", "targetRef"):
        if address.get(name):
            made[name] = address[name]
    return made


def family_of(ip: str) -> str:
    try:
        return f"IPv{ipaddress.ip_address(ip).version}"
    except ValueError:
        return ""


class EndpointSliceMirroring(Controller):
    name = "endpointslicemirroring-controller"

    def __init__(self, client: Client, endpoints: Informer, services: Informer, slices: Informer) -> None:
        super().__init__(client)
        self.endpoints, self.services, self.slices = endpoints, services, slices
        self.expectations = Expectations()
        slices.add_index(BY_ENDPOINTS, mirror_of)
        slices.add_handler(self._on_slice)
        self.watch(endpoints)
        self.watch(services)
        self.watch(slices, mirror_of)

    def _on_slice(self, change: str, old: Object | None, new: Object) -> None:
        for key in mirror_of(new):
            self.expectations.seen(key, f"+{new['metadata']['name']}")

    async def reconcile(self, key: str) -> float | None:
        endpoints = self.endpoints.get(key)
        if not self.expectations.satisfied(key):
            return BELIEVED_SECONDS  # the slice made last is not in the informer yet: it would be made twice
        there = self.slices.by_index(BY_ENDPOINTS, key)
        wanted = mirrored(endpoints) if endpoints and should_mirror(endpoints, self.services.get(key)) else []
        spare = sorted(there, key=lambda one: str(one["metadata"]["name"]))
        for made in wanted:
            kept = next((one for one in spare if one["addressType"] == made["addressType"]), None)
            if kept is None:
                await self._create(key, made)
                continue
            spare.remove(kept)
            changed = self._changed(kept, made)
            if changed != kept:
                await self.client.update(ENDPOINT_SLICES, changed)
        for surplus in spare:
            metadata = surplus["metadata"]
            await self.client.delete(ENDPOINT_SLICES, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        if endpoints is None:
            self.expectations.forget(key)
        return None

    @staticmethod
    def _changed(kept: Object, made: Object) -> Object:
        metadata = {**kept["metadata"], **made["metadata"]}
        if "annotations" not in made["metadata"]:
            metadata.pop("annotations", None)
        # what the API adds by default to an endpoint is not ours to take away
        endpoints = made["endpoints"]
        before = [
            {**one, "conditions": {"ready": one["conditions"].get("ready")}} for one in kept.get("endpoints") or ()
        ]
        changed = {**kept, "metadata": metadata, "ports": made["ports"]}
        return changed if before == endpoints else {**changed, "endpoints": endpoints}

    async def _create(self, key: str, made: Object) -> None:
        namespace, _, name = key.partition("/")
        new = f"{name}-{random_suffix()}"
        self.expectations.expect(key, f"+{new}")
        metadata = {"name": new, "generateName": f"{name}-", "namespace": namespace, **made["metadata"]}
        whole = {"apiVersion": ENDPOINT_SLICES.api_version, "kind": ENDPOINT_SLICES.kind, **made, "metadata": metadata}
        try:
            await self.client.create(ENDPOINT_SLICES, whole)
        except BaseException:
            self.expectations.seen(key, f"+{new}")
            raise


def mirror_of(one: Object) -> list[str]:
    """Return the key of the Endpoints that a slice mirrors, none for others' slices."""
    labels = one["metadata"].get("labels") or {}
    if labels.get(MANAGED_LABEL) != MANAGER or not labels.get(SERVICE_LABEL):
        return []
    return [key_of({"metadata": {"namespace": one["metadata"]["namespace"], "name": labels[SERVICE_LABEL]}})]
