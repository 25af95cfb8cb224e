"""NamespaceAutoProvision and NamespaceExists: what becomes of a write into a namespace that is not there. Off by default.

Source: kubernetes plugin/pkg/admission/namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api.errors import StatusError
from sampan.api.request import Admission, Attributes, Request
from sampan.api.resource import Resource
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

NAMESPACES = prefix_of("namespaces")


def missing(admission: Admission) -> bool:
    return admission.api.store.get(NAMESPACES + admission.namespace) is None


class NamespaceAutoProvision:
    """It is made."""

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.namespaced and operation == "CREATE" and not subresource

    async def admit(self, admission: Admission) -> None:
        if missing(admission) and not admission.dry_run:
            await create(admission.api, admission)


async def create(api: Api, admission: Admission) -> None:
    served = api.catalog.get("", "v1", "namespaces")
    assert served is not None
    attributes = Attributes(admission.user, "create", "", "", "v1", "namespaces")
    request = Request(api, admission.user, attributes, "POST", {}, {}, {})
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": admission.namespace}}
    try:
        await api.registry.create(request, served, "", namespace)
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise


class NamespaceExists:
    """It is refused, whatever it is."""

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.namespaced

    async def validate(self, admission: Admission) -> None:
        if missing(admission):
            details = {"name": admission.namespace, "kind": "namespaces"}
            raise StatusError(404, "NotFound", f'namespaces "{admission.namespace}" not found', details=details)
