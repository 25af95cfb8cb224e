"""Writes of FlowSchemas and PriorityLevelConfigurations: what is written is in force when it is answered."""

from __future__ import annotations

from sampan.api.errors import forbidden
from sampan.api.flowcontrol.bootstrap import GROUP, MANDATORY
from sampan.api.flowcontrol.control import FlowControl, with_dangling
from sampan.api.request import Admission
from sampan.api.resource import Resource


class FlowControlChanges:
    def __init__(self, control: FlowControl) -> None:
        self._control = control

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.group == GROUP and not subresource

    async def admit(self, admission: Admission) -> None:
        """Say at once whether the level of a FlowSchema is there."""
        if admission.resource.kind == "FlowSchema" and admission.object is not None and admission.operation != "DELETE":
            changed = with_dangling(admission.object, self._control.seats.levels)
            if changed is not None:
                admission.object["status"] = changed["status"]

    async def validate(self, admission: Admission) -> None:
        # Kubernetes makes the mandatory objects anew within a minute; here they never go
        if admission.operation == "DELETE" and admission.name in MANDATORY:
            raise forbidden(admission.resource, admission.name, "the mandatory configuration of flow control stays")

    async def commit(self, admission: Admission) -> None:
        await self._control.load()
