"""storage.k8s.io. Source: kubernetes pkg/apis/storage (defaults, validation), printers."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, immutable_fields, one_of
from sampan.api.resources.columns import AGE, NAME, field, truth
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import forbidden, required
from sampan.schema.objects import Object

GROUP = "storage.k8s.io"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def default_class(storage_class: Object) -> None:
    storage_class.setdefault("reclaimPolicy", "Delete")
    storage_class.setdefault("volumeBindingMode", "Immediate")


def validate_class(new: Object, old: Object | None) -> Iterator[Cause]:
    if not new.get("provisioner"):
        yield required("provisioner")
    yield from one_of("reclaimPolicy", new.get("reclaimPolicy"), ("Delete", "Retain"))
    yield from one_of("volumeBindingMode", new.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"))
    if old is not None:
        for key in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
            if new.get(key) != old.get(key):
                yield forbidden(key, f"updates to {key} are forbidden.")


def class_name(storage_class: Object) -> str:
    name = text(storage_class, "metadata", "name")
    chosen = mapping(storage_class, "metadata", "annotations").get(DEFAULT_CLASS) == "true"
    return f"{name} (default)" if chosen else name


STORAGE_CLASS = Resource(
    group=GROUP,
    version="v1",
    kind="StorageClass",
    plural="storageclasses",
    namespaced=False,
    short_names=("sc",),
    generation=False,
    default=default_class,
    validate=collect(validate_class),
    returns_deleted=True,
    columns=(
        Column("Name", class_name, format="name"),
        Column("Provisioner", ".provisioner"),
        Column("ReclaimPolicy", ".reclaimPolicy"),
        Column("VolumeBindingMode", ".volumeBindingMode"),
        Column("AllowVolumeExpansion", lambda sc: str(bool(sc.get("allowVolumeExpansion"))).lower()),
        AGE,
    ),
)


def default_driver(driver: Object) -> None:
    spec = driver.setdefault("spec", {})
    for key, value in (
        ("attachRequired", True),
        ("podInfoOnMount", False),
        ("storageCapacity", False),
        ("fsGroupPolicy", "ReadWriteOnceWithFSType"),
        ("requiresRepublish", False),
        ("seLinuxMount", False),
    ):
        spec.setdefault(key, value)
    if not items(spec, "volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


CSI_DRIVER = Resource(
    group=GROUP,
    version="v1",
    kind="CSIDriver",
    plural="csidrivers",
    namespaced=False,
    default=default_driver,
    returns_deleted=True,
    columns=(
        NAME,
        Column("AttachRequired", truth("spec", "attachRequired")),
        Column("PodInfoOnMount", truth("spec", "podInfoOnMount")),
        Column("StorageCapacity", truth("spec", "storageCapacity")),
        Column(
            "TokenRequests",
            lambda d: ",".join(r.get("audience", "") for r in items(d, "spec", "tokenRequests")) or "<unset>",
        ),
        Column("RequiresRepublish", truth("spec", "requiresRepublish")),
        Column("Modes", lambda d: ",".join(items(d, "spec", "volumeLifecycleModes"))),
        AGE,
    ),
)
CSI_NODE = Resource(
    group=GROUP,
    version="v1",
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    generation=False,
    returns_deleted=True,
    columns=(NAME, Column("Drivers", lambda node: len(items(node, "spec", "drivers")), type="integer"), AGE),
)
CSI_STORAGE_CAPACITY = Resource(
    group=GROUP,
    version="v1",
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    generation=False,
    columns=(
        NAME,
        Column("StorageClassName", ".storageClassName"),
        Column("Capacity", field("capacity", missing="<unset>")),
    ),
)
VOLUME_ATTACHMENT = Resource(
    group=GROUP,
    version="v1",
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    status=True,
    generation=False,
    validate=collect(lambda new, old: immutable_fields(new, old, "spec")),
    returns_deleted=True,
    columns=(
        NAME,
        Column("Attacher", ".spec.attacher"),
        Column("PV", field("spec", "source", "persistentVolumeName", missing="")),
        Column("Node", ".spec.nodeName"),
        Column("Attached", lambda o: str(bool(dig(o, "status", "attached"))).lower()),
        AGE,
    ),
)
VOLUME_ATTRIBUTES_CLASS = Resource(
    group=GROUP,
    version="v1",
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    namespaced=False,
    short_names=("vac",),
    generation=False,
    validate=collect(lambda new, old: immutable_fields(new, old, "driverName", "parameters")),
    returns_deleted=True,
    columns=(NAME, Column("DriverName", ".driverName"), AGE),
)

RESOURCES = (
    STORAGE_CLASS,
    CSI_DRIVER,
    CSI_NODE,
    CSI_STORAGE_CAPACITY,
    VOLUME_ATTACHMENT,
    VOLUME_ATTRIBUTES_CLASS,
)
