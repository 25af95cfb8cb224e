"""What each kind of metric of an autoscaler proposes: the value is asked for, and what it means is said in words.

Source: kubernetes pkg/controller/podautoscaler (computeReplicasForMetric); its names of reasons, messages and metrics.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sampan.controllers import autoscaling_replicas as replicas
from sampan.controllers.autoscaling_metrics import Metrics
from sampan.controllers.autoscaling_replicas import MetricError, Proposal, Startup, Tolerance
from sampan.schema.objects import Object
from sampan.schema.quantity import Quantity, canonical, parse

MILLI = 10**6


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled: its pods, the replicas asked for, and those there are."""

    namespace: str
    selector: str
    pods: list[Object]
    current: int
    actual: int


class Found(NamedTuple):
    """``metric`` is how events name it; ``status`` its entry of ``currentMetrics``; or why there is none."""

    replicas: int
    metric: str
    status: Object
    reason: str = ""
    error: str | None = None


class Proposals:
    """Proposals for one target at one moment."""

    def __init__(self, metrics: Metrics, target: Target, tolerance: Tolerance, startup: Startup, now: float) -> None:
        self.metrics, self.target, self.tolerance = metrics, target, tolerance
        self.startup, self.now = startup, now

    async def of(self, metric: Object) -> Found:
        """Return the proposal of a metric, or why there is none."""
        kind = metric["type"]
        kinds: dict[str, Callable[[Object], Awaitable[Found]]] = {
            "Object": self._object,
            "Pods": self._pods,
            "Resource": self._resource,
            "ContainerResource": self._container_resource,
            "External": self._external,
        }
        if kind not in kinds:
            return Found(0, "", {"type": ""}, "InvalidMetricSourceType", f'unknown metric source type "{kind}"')
        try:
            return await kinds[kind](metric)
        except MetricError as error:
            return Found(0, "", {"type": ""}, f"FailedGet{kind}Metric", str(error))

    async def _resource(self, metric: Object) -> Found:
        source = metric["resource"]
        found, name = await self._of_resource(source, "")
        status = {"name": source["name"], "current": current_of(found)}
        return Found(found.replicas, name, {"type": "Resource", "resource": status})

    async def _container_resource(self, metric: Object) -> Found:
        source = metric["containerResource"]
        found, name = await self._of_resource(source, source["container"])
        status = {"name": source["name"], "container": source["container"], "current": current_of(found)}
        return Found(found.replicas, name, {"type": "ContainerResource", "containerResource": status})

    async def _of_resource(self, source: Object, container: str) -> tuple[Proposal, str]:
        name, wanted, target = source["name"], source["target"], self.target
        by_value = wanted.get("averageValue") is not None
        if not by_value and wanted.get("averageUtilization") is None:
            why = "neither an average utilization target nor an average value (usage) target was set"
            raise MetricError(f"invalid resource metric source: {why}")
        common: dict[str, Any] = {
            "resource": name, "tolerance": self.tolerance, "startup": self.startup, "now": self.now
        }  # fmt: skip
        try:
            values = await self._values(name, container)
            if by_value:
                amount = parse(wanted["averageValue"]).milli()
                proposal = replicas.of_average(target.pods, values, target.current, amount, **common)
                return proposal, f"{name} resource"
            percent = wanted["averageUtilization"]
            proposal = replicas.of_utilization(
                target.pods, values, target.current, percent, container=container, **common
            )
        except MetricError as error:
            raise MetricError(f"failed to get {name} {'usage' if by_value else 'utilization'}: {error}") from error
        shown = f"{name} container resource" if container else f"{name} resource"
        return proposal, f"{shown} utilization (percentage of request)"

    async def _values(self, name: str, container: str) -> dict[str, replicas.Measured]:
        try:
            return await self.metrics.of_resource(name, self.target.namespace, self.target.selector, container)
        except MetricError as error:
            raise MetricError(f"unable to get metrics for resource {name}: {error}") from error

    async def _pods(self, metric: Object) -> Found:
        source, target = metric["pods"], self.target
        name, selector = source["metric"]["name"], source["metric"].get("selector")
        try:
            try:
                values = await self.metrics.of_pods(name, target.namespace, target.selector, selector)
            except MetricError as error:
                raise MetricError(f"unable to get metric {name}: {error}") from error
            found = replicas.of_average(
                target.pods, values, target.current, parse(source["target"]["averageValue"]).milli(),
                resource="", tolerance=self.tolerance, startup=self.startup, now=self.now,
            )  # fmt: skip
        except MetricError as error:
            raise MetricError(f"failed to get pods metric value: {error}") from error
        status = {"metric": source["metric"], "current": {"averageValue": shown(found.usage)}}
        return Found(found.replicas, f"pods metric {name}", {"type": "Pods", "pods": status})

    async def _object(self, metric: Object) -> Found:
        source, target = metric["object"], self.target
        name, selector = source["metric"]["name"], source["metric"].get("selector")
        described, wanted = source["describedObject"], source["target"]
        if wanted.get("value") is None and wanted.get("averageValue") is None:
            why = "neither a value target nor an average value target was set"
            raise MetricError(f"invalid object metric source: {why}")
        failed = (
            "failed to get object metric value"
            if wanted.get("value") is not None
            else (f"failed to get {name} object metric")
        )
        try:
            usage = await self.metrics.of_object(name, target.namespace, described, selector)
        except MetricError as error:
            whose = f"{described['kind']} {target.namespace} {described['name']}"
            raise MetricError(f"{failed}: unable to get metric {name}: {whose}/{error}") from error
        status: Object = {"describedObject": described, "metric": source["metric"]}
        if wanted.get("value") is not None:
            count = self._of_total(usage, wanted["value"])
            status["current"] = {"value": shown(usage)}
            return Found(count, f"{described['kind']} metric {name}", {"type": "Object", "object": status})
        found = replicas.of_share(usage, target.actual, parse(wanted["averageValue"]).milli(), self.tolerance)
        status["current"] = {"averageValue": shown(found.usage)}
        return Found(found.replicas, named("external", source["metric"]), {"type": "Object", "object": status})

    async def _external(self, metric: Object) -> Found:
        source, target = metric["external"], self.target
        name, selector, wanted = source["metric"]["name"], source["metric"].get("selector"), source["target"]
        by_share = wanted.get("averageValue") is not None
        if not by_share and wanted.get("value") is None:
            why = "neither a value target nor an average value target was set"
            raise MetricError(f"invalid external metric source: {why}")
        try:
            usage = await self.metrics.external(name, target.namespace, selector)
        except MetricError as error:
            failed = f"failed to get {name} external metric" if by_share else f"failed to get external metric {name}"
            whose = f"unable to get external metric {target.namespace}/{name}/{selector_shown(selector)}"
            raise MetricError(f"{failed}: {whose}: {error}") from error
        status: Object = {"metric": source["metric"]}
        if by_share:
            found = replicas.of_share(usage, target.actual, parse(wanted["averageValue"]).milli(), self.tolerance)
            count, status["current"] = found.replicas, {"averageValue": shown(found.usage)}
        else:
            count, status["current"] = self._of_total(usage, wanted["value"]), {"value": shown(usage)}
        return Found(count, named("external", source["metric"]), {"type": "External", "external": status})

    def _of_total(self, usage: int, wanted: str) -> int:
        current, target = self.target.current, parse(wanted).milli()
        ready = replicas.ready_pods(self.target.pods) if current else 0
        return replicas.of_total(usage, current, target, ready, self.tolerance)


def shown(thousandths: int) -> str:
    return canonical(Quantity(thousandths * MILLI))


def current_of(found: Proposal) -> Object:
    percent = {} if found.utilization is None else {"averageUtilization": found.utilization}
    return {**percent, "averageValue": shown(found.usage)}


def named(kind: str, metric: Object) -> str:
    return f"{kind} metric {metric['name']}({selector_shown(metric.get('selector'))})"


def selector_shown(selector: Object | None) -> str:
    """Return a selector as Kubernetes' messages print it."""
    if selector is None:
        return "nil"
    labels = " ".join(f"{key}:{value}" for key, value in sorted((selector.get("matchLabels") or {}).items()))
    expressions = selector.get("matchExpressions") or ()
    terms = "".join(f"{{{e['key']} {e['operator']} [{' '.join(e.get('values') or ())}]}}" for e in expressions)
    return f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[{terms}],}}"
