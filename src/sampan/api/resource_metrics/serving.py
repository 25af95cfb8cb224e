"""NodeMetrics and PodMetrics as resources of the API: get and list with selectors, tables as metrics-server prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from sampan.api import metadata
from sampan.api.errors import StatusError, bad_request, method_not_allowed
from sampan.api.listing import Listed
from sampan.api.local import LocalClient
from sampan.api.rendering import list_response, object_response
from sampan.api.request import Request, Response, User
from sampan.api.resource import Column, Resource
from sampan.api.resource_metrics.reading import Summaries
from sampan.api.resource_metrics.usage import node_metrics, pod_metrics, pods_of
from sampan.client.protocol import Client
from sampan.client.resources import NODES, PODS
from sampan.schema.objects import Object
from sampan.schema.quantity import Quantity, parse
from sampan.schema.selectors import SelectorError, parse_field_selector, parse_label_selector
from sampan.store import Record

if TYPE_CHECKING:
    from sampan.api.app import Api

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
METRICS_SERVER = User("system:serviceaccount:kube-system:metrics-server", ("system:masters", "system:authenticated"))


def total(name: str) -> Column:
    """Return the column of a resource: of a node, or of all containers of a pod together."""

    def cell(obj: Object) -> str:
        usages = [obj["usage"]] if "usage" in obj else [container["usage"] for container in obj["containers"]]
        amounts = [parse(usage[name]) for usage in usages]
        return str(sum(amounts[1:], amounts[0]) if amounts else Quantity(0))

    return Column(name, cell, format="quantity")


COLUMNS = (
    Column("Name", ".metadata.name", format="name", description="Name of the resource"),
    total("cpu"),
    total("memory"),
    Column("Window", ".window", format="duration"),
)
NODE_METRICS = Resource(
    group=GROUP, version=VERSION, kind="NodeMetrics", plural="nodes", namespaced=False, verbs=("get", "list"),
    columns=COLUMNS,
)  # fmt: skip
POD_METRICS = Resource(
    group=GROUP, version=VERSION, kind="PodMetrics", plural="pods", verbs=("get", "list"), columns=COLUMNS
)


def add(api: Api) -> None:
    """Serve them."""
    metrics = ResourceMetrics(LocalClient(api, METRICS_SERVER))
    for resource in (NODE_METRICS, POD_METRICS):
        api.catalog.add(resource)
        api.catalog.subresource(GROUP, VERSION, resource.plural, "", {"GET": metrics.answer})


class ResourceMetrics:
    """What nodes and pods use."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._summaries = Summaries(client)

    async def nodes(self, nodes: list[Object]) -> list[Object]:
        """Return the NodeMetrics there are of nodes."""
        summaries = await self._summaries.of(node["metadata"]["name"] for node in nodes)
        now = metadata.now()
        found = [node_metrics(node, summaries[node["metadata"]["name"]], now) for node in nodes]
        return [one for one in found if one is not None]

    async def pods(self, pods: list[Object]) -> list[Object]:
        """Return the PodMetrics there are of running pods."""
        running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
        summaries = await self._summaries.of({pod["spec"]["nodeName"] for pod in running})
        stats = {uid: one for summary in summaries.values() for uid, one in pods_of(summary).items()}
        now = metadata.now()
        found = [pod_metrics(pod, stats.get(pod["metadata"]["uid"]) or {}, now) for pod in running]
        return [one for one in found if one is not None]

    async def answer(self, request: Request) -> Response:
        """Answer get and list."""
        at = request.attributes
        resource = NODE_METRICS if at.resource == "nodes" else POD_METRICS
        if at.verb not in resource.verbs:
            raise method_not_allowed()
        served = request.api.catalog.get(GROUP, VERSION, at.resource)
        assert served is not None
        if request.query.get("watch") in ("true", "1"):
            raise method_not_allowed()
        if at.name and at.verb == "get":
            found = await self._named(resource, at.namespace, at.name)
            return object_response(request, served, orjson.dumps(found))
        chosen = await self._chosen(request, resource)
        rows = await (self.nodes(chosen) if resource is NODE_METRICS else self.pods(chosen))
        rows.sort(key=lambda one: (one["metadata"].get("namespace", ""), one["metadata"]["name"]))
        records = [Record(f"/metrics/{number}", orjson.dumps(one), 0, 0) for number, one in enumerate(rows)]
        return await list_response(request, served, Listed(records, request.api.store.revision))

    async def _named(self, resource: Resource, namespace: str, name: str) -> Object:
        if resource is NODE_METRICS:
            found = await self.nodes(await self._one(NODES.plural, "", name))
        else:
            found = await self.pods(await self._one(PODS.plural, namespace, name))
        if not found:
            shown = f"{namespace}/{name}" if namespace else name
            raise missing(resource.kind.lower(), shown)
        return found[0]

    async def _one(self, plural: str, namespace: str, name: str) -> list[Object]:
        resource = NODES if plural == NODES.plural else PODS
        found = (await self._client.list(resource, namespace or None, field_selector=f"metadata.name={name}")).items
        if not found:
            raise missing(plural, name)
        return found

    async def _chosen(self, request: Request, resource: Resource) -> list[Object]:
        """Return the nodes or pods that a list is about. Raises 400."""
        try:
            labels = parse_label_selector(request.query.get("labelSelector", ""))
            fields = parse_field_selector(request.query.get("fieldSelector", ""))
        except SelectorError as error:
            raise bad_request(str(error)) from error
        for field, _, _ in fields.terms:
            if field not in ("metadata.name", "metadata.namespace"):
                raise bad_request(f'field label not supported: "{field}"')
        namespace = request.attributes.namespace or None
        subject = NODES if resource is NODE_METRICS else PODS
        listed = await self._client.list(subject, namespace, label_selector=str(labels), field_selector=str(fields))
        return listed.items


def missing(plural: str, name: str) -> StatusError:
    """Return a 404 in metrics-server's words."""
    details = {"name": name, "group": GROUP, "kind": plural}
    return StatusError(404, "NotFound", f'{plural}.{GROUP} "{name}" not found', details=details)
