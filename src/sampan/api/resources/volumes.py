"""PersistentVolumes and their claims. Source: kubernetes pkg/apis/core/validation (ValidatePersistentVolume…)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, label_selector, one_of, subdomain
from sampan.api.resources.columns import AGE, NAME, WIDE, field
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import forbidden, invalid, required
from sampan.schema.objects import Object
from sampan.schema.quantity import QuantityError, parse

ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
NOT_SOURCES = (
    "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
    "storageClassName", "volumeAttributesClassName", "volumeMode",
)  # fmt: skip


def access_modes(*path: str) -> Callable[[Object], str]:
    return lambda obj: ",".join(short for mode, short in ACCESS_MODES.items() if mode in items(obj, *path))


def positive(path: str, amount: object) -> Iterator[Cause]:
    try:
        if parse(str(amount)).milli() <= 0:
            yield invalid(path, str(amount), "must be greater than zero")
    except QuantityError as error:
        yield invalid(path, str(amount), str(error))


def default_volume(volume: Object) -> None:
    spec = volume.setdefault("spec", {})
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    if spec.get("hostPath") is not None:
        spec["hostPath"].setdefault("type", "")


def prepare_volume(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {"phase": "Pending"}


def validate_volume(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    if not items(spec, "accessModes"):
        yield required("spec.accessModes")
    for mode in items(spec, "accessModes"):
        yield from one_of("spec.accessModes", mode, sorted(ACCESS_MODES))
    if not mapping(spec, "capacity"):
        yield required("spec.capacity")
    for name, amount in mapping(spec, "capacity").items():
        yield from positive(f"spec.capacity[{name}]", amount)
    sources = [key for key in spec if key not in NOT_SOURCES]
    if not sources:
        yield required("spec", "must specify a volume type")
    for extra in sources[1:]:
        yield forbidden(f"spec.{extra}", "may not specify more than 1 volume type")
    policies = ("Delete", "Recycle", "Retain")
    yield from one_of("spec.persistentVolumeReclaimPolicy", spec.get("persistentVolumeReclaimPolicy"), policies)
    if old is not None:
        for key in sources:
            if dig(old, "spec", key) is not None and spec[key] != dig(old, "spec", key):
                yield forbidden(
                    "spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"
                )


PERSISTENT_VOLUME = Resource(
    group="",
    version="v1",
    kind="PersistentVolume",
    plural="persistentvolumes",
    namespaced=False,
    short_names=("pv",),
    status=True,
    generation=False,
    default=default_volume,
    prepare=prepare_volume,
    validate=collect(validate_volume),
    returns_deleted=True,
    columns=(
        NAME,
        Column("Capacity", field("spec", "capacity", "storage", missing="")),
        Column("Access Modes", access_modes("spec", "accessModes")),
        Column("Reclaim Policy", ".spec.persistentVolumeReclaimPolicy"),
        Column(
            "Status",
            lambda pv: "Terminating" if dig(pv, "metadata", "deletionTimestamp") else text(pv, "status", "phase"),
        ),
        Column(
            "Claim",
            lambda pv: (
                f"{text(pv, 'spec', 'claimRef', 'namespace')}/{text(pv, 'spec', 'claimRef', 'name')}"
                if dig(pv, "spec", "claimRef")
                else ""
            ),
        ),
        Column("StorageClass", field("spec", "storageClassName", missing="")),
        Column("VolumeAttributesClass", field("spec", "volumeAttributesClassName", missing="<unset>")),
        Column("Reason", field("status", "reason", missing="")),
        AGE,
        Column("VolumeMode", field("spec", "volumeMode", missing="<unset>"), priority=WIDE),
    ),
)


def default_claim(claim: Object) -> None:
    claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def prepare_claim(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {"phase": "Pending"}


def claim_spec(spec: Object, path: str) -> Iterator[Cause]:
    if not items(spec, "accessModes"):
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    for mode in items(spec, "accessModes"):
        yield from one_of(f"{path}.accessModes", mode, sorted(ACCESS_MODES))
    yield from label_selector(f"{path}.selector", spec.get("selector"))
    storage = dig(spec, "resources", "requests", "storage")
    if storage is None:
        yield required(f"{path}.resources[storage]")
    else:
        yield from positive(f"{path}.resources[storage]", storage)
    yield from subdomain(f"{path}.storageClassName", spec.get("storageClassName"), needed=False)
    yield from one_of(f"{path}.volumeMode", spec.get("volumeMode"), ("Block", "Filesystem"))


def validate_claim(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    yield from claim_spec(spec, "spec")
    if old is None:
        return
    before = dict(mapping(old, "spec"))
    before["resources"] = spec.get("resources")
    before["volumeAttributesClassName"] = spec.get("volumeAttributesClassName")
    for late in ("volumeName", "storageClassName"):
        if not before.get(late) and spec.get(late):
            before[late] = spec[late]
    if {k: v for k, v in before.items() if v is not None} != {k: v for k, v in spec.items() if v is not None}:
        message = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        yield forbidden("spec", message)


PERSISTENT_VOLUME_CLAIM = Resource(
    group="",
    version="v1",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    short_names=("pvc",),
    status=True,
    generation=False,
    default=default_claim,
    prepare=prepare_claim,
    validate=collect(validate_claim),
    returns_deleted=True,
    columns=(
        NAME,
        Column(
            "Status",
            lambda claim: (
                "Terminating" if dig(claim, "metadata", "deletionTimestamp") else text(claim, "status", "phase")
            ),
        ),
        Column("Volume", field("spec", "volumeName", missing="")),
        Column("Capacity", field("status", "capacity", "storage", missing="")),
        Column("Access Modes", access_modes("status", "accessModes")),
        Column("StorageClass", field("spec", "storageClassName", missing="")),
        Column("VolumeAttributesClass", field("spec", "volumeAttributesClassName", missing="<unset>")),
        AGE,
        Column("VolumeMode", field("spec", "volumeMode", missing="<unset>"), priority=WIDE),
    ),
)
