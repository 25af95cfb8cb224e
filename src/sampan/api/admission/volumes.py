"""StorageObjectInUseProtection and PersistentVolumeClaimResize.

Volumes, claims and VolumeAttributesClasses carry a finalizer until nobody uses them (``controllers/volume_protection.py``
takes it off); only claims whose class allows it grow. Source: kubernetes plugin/pkg/admission/storage.
"""

from __future__ import annotations

from sampan.api.errors import forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.quantities import less
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.store.layout import prefix_of

CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
ATTRIBUTES_PROTECTION = "kubernetes.io/vac-protection"
FINALIZERS = {
    ("", "PersistentVolumeClaim"): CLAIM_PROTECTION,
    ("", "PersistentVolume"): VOLUME_PROTECTION,
    ("storage.k8s.io", "VolumeAttributesClass"): ATTRIBUTES_PROTECTION,
}
CLASSES = prefix_of("storageclasses.storage.k8s.io")


class StorageObjectInUseProtection:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return (resource.group, resource.kind) in FINALIZERS and not subresource and operation == "CREATE"

    async def admit(self, admission: Admission) -> None:
        if admission.object is None:
            return
        finalizer = FINALIZERS[admission.resource.group, admission.resource.kind]
        finalizers = items(admission.object, "metadata", "finalizers")
        if finalizer not in finalizers:
            admission.object["metadata"]["finalizers"] = [*finalizers, finalizer]


class PersistentVolumeClaimResize:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        here = not resource.group and resource.kind == "PersistentVolumeClaim"
        return here and not subresource and operation == "UPDATE"

    async def validate(self, admission: Admission) -> None:
        new, old = admission.object, admission.old
        path = ("spec", "resources", "requests", "storage")
        if not less(dig(old, *path) or "0", dig(new, *path) or "0"):
            return
        if text(old, "status", "phase") != "Bound":
            raise forbidden(admission.resource, admission.name, "Only bound persistent volume claims can be expanded")
        annotations = mapping(new, "metadata", "annotations")
        name = annotations.get("volume.beta.kubernetes.io/storage-class") or text(new, "spec", "storageClassName")
        record = admission.api.store.get(CLASSES + name) if name else None
        if record is None or not admission.api.parsed(record).get("allowVolumeExpansion"):
            why = (
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize"
            )
            raise forbidden(admission.resource, admission.name, why)
