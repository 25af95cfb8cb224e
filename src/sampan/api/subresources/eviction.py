"""pods/eviction: a deletion that respects PodDisruptionBudgets. Source: pkg/registry/core/pod/storage/eviction.go."""

from __future__ import annotations

from sampan.api import deleting
from sampan.api.errors import StatusError
from sampan.api.rendering import value_response
from sampan.api.request import Request, Response
from sampan.api.resources.checking import selects
from sampan.api.resources.reading import mapping, text
from sampan.api.subresources.binding import SUCCESS, body_object, pods
from sampan.schema.objects import Object

BUDGETS = "/registry/policy/poddisruptionbudgets/"


async def evict(request: Request) -> Response:
    """Delete a pod, if its budget lets it go. Raises 404, 429 and 500."""
    served, api = pods(request), request.api
    at = request.attributes
    body = body_object(request)
    await api.registry.admit_body(request, served, "eviction", body, "Eviction")
    options = mapping(body, "deleteOptions")
    pod = api.registry.read(served, at.namespace, at.name)
    ended = text(pod, "status", "phase") in ("Succeeded", "Failed", "Pending")
    if not ended and not pod["metadata"].get("deletionTimestamp"):
        await spend_budget(request, pod)
    if options.get("dryRun") == ["All"]:
        request.query = {**request.query, "dryRun": "All"}
    preconditions = mapping(options, "preconditions")
    grace = options.get("gracePeriodSeconds")
    wanted = deleting.DeleteOptions(
        grace if isinstance(grace, int) else None,
        options.get("propagationPolicy"),
        preconditions.get("uid"),
        preconditions.get("resourceVersion"),
    )
    await deleting.delete(api.registry, request, served, at.namespace, at.name, wanted)
    return value_response(request, SUCCESS, 201)


async def spend_budget(request: Request, pod: Object) -> None:
    """Take one allowed disruption from the pod's budget. Raises 429 where there is none left."""
    api, at = request.api, request.attributes
    page = await api.store.page(f"{BUDGETS}{at.namespace}/")
    labels = mapping(pod, "metadata", "labels")
    found = [api.parsed(record) for record in page.records]
    budgets = [budget for budget in found if selects(mapping(budget, "spec", "selector"), labels)]
    if not budgets:
        return
    if len(budgets) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise StatusError(500, "InternalError", message)
    served = api.catalog.get("policy", "v1", "poddisruptionbudgets")
    assert served is not None

    def spend(budget: Object) -> Object:
        status = budget.setdefault("status", {})
        allowed = status.get("disruptionsAllowed") or 0
        if allowed <= 0:
            raise violated(budget)
        status["disruptionsAllowed"] = allowed - 1
        return budget

    await api.registry.change(
        request, served, at.namespace, budgets[0]["metadata"]["name"], spend, subresource="status"
    )


def violated(budget: Object) -> StatusError:
    status, name = mapping(budget, "status"), budget["metadata"]["name"]
    cause = (
        f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods and has "
        f"{status.get('currentHealthy', 0)} currently"
    )
    details = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    return StatusError(
        429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", details=details
    )
