"""EndpointSlices and Endpoints of Services with a selector.

What flows: a Service or one of its pods changes; ``service_endpoints.py`` says what its endpoints are, and
``endpoint_slice_plan.py`` which slices have to be written for that. Source: discovery.k8s.io/v1, KEP-752.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from sampan.controllers.endpoint_slice_plan import plan
from sampan.controllers.expectations import BELIEVED_SECONDS, Expectations
from sampan.controllers.gathering import Gathering
from sampan.controllers.ownership import BY_NAMESPACE, namespace_of, owner_reference
from sampan.controllers.pod_control import random_suffix
from sampan.controllers.service_endpoints import (
    Group,
    endpoints_of,
    facts_of,
    families_of,
    legacy_subsets,
    selects,
    within_capacity,
)
from sampan.controllers.trigger_times import TriggerTimes, with_trigger
from sampan.schema.objects import Object

ZONE = "topology.kubernetes.io/zone"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"
ENDPOINTS_LABEL = "endpoints.kubernetes.io/managed-by"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
BY_SERVICE = "service"


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
        self.gathering = Gathering()
        self.triggers = TriggerTimes()
        pods.add_index(BY_NAMESPACE, namespace_of)
        services.add_index(BY_NAMESPACE, namespace_of)
        slices.add_index(BY_SERVICE, service_of)
        slices.add_handler(self._on_slice)
        self.watch(services)
        pods.add_handler(self._on_pod)
        endpoints.add_handler(self._on_endpoints)
        self._informers += [pods, slices, endpoints]

    def _on_slice(self, change: str, old: Object | None, new: Object) -> None:
        for key in service_of(new):
            self.expectations.seen(key, f"+{new['metadata']['name']}")
        for key in dict.fromkeys([*service_of(new), *(service_of(old) if old is not None else ())]):
            self._look_again(key)

    def _on_endpoints(self, change: str, old: Object | None, new: Object) -> None:
        self._look_again(key_of(new))

    def _look_again(self, key: str) -> None:
        """Have a Service looked at, in its turn: what was just written is told, too."""
        self.queue.add_after(key, self.gathering.pause(key))

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

    def _on_pod(self, change: str, old: Object | None, new: Object) -> None:
        """Have the Services of a pod looked at, where what endpoints tell of it has changed."""
        before = facts_of(old) if old is not None else None
        after = facts_of(new) if change != "DELETED" else None
        if before == after:
            return
        keys = dict.fromkeys([*self._services_of(new), *(self._services_of(old) if old is not None else ())])
        for key in keys:
            self._look_again(key)

    def _services_of(self, pod: Object) -> list[str]:
        namespace = pod["metadata"].get("namespace", "")
        candidates = self.services.by_index(BY_NAMESPACE, namespace)
        return [f"{namespace}/{service['metadata']['name']}" for service in candidates if selects(service, pod)]

    async def reconcile(self, key: str) -> float | None:
        service = self.services.get(key)
        if service is None:
            self.expectations.forget(key)
            self.triggers.forget(key)
            self.gathering.forget(key)
            await self._delete_endpoints(key)  # slices are owned by their Service, Endpoints are not
            return None
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return None
        if "deletionTimestamp" in service["metadata"]:
            return None
        if not self.expectations.satisfied(key):
            return BELIEVED_SECONDS  # the slice made last is not in the informer yet: it would be made twice
        await self.gathering.look(key, self._look(key, service))
        return None

    async def _look(self, key: str, service: Object) -> None:
        near = self.pods.by_index(BY_NAMESPACE, service["metadata"]["namespace"])
        pods = [pod for pod in near if selects(service, pod)]
        moment = self.triggers.look(key, service, pods)
        families = families_of(service)
        groups = {family: endpoints_of(service, pods, family, self.zones) for family in families}
        present = [one for one in self.slices.by_index(BY_SERVICE, key) if managed(one)]
        ours = [one for one in present if is_owned(one, service) and one["addressType"] in families]
        for family in families:
            await self._write_slices(service, key, family, ours, groups[family], moment)
        # of a Service of this name before, or of a family that it no longer has
        await self._delete_slices(one for one in present if one not in ours)
        # Endpoints know one family only: the Service's first
        kept, over = within_capacity(group for _, group in sorted(groups[families[0]].items()))
        await self._write_endpoints(service, key, legacy_subsets(kept), over, moment)

    async def _write_slices(
        self,
        service: Object,
        key: str,
        family: str,
        ours: list[Object],
        wanted: dict[bytes, Group],
        moment: str,
    ) -> None:
        labels = slice_labels(service)
        todo = plan([one for one in ours if one["addressType"] == family], wanted, labels)
        for ports, endpoints in todo.create:
            await self._create(key, triggered(new_slice(service, labels, family, ports, endpoints), moment))
        for changed in todo.update:
            await self.client.update(ENDPOINT_SLICES, triggered(changed, moment))
        await self._delete_slices(todo.delete)

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

    async def _write_endpoints(self, service: Object, key: str, subsets: list[Object], over: bool, moment: str) -> None:
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
                await self.client.create(ENDPOINTS, triggered(new, moment))
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
            await self.client.update(ENDPOINTS, triggered({**there, "metadata": changed, "subsets": subsets}, moment))


def triggered(obj: Object, moment: str) -> Object:
    """Return what is written with the moment of what it is written for."""
    annotations = with_trigger(obj["metadata"].get("annotations"), moment)
    metadata = {name: value for name, value in obj["metadata"].items() if name != "annotations"}
    return {**obj, "metadata": {**metadata, "annotations": annotations} if annotations else metadata}


def service_of(endpoint_slice: Object) -> list[str]:
    """Return the key of the Service a slice belongs to."""
    metadata = endpoint_slice["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_LABEL)
    return [f"{metadata['namespace']}/{name}"] if name else []


def managed(endpoint_slice: Object) -> bool:
    return bool((endpoint_slice["metadata"].get("labels") or {}).get(MANAGED_LABEL) == MANAGER)


def is_owned(endpoint_slice: Object, service: Object) -> bool:
    owners = endpoint_slice["metadata"].get("ownerReferences") or ()
    return any(one.get("uid") == service["metadata"]["uid"] for one in owners)


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
