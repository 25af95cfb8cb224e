"""Priority: a pod's priorityClassName becomes its priority; one class at most is the default, and the system's stay.

Source: kubernetes plugin/pkg/admission/priority, pkg/registry/scheduling/priorityclass/storage.
"""

from __future__ import annotations

from typing import Any

from sampan.api.errors import StatusError, forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.scheduling import SYSTEM_CLASSES
from sampan.schema.objects import Object
from sampan.store.layout import prefix_of

PREFIX = prefix_of("priorityclasses.scheduling.k8s.io")
GROUP = "scheduling.k8s.io"
LOWER = "PreemptLowerPriority"


class Priority:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        if subresource:
            return False
        if resource.kind == "PriorityClass" and resource.group == GROUP:
            return True
        return resource.kind == "Pod" and not resource.group and operation in ("CREATE", "UPDATE")

    async def admit(self, admission: Admission) -> None:
        if admission.object is None or admission.resource.kind != "Pod":
            return
        spec = admission.object["spec"]
        if admission.old is not None:
            for key in ("priority", "preemptionPolicy"):
                if spec.get(key) is None and admission.old["spec"].get(key) is not None:
                    spec[key] = admission.old["spec"][key]
            return
        await self.set_priority(admission, spec)

    async def set_priority(self, admission: Admission, spec: Object) -> None:
        chosen = await self.class_of(admission, spec)
        value, policy = chosen.get("value") or 0, chosen.get("preemptionPolicy") or LOWER
        given, wanted = spec.get("priority"), spec.get("preemptionPolicy")
        if given is not None and given != value:
            raise computed(admission, "integer value of priority", given, value)
        if wanted is not None and wanted != policy:
            raise computed(admission, "string value of PreemptionPolicy", wanted, policy)
        spec["priority"], spec["preemptionPolicy"] = value, policy

    async def class_of(self, admission: Admission, spec: Object) -> Object:
        """Return the class of a pod, {} where there is none. Raises 403."""
        name = spec.get("priorityClassName") or ""
        if name:
            record = admission.api.store.get(PREFIX + name)
            if record is None:
                raise forbidden(admission.resource, admission.name, f"no PriorityClass with name {name} was found")
            return admission.api.parsed(record)
        defaults = await defaults_of(admission)
        if not defaults:
            return {}
        chosen = min(defaults, key=lambda one: one.get("value") or 0)
        spec["priorityClassName"] = chosen["metadata"]["name"]
        return chosen

    async def validate(self, admission: Admission) -> None:
        if admission.resource.kind == "Pod":
            return
        if admission.operation == "DELETE":
            if admission.name in SYSTEM_CLASSES:
                why = "this is a system priority class and cannot be deleted"
                raise forbidden(admission.resource, admission.name, why)
            return
        if admission.object is not None and admission.object.get("globalDefault"):
            for other in await defaults_of(admission):
                if other["metadata"]["name"] != admission.name:
                    name = other["metadata"]["name"]
                    why = f"PriorityClass {name} is already marked as default. Only one default can exist"
                    raise forbidden(admission.resource, admission.name, why)


async def defaults_of(admission: Admission) -> list[Object]:
    page = await admission.api.store.page(PREFIX)
    classes = (admission.api.parsed(record) for record in page.records)
    return [one for one in classes if one.get("globalDefault")]


def computed(admission: Admission, what: str, given: Any, value: Any) -> StatusError:
    why = (
        f"the {what} ({given}) must not be provided in pod spec; priority admission controller computed {value} from the "
        "given PriorityClass name"
    )
    return forbidden(admission.resource, admission.name, why)
