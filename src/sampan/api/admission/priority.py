"""Priority: a pod's priorityClassName becomes its priority. Source: plugin/pkg/admission/priority."""

from __future__ import annotations

from sampan.api.errors import forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource

PREFIX = "/registry/scheduling.k8s.io/priorityclasses/"


class Priority:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return operation == "CREATE" and resource.kind == "Pod" and not resource.group and not subresource

    async def admit(self, admission: Admission) -> None:
        if admission.object is None:
            return
        spec = admission.object["spec"]
        name = spec.get("priorityClassName") or ""
        value, policy = 0, "PreemptLowerPriority"
        if name:
            record = admission.api.store.get(PREFIX + name)
            if record is None:
                raise forbidden(admission.resource, admission.name, f"no PriorityClass with name {name} was found")
            chosen = admission.api.parsed(record)
            value, policy = chosen.get("value", 0), chosen.get("preemptionPolicy", policy)
        else:
            page = await admission.api.store.page(PREFIX)
            classes = [admission.api.parsed(record) for record in page.records]
            defaults = [one for one in classes if one.get("globalDefault")]
            if defaults:
                chosen = min(defaults, key=lambda one: one.get("value", 0))
                spec["priorityClassName"] = chosen["metadata"]["name"]
                value, policy = chosen.get("value", 0), chosen.get("preemptionPolicy", policy)
        given = spec.get("priority")
        if given is not None and given != value:
            why = (
                f"the integer value of priority ({given}) must not be provided in pod spec; "
                f"priority admission controller computed {value} from the given PriorityClass name"
            )
            raise forbidden(admission.resource, admission.name, why)
        spec["priority"] = value
        spec.setdefault("preemptionPolicy", policy)
