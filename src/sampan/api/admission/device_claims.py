"""Claims of devices that others use already (``adminAccess``) are only for namespaces that are labelled for it.

Source: kubernetes pkg/registry/resource (AuthorizedForAdmin), KEP-5018.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.errors import invalid
from sampan.api.request import Admission
from sampan.api.resource import Cause, Resource
from sampan.api.resources.reading import items, mapping
from sampan.schema.causes import forbidden
from sampan.schema.objects import Object
from sampan.store.layout import prefix_of

NAMESPACES = prefix_of("namespaces")
LABEL = "resource.kubernetes.io/admin-access"
KINDS = ("ResourceClaim", "ResourceClaimTemplate")


class DeviceAdminAccess:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        here = resource.group == "resource.k8s.io" and resource.kind in KINDS and resource.version != "v1alpha2"
        return here and not subresource and operation == "CREATE"

    async def validate(self, admission: Admission) -> None:
        if admission.object is None:
            return
        fields = list(admin_fields(admission.object, admission.resource.kind))
        if not fields:
            return
        record = admission.api.store.get(NAMESPACES + admission.namespace)
        labels = mapping(admission.api.parsed(record), "metadata", "labels") if record is not None else {}
        if labels.get(LABEL) != "true":
            why = f"admin access to devices requires the `{LABEL}: true` label on the containing namespace"
            causes = [Cause(*forbidden(field, why)) for field in fields]
            raise invalid(admission.resource, admission.name, causes)


def admin_fields(obj: Object, kind: str) -> Iterator[str]:
    """Yield where an object asks for admin access, in either shape."""
    template = kind == "ResourceClaimTemplate"
    spec, path = (mapping(obj, "spec", "spec"), "spec.spec") if template else (mapping(obj, "spec"), "spec")
    for index, request in enumerate(items(spec, "devices", "requests")):
        for holder, within in ((request, ""), (mapping(request, "exactly"), ".exactly")):
            if holder.get("adminAccess"):
                yield f"{path}.devices.requests[{index}]{within}.adminAccess"
