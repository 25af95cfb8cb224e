"""pods/eviction: a deletion that respects PodDisruptionBudgets. Source: pkg/registry/core/pod/storage/eviction.go."""

from __future__ import annotations

from sampan.api import deleting
from sampan.api.catalog import Served
from sampan.api.errors import StatusError, bad_request, conflict, forbidden
from sampan.api.metadata import now
from sampan.api.registry import CONFLICT_ATTEMPTS
from sampan.api.rendering import value_response
from sampan.api.request import Request, Response
from sampan.api.resources.checking import selects
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.subresources.binding import SUCCESS, body_object, pods
from sampan.schema.objects import Object
from sampan.store import Conflict, Put
from sampan.store.layout import prefix_of

PROCESSING_SECONDS = 10
MAX_DISRUPTED = 2000
TOO_MANY = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
BUDGETS = prefix_of("poddisruptionbudgets.policy")


async def evict(request: Request) -> Response:
    """Delete a pod, if its budget lets it go. Raises 400, 403, 404, 409, 429 and 500."""
    served, api = pods(request), request.api
    at = request.attributes
    body = body_object(request)
    named = text(body, "metadata", "name")
    if named and named != at.name:
        raise bad_request(f"name in URL does not match name in Eviction object: {at.name} != {named}")
    options = mapping(body, "deleteOptions")
    if options.get("dryRun") == ["All"]:
        request.query = {**request.query, "dryRun": "All"}
    await api.registry.admit_body(request, served, "eviction", body, "Eviction")
    options = mapping(body, "deleteOptions")
    pod = api.registry.read(served, at.namespace, at.name)
    if not is_free(pod):
        await spend_budget(request, pod)
    preconditions = mapping(options, "preconditions")
    grace = options.get("gracePeriodSeconds")
    wanted = deleting.DeleteOptions(
        grace if isinstance(grace, int) else None,
        options.get("propagationPolicy"),
        preconditions.get("uid"),
        preconditions.get("resourceVersion"),
    )
    if not request.dry_run and not pod["metadata"].get("deletionTimestamp"):
        await say_why(request, served)
    # admission was asked about the Eviction: what it does to the pod is the server's own affair, as in Kubernetes
    await deleting.delete(api.registry, request, served, at.namespace, at.name, wanted, admission=False)
    return value_response(request, SUCCESS, 201)


async def say_why(request: Request, served: Served) -> None:
    """Write the condition of a pod that goes. Raises 404, and 409 where others change it again and again."""
    registry, at = request.api.registry, request.attributes
    for _ in range(CONFLICT_ATTEMPTS):
        record = registry.record(served, at.namespace, at.name)
        value = await registry.to_store(served, targeted(registry.decode(served, record.value)))
        try:
            await registry.commit(Put(record.key, value, expected=record.revision))
            return
        except Conflict:
            continue
    raise conflict(served.resource, at.name)


def targeted(pod: Object) -> Object:
    """Say in a pod's status why it goes (KEP-3329)."""
    condition: Object = {"type": "DisruptionTarget", "status": "True", "lastProbeTime": None}
    condition |= {"lastTransitionTime": now(), "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
    if pod["metadata"].get("generation"):
        condition["observedGeneration"] = pod["metadata"]["generation"]
    status = pod.setdefault("status", {})
    others = [one for one in items(status, "conditions") if one.get("type") != "DisruptionTarget"]
    status["conditions"] = [*others, condition]
    return pod


def is_free(pod: Object) -> bool:
    """Whether a pod goes without asking: it has ended, not begun, or is going already."""
    ended = text(pod, "status", "phase") in ("Succeeded", "Failed", "Pending")
    return ended or bool(pod["metadata"].get("deletionTimestamp"))


def is_ready(pod: Object) -> bool:
    conditions = items(pod, "status", "conditions")
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def may_go_unready(budget: Object) -> bool:
    """Whether a budget lets go of pods that are not ready (KEP-3017)."""
    status = mapping(budget, "status")
    healthy, wanted = status.get("currentHealthy") or 0, status.get("desiredHealthy") or 0
    return text(budget, "spec", "unhealthyPodEvictionPolicy") == "AlwaysAllow" or (healthy >= wanted > 0)


async def spend_budget(request: Request, pod: Object) -> None:
    """Take one allowed disruption from the pod's budget. Raises 429 where there is none left."""
    api, at = request.api, request.attributes
    page = await api.store.page(f"{BUDGETS}{at.namespace}/")
    labels = mapping(pod, "metadata", "labels")
    found = [api.parsed(record) for record in page.records]
    budgets = [budget for budget in found if covers(budget, labels)]
    if not budgets:
        return
    if len(budgets) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise StatusError(500, "InternalError", message)
    if not is_ready(pod) and may_go_unready(budgets[0]):
        return
    served = api.catalog.get("policy", "v1", "poddisruptionbudgets")
    assert served is not None

    def spend(budget: Object) -> Object:
        status = budget.setdefault("status", {})
        allowed = status.get("disruptionsAllowed") or 0
        if (status.get("observedGeneration") or 0) < budget["metadata"].get("generation", 0):
            raise violated(budget, "is still being processed by the server.", retry_seconds=PROCESSING_SECONDS)
        if allowed < 0:
            raise forbidden(served.resource, budget["metadata"]["name"], "pdb disruptions allowed is negative")
        if len(mapping(status, "disruptedPods")) > MAX_DISRUPTED:
            raise forbidden(served.resource, budget["metadata"]["name"], TOO_MANY)
        if allowed == 0:
            needs, has = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
            raise violated(budget, f"needs {needs} healthy pods and has {has} currently")
        status["disruptionsAllowed"] = allowed - 1
        status["disruptedPods"] = {**mapping(status, "disruptedPods"), at.name: now()}
        return budget

    await api.registry.change(
        request, served, at.namespace, budgets[0]["metadata"]["name"], spend, subresource="status"
    )


def covers(budget: Object, labels: Object) -> bool:
    """Whether a budget is for pods with these labels: none is without a selector, all with an empty one."""
    selector = dig(budget, "spec", "selector")
    return selector is not None and selects(selector, labels)


def violated(budget: Object, why: str, retry_seconds: int = 0) -> StatusError:
    cause = f"The disruption budget {budget['metadata']['name']} {why}"
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    wait = retry_seconds or None
    return StatusError(429, "TooManyRequests", message, details=details, retry_after_seconds=wait)
