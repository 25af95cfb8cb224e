"""The three metrics APIs as an autoscaler asks them: resources, custom and external metrics.

All are asked through the API, so whoever serves them does: ours, a metrics-server, an adapter of Prometheus or KEDA.
Source: kubernetes pkg/controller/podautoscaler/metrics; k8s.io/metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sampan.api.flags import duration
from sampan.client.discovery import ResourceMap
from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.controllers.autoscaling_replicas import Measured, MetricError, moment
from sampan.schema.objects import Object
from sampan.schema.quantity import parse
from sampan.schema.selectors import label_selector

RESOURCE_METRICS = "/apis/metrics.k8s.io/v1beta1"
CUSTOM = "custom.metrics.k8s.io"
EXTERNAL_METRICS = "/apis/external.metrics.k8s.io/v1beta1"


class Metrics:
    """Asks for metrics; every method raises ``MetricError``."""

    def __init__(self, client: Client, resources: ResourceMap) -> None:
        self._client, self._resources = client, resources

    async def _get(self, api: str, path: str, query: Mapping[str, str]) -> list[Any]:
        status, body = await self._client.raw("GET", path, query={name: text for name, text in query.items() if text})
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            found = {"message": body.decode(errors="replace").strip()}
        if status != 200:
            raise MetricError(f"unable to fetch metrics from {api} metrics API: {found.get('message') or status}")
        items = found.get("items") or []
        if not items:
            raise MetricError(f"no metrics returned from {api} metrics API")
        return list(items)

    async def of_resource(self, resource: str, namespace: str, selector: str, container: str) -> dict[str, Measured]:
        """Return pod → what it (or one container of it) uses."""
        path = f"{RESOURCE_METRICS}/namespaces/{namespace}/pods"
        found: dict[str, Measured] = {}
        for item in await self._get("resource", path, {"labelSelector": selector}):
            name, containers = item["metadata"]["name"], item.get("containers") or ()
            if container:
                containers = [one for one in containers if one["name"] == container]
                if not containers:
                    raise MetricError(f"container {container} not present in metrics for pod {namespace}/{name}")
            amounts = [one["usage"].get(resource) for one in containers]
            if amounts and None not in amounts:
                total = sum(parse(amount).milli() for amount in amounts)
                found[name] = Measured(total, moment(item.get("timestamp")) or 0.0, seconds(item.get("window")))
        return found

    async def of_pods(self, name: str, namespace: str, selector: str, metric: Object | None) -> dict[str, Measured]:
        """Return pod → the value of a custom metric."""
        path = f"{await self._custom()}/namespaces/{namespace}/pods/*/{name}"
        query = {"labelSelector": selector, "metricLabelSelector": selector_text(metric)}
        return {
            item["describedObject"]["name"]: Measured(
                parse(item["value"]).milli(), moment(item.get("timestamp")) or 0.0
            )
            for item in await self._get("custom", path, query)
        }

    async def of_object(self, name: str, namespace: str, reference: Object, metric: Object | None) -> int:
        """Return the value of a custom metric of an object, in thousandths."""
        try:
            described = await self._resources.of_kind(reference.get("apiVersion") or "v1", reference["kind"])
        except (ApiError, LookupError) as error:
            raise MetricError(f"unable to fetch metrics from custom metrics API: {error}") from error
        where = f"{described.plural}.{described.group}" if described.group else described.plural
        base = await self._custom()
        if described.kind == "Namespace":
            path = f"{base}/namespaces/{reference['name']}/metrics/{name}"
        elif described.namespaced:
            path = f"{base}/namespaces/{namespace}/{where}/{reference['name']}/{name}"
        else:
            path = f"{base}/{where}/{reference['name']}/{name}"
        items = await self._get("custom", path, {"metricLabelSelector": selector_text(metric)})
        return parse(items[0]["value"]).milli()

    async def external(self, name: str, namespace: str, metric: Object | None) -> int:
        """Return the sum of the values of an external metric, in thousandths."""
        path = f"{EXTERNAL_METRICS}/namespaces/{namespace}/{name}"
        items = await self._get("external", path, {"labelSelector": selector_text(metric)})
        return sum(parse(item["value"]).milli() for item in items)

    async def _custom(self) -> str:
        """Return the version of the custom metrics API that its server prefers."""
        status, body = await self._client.raw("GET", f"/apis/{CUSTOM}")
        if status != 200:
            message = "the server could not find the requested resource"
            raise MetricError(f"unable to fetch metrics from custom metrics API: {message}")
        return f"/apis/{orjson.loads(body)['preferredVersion']['groupVersion']}"


def selector_text(selector: Object | None) -> str:
    return str(label_selector(selector)) if selector else ""


def seconds(window: Any) -> float:
    """Return a ``metav1.Duration`` in seconds."""
    return float(duration(window)) if isinstance(window, str) else 0.0
