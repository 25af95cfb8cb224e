"""AlwaysAdmit and AlwaysDeny: the two ends, for tests. Off unless asked for. Source: kubernetes plugin/pkg/admission."""

from __future__ import annotations

from sampan.api.errors import forbidden
from sampan.api.request import Admission


class AlwaysAdmit:
    """Lets everything through, as no plugin does."""


class AlwaysDeny:
    async def admit(self, admission: Admission) -> None:
        await self.validate(admission)

    async def validate(self, admission: Admission) -> None:
        raise forbidden(admission.resource, admission.name, "admission control is denying all modifications")
