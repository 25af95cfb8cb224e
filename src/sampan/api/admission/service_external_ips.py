"""DenyServiceExternalIPs: no new externalIPs (CVE-2020-8554). Off unless asked for.

Source: kubernetes plugin/pkg/admission/network/denyserviceexternalips.
"""

from __future__ import annotations

from sampan.api.errors import forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items


class DenyServiceExternalIPs:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        here = resource.kind == "Service" and not resource.group and not subresource
        return here and operation in ("CREATE", "UPDATE")

    async def validate(self, admission: Admission) -> None:
        before = items(admission.old, "spec", "externalIPs")
        if any(address not in before for address in items(admission.object, "spec", "externalIPs")):
            raise forbidden(admission.resource, admission.name, "Use of external IPs is denied by admission control")
