"""DefaultStorageClass and DefaultIngressClass: who names no class gets the one marked as default, the newest of several.

Source: kubernetes plugin/pkg/admission/storage/storageclass/setdefault, plugin/pkg/admission/network/defaultingressclass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import mapping, text
from sampan.schema.objects import Object
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

STORAGE_CLASSES = prefix_of("storageclasses.storage.k8s.io")
INGRESS_CLASSES = prefix_of("ingressclasses.networking.k8s.io")
STORAGE_ANNOTATIONS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
INGRESS_ANNOTATIONS = ("ingressclass.kubernetes.io/is-default-class",)


async def default_of(api: Api, prefix: str, annotations: tuple[str, ...]) -> Object | None:
    """Return the newest object under a prefix that is marked as default; of equals the first by name."""
    page = await api.store.page(prefix)
    marked = [
        found
        for found in (api.parsed(record) for record in page.records)
        if any(mapping(found, "metadata", "annotations").get(key) == "true" for key in annotations)
    ]
    newest = max((text(one, "metadata", "creationTimestamp") for one in marked), default="")
    return next((one for one in marked if text(one, "metadata", "creationTimestamp") == newest), None)


class DefaultStorageClass:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        here = not resource.group and resource.kind == "PersistentVolumeClaim"
        return here and not subresource and operation == "CREATE"

    async def admit(self, admission: Admission) -> None:
        claim = admission.object
        if claim is None or claim["spec"].get("storageClassName") is not None:
            return
        if "volume.beta.kubernetes.io/storage-class" in mapping(claim, "metadata", "annotations"):
            return
        found = await default_of(admission.api, STORAGE_CLASSES, STORAGE_ANNOTATIONS)
        if found is not None:
            claim["spec"]["storageClassName"] = found["metadata"]["name"]


class DefaultIngressClass:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        here = resource.group == "networking.k8s.io" and resource.kind == "Ingress"
        return here and not subresource and operation == "CREATE"

    async def admit(self, admission: Admission) -> None:
        ingress = admission.object
        if ingress is None or mapping(ingress, "spec").get("ingressClassName") is not None:
            return
        if "kubernetes.io/ingress.class" in mapping(ingress, "metadata", "annotations"):
            return
        found = await default_of(admission.api, INGRESS_CLASSES, INGRESS_ANNOTATIONS)
        if found is not None:
            ingress.setdefault("spec", {})["ingressClassName"] = found["metadata"]["name"]
