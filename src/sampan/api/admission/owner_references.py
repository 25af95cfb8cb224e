"""OwnerReferencesPermissionEnforcement: who makes an object another's dependent could have deleted it. Off unless asked for.

Source: kubernetes plugin/pkg/admission/gc.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.admission.permissions import may
from sampan.api.errors import StatusError, forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items
from sampan.schema.objects import Object, split_api_version


class OwnerReferencesPermissionEnforcement:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return operation in ("CREATE", "UPDATE") and (resource.group, resource.kind, subresource) != (
            "",
            "Pod",
            "status",
        )

    async def validate(self, admission: Admission) -> None:
        new, old = references(admission.object), references(admission.old)
        if new == old:
            return
        resource = admission.resource
        if admission.old is not None:
            allowed, reason = await may(
                admission,
                "delete",
                resource.group,
                resource.plural,
                admission.name,
                version=resource.version,
                namespace=admission.namespace,
            )
            if not allowed:
                raise refused(admission, f"cannot set an ownerRef on a resource you can't delete: {reason}, <nil>")
        for reference in newly_blocking(new, old):
            await self.check_owner(admission, reference)

    async def check_owner(self, admission: Admission, reference: Object) -> None:
        group, version = split_api_version(str(reference.get("apiVersion") or ""))
        owner = admission.api.catalog.by_kind(group, version, str(reference.get("kind") or ""))
        if owner is None:
            kind = f"APIVersion {reference.get('apiVersion')} Kind {reference.get('kind')}"
            why = f"cannot set blockOwnerDeletion in this case because cannot find RESTMapping for {kind}"
            raise refused(
                admission, f'{why}: no matches for kind "{reference.get("kind")}" in version "{group}/{version}"'
            )
        allowed, reason = await may(
            admission,
            "update",
            group,
            owner.resource.plural,
            str(reference.get("name") or ""),
            version=version,
            subresource="finalizers",
            namespace=admission.namespace if owner.resource.namespaced else "",
        )
        if not allowed:
            why = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"
            raise refused(admission, f"{why}: {reason}, <nil>")


def references(obj: Any) -> list[Any]:
    return items(obj, "metadata", "ownerReferences")


def newly_blocking(new: list[Any], old: list[Any]) -> Iterator[Object]:
    """Yield the references that hold back their owner's deletion and did not before."""
    before = {reference.get("uid") for reference in old if reference.get("blockOwnerDeletion")}
    for reference in new:
        if reference.get("blockOwnerDeletion") and reference.get("uid") not in before:
            yield reference


def refused(admission: Admission, why: str) -> StatusError:
    return forbidden(admission.resource, admission.name, why)
