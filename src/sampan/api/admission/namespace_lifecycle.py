"""NamespaceLifecycle: nothing is created in a namespace that is not there or is going; the first namespaces stay."""

from __future__ import annotations

from sampan.api.errors import StatusError, forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.store.layout import prefix_of

NAMESPACES = prefix_of("namespaces")
IMMORTAL = ("default", "kube-public", "kube-system")


class NamespaceLifecycle:
    """Source: k8s.io/apiserver pkg/admission/plugin/namespace/lifecycle."""

    judges = True

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        if operation == "DELETE":
            return resource.kind == "Namespace" and not resource.group
        # whether somebody may do something in a namespace may be asked before there is one
        return operation == "CREATE" and resource.namespaced and resource.kind != "LocalSubjectAccessReview"

    async def admit(self, admission: Admission) -> None:
        if admission.operation == "DELETE":
            if admission.name in IMMORTAL:
                raise forbidden(admission.resource, admission.name, "this namespace may not be deleted")
            return
        namespace = admission.namespace
        record = admission.api.store.get(NAMESPACES + namespace)
        if record is None:
            details = {"name": namespace, "kind": "namespaces"}
            raise StatusError(404, "NotFound", f'namespaces "{namespace}" not found', details=details)
        found = admission.api.parsed(record)
        if found["metadata"].get("deletionTimestamp") or (found.get("status") or {}).get("phase") == "Terminating":
            raise terminating(admission)


def terminating(admission: Admission) -> StatusError:
    why = f"unable to create new content in namespace {admission.namespace} because it is being terminated"
    error = forbidden(admission.resource, admission.name, why)
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {admission.namespace} is being terminated",
        "field": "metadata.namespace",
    }
    error.details = {**(error.details or {}), "causes": [cause]}
    return error
