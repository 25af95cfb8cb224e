"""HorizontalPodAutoscaler: as many replicas as the metrics ask for, within limits, for anything that has a ``/scale``.

Flow: the Scale of the target → a proposal for each metric (``autoscaling_replicas``, with the values of
``autoscaling_metrics``), the largest counts → limits (``autoscaling_limits``) → the Scale, and the status with its
conditions. It is looked at when it changes and every sync period, for metrics change without a word.
Source: autoscaling/v2; kubernetes pkg/controller/podautoscaler.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sampan.client.controller import Controller
from sampan.client.discovery import ResourceMap, UnknownResource
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.controllers import autoscaling_limits as limits
from sampan.controllers.autoscaling_metrics import Metrics
from sampan.controllers.autoscaling_proposals import Proposals, Target
from sampan.controllers.autoscaling_replicas import MetricError, Startup, Tolerance
from sampan.controllers.autoscaling_scale import read_scale, write_scale
from sampan.controllers.autoscaling_to_zero import SCALED_TO_ZERO, Zero, mark, wakes
from sampan.controllers.ownership import BY_NAMESPACE, namespace_of
from sampan.schema.objects import Object
from sampan.schema.quantity import parse
from sampan.schema.selectors import LabelSelector, SelectorError, parse_label_selector

HORIZONTAL_POD_AUTOSCALERS = ResourceType("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"
BELOW = "Current number of replicas below Spec.MinReplicas"


@dataclass(frozen=True, slots=True)
class AutoscalerConfig:
    """kube-controller-manager's flags ``--horizontal-pod-autoscaler-…``."""

    sync_seconds: float = 15.0
    downscale_stabilization_seconds: float = limits.DOWNSCALE_SECONDS
    tolerance: float = 0.1
    startup: Startup = field(default_factory=Startup)
    zero: Zero = Zero.MARKED


class Stopped(Exception):
    """Nothing can be done for now; the condition and the event say why."""


class Wish(NamedTuple):
    """How many replicas the metrics ask for, by which of them, and what they are now."""

    replicas: int
    metric: str
    statuses: list[Object]


class HorizontalPodAutoscalerController(Controller):
    name = "horizontal-pod-autoscaler"

    def __init__(
        self,
        client: Client,
        autoscalers: Informer,
        pods: Informer,
        events: EventRecorder,
        config: AutoscalerConfig | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(client)
        self.autoscalers, self.pods, self.events = autoscalers, pods, events
        self.config, self.clock = config or AutoscalerConfig(), clock
        self.resources = ResourceMap(client)
        self.metrics = Metrics(client, self.resources)
        self.histories: dict[str, limits.History] = {}
        self.selectors: dict[str, LabelSelector] = {}
        pods.add_index(BY_NAMESPACE, namespace_of)
        autoscalers.add_handler(self._on_autoscaler)

    def _on_autoscaler(self, change: str, old: Object | None, new: Object) -> None:
        """Look at it when it is new or asks for something else; its own status does not wake it."""
        key = f"{new['metadata']['namespace']}/{new['metadata']['name']}"
        if change == "DELETED":
            self.histories.pop(key, None)
            self.selectors.pop(key, None)
        elif old is None or old["spec"] != new["spec"] or annotations_of(old) != annotations_of(new):
            self.queue.add(key)

    async def run(self) -> None:
        await self.pods.synced()
        await self.autoscalers.synced()
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        autoscaler = self.autoscalers.get(key)
        if autoscaler is None:
            return None
        look = Look(self, key, autoscaler)
        try:
            await look.scale()
        except (Stopped, MetricError) as error:
            self.logger.debug("%s: %s", key, error)
        await look.write_status()
        return self.config.sync_seconds

    def shared_with(self, key: str, selector: LabelSelector, pods: list[Object]) -> list[str]:
        """Return the autoscalers whose selectors choose pods that this one's does."""
        self.selectors[key] = selector
        namespace = key.partition("/")[0] + "/"
        others = [(one, other) for one, other in self.selectors.items() if one.startswith(namespace)]
        labels = [pod["metadata"].get("labels") for pod in pods]
        return [one for one, other in others if one == key or any(other.matches(found) for found in labels)]


def annotations_of(obj: Object) -> Any:
    return obj["metadata"].get("annotations")


class Look:
    """One look at one autoscaler: what it finds and decides goes into ``status``."""

    def __init__(self, controller: HorizontalPodAutoscalerController, key: str, autoscaler: Object) -> None:
        self.controller, self.key, self.autoscaler = controller, key, autoscaler
        self.spec = autoscaler["spec"]
        self.namespace: str = autoscaler["metadata"]["namespace"]
        self.now = controller.clock()
        self.old: Object = autoscaler.get("status") or {}
        self.conditions = {condition["type"]: condition for condition in self.old.get("conditions") or ()}
        self.status: Object = dict(self.old)

    # what is told

    def tell(self, type: str, status: str, reason: str, message: str) -> None:
        """Set a condition; its transition time changes with its status only."""
        before = self.conditions.get(type, {})
        since = before["lastTransitionTime"] if before.get("status") == status else timestamp()
        new = {"type": type, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
        self.conditions[type] = new

    def warn(self, reason: str, message: str) -> None:
        self.controller.events.warning(self.autoscaler, reason, message)

    async def write_status(self) -> None:
        status = {**self.status, "conditions": list(self.conditions.values())}
        if generation := self.autoscaler["metadata"].get("generation"):  # since 1.37
            status["observedGeneration"] = generation
        status = {name: value for name, value in status.items() if value not in (None, [])}
        if status != self.old:
            updated = {**self.autoscaler, "status": status}
            await self.controller.client.update(HORIZONTAL_POD_AUTOSCALERS, updated, subresource="status")

    # what is done

    async def scale(self) -> None:
        """Decide and scale. Raises ``Stopped`` and ``MetricError``."""
        resource, scale = await self._target()
        self.tell(ABLE, "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
        current = (scale.get("spec") or {}).get("replicas", 0)
        least, most = self.spec.get("minReplicas", 1), self.spec["maxReplicas"]
        history = self.controller.histories.setdefault(self.key, limits.History())
        history.begin(self.now, current)
        wish = Wish(0, "", [])
        failure: MetricError | None = None
        zero = self.controller.config.zero
        if zero is Zero.OFF:
            self.conditions.pop(SCALED_TO_ZERO, None)
        if current == 0 and not wakes(zero, self.spec, self.conditions):
            why = "scaling is disabled since the replica count of the target is zero"
            self.tell(ACTIVE, "False", "ScalingDisabled", why)
            desired, reason = 0, ""
        elif current > most:
            desired, reason = most, "Current number of replicas above Spec.MaxReplicas"
        elif 0 < current < least:
            desired, reason = least, BELOW
        else:
            self.status["currentReplicas"] = current
            wish, failure = await self._wish(scale, current)
            desired, reason = self._limited(history, current, wish)
            if current == 0 and desired < least:  # which was raised meanwhile
                desired, reason = least, reason or BELOW
        if desired != current:
            await self._rescale(resource, scale, current, desired, reason)
            history.record(self.spec.get("behavior"), self.now, current, desired)
        self.status |= {
            "currentReplicas": current,
            "desiredReplicas": desired,
            "currentMetrics": wish.statuses or None,
        }
        if desired != current:
            self.status["lastScaleTime"] = timestamp()
        if failure is not None:
            raise failure

    async def _target(self) -> tuple[ResourceType, Object]:
        """Return the target's resource and its Scale. Raises ``Stopped``."""
        reference = self.spec["scaleTargetRef"]
        try:
            resource = await self.controller.resources.of_kind(reference.get("apiVersion") or "v1", reference["kind"])
            found = await read_scale(self.controller.client, resource, self.namespace, reference["name"])
        except (ApiError, UnknownResource) as error:
            self.warn("FailedGetScale", str(error))
            why = f"the HPA controller was unable to get the target's current scale: {error}"
            self.tell(ABLE, "False", "FailedGetScale", why)
            raise Stopped(why) from error
        return resource, found

    async def _rescale(self, resource: ResourceType, scale: Object, current: int, desired: int, reason: str) -> None:
        try:
            await write_scale(self.controller.client, resource, scale, desired)
        except ApiError as error:
            self.warn("FailedRescale", f"New size: {desired}; reason: {reason}; error: {error}")
            why = f"the HPA controller was unable to update the target scale: {error}"
            self.tell(ABLE, "False", "FailedUpdateScale", why)
            self.status["currentReplicas"] = current
            raise Stopped(why) from error
        why = f"the HPA controller was able to update the target scale to {desired}"
        self.tell(ABLE, "True", "SucceededRescale", why)
        if self.controller.config.zero is Zero.MARKED:
            self.tell(SCALED_TO_ZERO, *mark(self.spec, current, desired))
        self.controller.events.normal(self.autoscaler, "SuccessfulRescale", f"New size: {desired}; reason: {reason}")

    def _limited(self, history: limits.History, current: int, wish: Wish) -> tuple[int, str]:
        """Return how many replicas there shall be, and why, where that is a change."""
        reason = ""
        if wish.replicas > current:
            reason = f"{wish.metric} above target"
        elif wish.replicas < current:
            reason = "All metrics below target"
        seconds = self.controller.config.downscale_stabilization_seconds
        found = limits.limited(self.spec, history, current, wish.replicas, self.now, seconds)
        self.tell(ABLE, "True", *found.able)
        self.tell(LIMITED, str(found.limited), *found.limit)
        return found.replicas, reason

    # what the metrics say

    def tolerance(self) -> Tolerance:
        """Return the tolerance of each direction (KEP-4951)."""
        behavior, default = self.spec.get("behavior") or {}, self.controller.config.tolerance

        def of(direction: str) -> float:
            given = (behavior.get(direction) or {}).get("tolerance")
            return default if given is None else parse(given).nano / 1e9

        return Tolerance(of("scaleUp"), of("scaleDown"))

    def _selector(self, scale: Object) -> tuple[str, LabelSelector]:
        """Return what chooses the target's pods. Raises ``Stopped``."""
        text = (scale.get("status") or {}).get("selector") or ""
        if not text:
            self.warn("SelectorRequired", "selector is required")
            self.tell(ACTIVE, "False", "InvalidSelector", "the HPA target's scale is missing a selector")
            raise Stopped("selector is required")
        try:
            return text, parse_label_selector(text)
        except SelectorError as error:
            why = f"couldn't convert selector into a corresponding internal selector object: {error}"
            self.warn("InvalidSelector", why)
            self.tell(ACTIVE, "False", "InvalidSelector", why)
            raise Stopped(why) from error

    async def _wish(self, scale: Object, current: int) -> tuple[Wish, MetricError | None]:
        """Return the largest proposal, and what is wrong with metrics that were left out. Raises ``Stopped`` where nothing
        can be said: no metric is known, or one that is not might forbid to shrink."""
        text, selector = self._selector(scale)
        pods = [
            pod
            for pod in self.controller.pods.by_index(BY_NAMESPACE, self.namespace)
            if selector.matches(pod["metadata"].get("labels"))
        ]
        shared = self.controller.shared_with(self.key, selector, pods)
        if len(shared) > 1:
            why = f"pods by selector {text} are controlled by multiple HPAs: [{' '.join(sorted(shared))}]"
            self.warn("AmbiguousSelector", why)
            self.tell(ACTIVE, "False", "AmbiguousSelector", why)
            raise Stopped(why)
        target = Target(self.namespace, text, pods, current, (scale.get("status") or {}).get("replicas", 0))
        proposals = Proposals(
            self.controller.metrics, target, self.tolerance(), self.controller.config.startup, self.now
        )
        best, statuses, failures = Wish(-1, "", []), [], []
        specs = self.spec.get("metrics") or ()
        for spec in specs:
            found = await proposals.of(spec)
            statuses.append(found.status)
            if found.error is not None:
                failures.append(found)
                self.warn(found.reason, found.error)
            elif found.replicas > best.replicas:
                best = Wish(found.replicas, found.metric, statuses)
        first = failures[0] if failures else None
        if first is not None and (len(failures) == len(specs) or best.replicas < current):
            why = f"the HPA was unable to compute the replica count: {first.error}"
            self.tell(ACTIVE, "False", first.reason, why)
            self.status["currentMetrics"] = statuses
            invalid = f"invalid metrics ({len(failures)} invalid out of {len(specs)}), first error is: {first.error}"
            self.warn("FailedComputeMetricsReplicas", invalid)
            raise Stopped(invalid)
        why = f"the HPA was able to successfully calculate a replica count from {best.metric}"
        self.tell(ACTIVE, "True", "ValidMetricFound", why)
        error = MetricError(f"invalid metrics: {first.error}") if first is not None else None
        return Wish(max(best.replicas, 0), best.metric, statuses), error
