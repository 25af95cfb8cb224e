"""PersistentVolumeClaims. Source: kubernetes pkg/apis/core/validation (ValidatePersistentVolumeClaim…), printers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, label, label_selector, one_of, subdomain
from sampan.api.resources.columns import AGE, NAME, WIDE, field
from sampan.api.resources.difference import changed
from sampan.api.resources.quantities import amount, less, positive, quantity, rounded_up
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import forbidden, invalid, not_supported, required
from sampan.schema.names import dns1123_subdomain, qualified_name, validate_annotations, validate_labels
from sampan.schema.objects import Object

ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
MODES = ("Block", "Filesystem")
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
UPDATE = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
RESIZE_STATES = (
    "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible",
    "NodeResizePending",
)  # fmt: skip


def access_modes(*path: str) -> Any:
    """A cell with the short names, each once, in Kubernetes' order."""
    return lambda obj: ",".join(short for mode, short in ACCESS_MODES.items() if mode in items(obj, *path))


def modes(spec: Object, path: str) -> Iterator[Cause]:
    listed = items(spec, "accessModes")
    for mode in listed:
        yield from one_of(f"{path}.accessModes", mode, sorted(ACCESS_MODES))
    if "ReadWriteOncePod" in listed and any(mode in ACCESS_MODES for mode in listed if mode != "ReadWriteOncePod"):
        yield forbidden(f"{path}.accessModes", "may not use ReadWriteOncePod with other access modes")


FIRST_SOURCES = (("PersistentVolumeClaim", ""), ("VolumeSnapshot", "snapshot.storage.k8s.io"))


def default_claim_spec(spec: Object) -> None:
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"
    for key in ("requests", "limits"):
        rounded_up(mapping(spec, "resources", key))


def default_claim(claim: Object) -> None:
    default_claim_spec(claim.setdefault("spec", {}))


def prepare_claim(new: Object, old: Object | None) -> None:
    """A new claim is Pending; dataSource and dataSourceRef are kept equal where they can be (``NormalizeDataSources``)."""
    spec = mapping(new, "spec")
    if old is None:
        new["status"] = {"phase": "Pending"}
        drop_sources(spec)
        source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
        if source is not None and reference is None:
            spec["dataSourceRef"] = dict(source)
        elif reference is not None and source is None and not reference.get("namespace"):
            spec["dataSource"] = dict(reference)


def drop_sources(spec: Object) -> None:
    """Of a new claim: a source of another namespace needs a feature that is off, and without dataSourceRef anything but a
    claim or a snapshot asks for an empty volume, as it always did (KEP-1495)."""
    if mapping(spec, "dataSourceRef").get("namespace"):
        del spec["dataSourceRef"]
    source = mapping(spec, "dataSource")
    if "dataSourceRef" not in spec and (source.get("kind"), source.get("apiGroup") or "") not in FIRST_SOURCES:
        spec.pop("dataSource", None)


def claim_spec(spec: Object, path: str) -> Iterator[Cause]:
    """Yield why the spec of a claim, or of a claim template, is refused."""
    if not items(spec, "accessModes"):
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    yield from label_selector(f"{path}.selector", spec.get("selector"))
    yield from modes(spec, path)
    storage = dig(spec, "resources", "requests", "storage")
    if storage is None:
        yield required(f"{path}.resources[storage]")
    else:
        yield from positive(f"{path}.resources[storage]", storage)
    yield from subdomain(f"{path}.storageClassName", spec.get("storageClassName"), needed=False)
    yield from one_of(f"{path}.volumeMode", spec.get("volumeMode"), MODES)
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for key, found in (("dataSource", source), ("dataSourceRef", reference)):
        if found is not None:
            yield from data_source(found, f"{path}.{key}")
    if source is not None and mapping(reference).get("namespace"):
        yield invalid(path, f"{path}.dataSource", "may not be specified when dataSourceRef.namespace is specified")
    elif source is not None and reference is not None and not same_source(source, reference):
        yield invalid(path, f"{path}.dataSource", "must match dataSourceRef")
    yield from subdomain(f"{path}.volumeAttributesClassName", spec.get("volumeAttributesClassName"), needed=False)


def same_source(source: Object, reference: Object) -> bool:
    return all(source.get(key) == reference.get(key) for key in ("apiGroup", "kind", "name"))


def data_source(source: Object, path: str) -> Iterator[Cause]:
    for key in ("name", "kind"):
        if not source.get(key):
            yield required(f"{path}.{key}")
    group = source.get("apiGroup")
    if not group and source.get("kind") != "PersistentVolumeClaim":
        why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        yield invalid(path, source.get("kind") or "", why)
    if group:
        for message in dns1123_subdomain(group):
            yield invalid(f"{path}.apiGroup", group, message)
    yield from label(f"{path}.namespace", source.get("namespace"), needed=False)


def claim_template(template: Object, path: str) -> Iterator[Cause]:
    """Yield why a template of a generic ephemeral volume is refused."""
    metadata = mapping(template, "metadata")
    yield from (
        Cause(*c) for c in validate_annotations(mapping(metadata, "annotations"), f"{path}.metadata.annotations")
    )
    yield from (Cause(*c) for c in validate_labels(mapping(metadata, "labels"), f"{path}.metadata.labels"))
    for key in metadata:
        if key not in ("annotations", "labels"):
            yield forbidden(f"{path}.metadata.{key}", "cannot be set")
    yield from claim_spec(mapping(template, "spec"), f"{path}.spec")


def validate_claim(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from claim_spec(mapping(new, "spec"), "spec")
    if old is not None:
        yield from claim_changes(new, old)


def claim_changes(new: Object, old: Object) -> Iterator[Cause]:
    spec, before = mapping(new, "spec"), mapping(old, "spec")
    asked, had = dict(spec), dict(before)
    if not had.get("volumeName") and "volumeName" in asked:
        had["volumeName"] = asked["volumeName"]
    noted = mapping(old, "metadata", "annotations").get(BETA_CLASS)
    chosen = asked.get("storageClassName")
    if had.get("storageClassName") is None and chosen is not None and noted in (None, chosen):
        had["storageClassName"] = chosen
    if mapping(new, "metadata", "annotations").get(BETA_CLASS, "") != (noted or ""):
        value = mapping(new, "metadata", "annotations").get(BETA_CLASS, "")
        yield invalid(f"metadata.annotations.{BETA_CLASS}", value, "field is immutable")
    if text(new, "status", "phase") == "Bound":
        asked["resources"] = with_storage(asked, dig(before, "resources", "requests", "storage"))
        if asked.get("volumeAttributesClassName") is not None:
            asked["volumeAttributesClassName"] = had.get("volumeAttributesClassName")
    lines = changed(had, asked)
    if lines:
        yield forbidden("spec", f"{UPDATE}\n{lines}")
    size, was = dig(spec, "resources", "requests", "storage"), dig(before, "resources", "requests", "storage")
    if size is not None and was is not None and less(size, was):
        capacity = amount(str(dig(old, "status", "capacity", "storage") or "0"))
        smaller = amount(str(size))
        if capacity is not None and smaller is not None and not capacity < smaller:
            yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")
    if spec.get("volumeMode") != before.get("volumeMode"):
        yield invalid("volumeMode", spec.get("volumeMode"), "field is immutable")
    kept, attributes = before.get("volumeAttributesClassName"), spec.get("volumeAttributesClassName")
    if kept is not None and not attributes:
        what = "nil" if attributes is None else "an empty string"
        yield forbidden("spec.volumeAttributesClassName", f"update from non-nil value to {what} is forbidden")


def with_storage(spec: Object, storage: Any) -> Any:
    resources = mapping(spec, "resources")
    if not mapping(resources, "requests") or storage is None:
        return spec.get("resources")
    return {**resources, "requests": {**resources["requests"], "storage": storage}}


def validate_claim_status(new: Object, old: Object | None) -> Iterator[Cause]:
    if not items(new, "spec", "accessModes"):
        yield required("Spec.accessModes")
    for name, value in mapping(new, "status", "capacity").items():
        yield from basic(f"status.capacity[{name}]", value)
    for name, state in mapping(new, "status", "allocatedResourceStatuses").items():
        yield from claim_resource("status.allocatedResourceStatus", name)
        if state not in RESIZE_STATES:
            yield not_supported("status.allocatedResourceStatus", name, sorted(RESIZE_STATES))
    for name, value in mapping(new, "status", "allocatedResources").items():
        yield from claim_resource("status.allocatedResources", name)
        yield from quantity(f"status.allocatedResources[{name}]", "storage", value)


def claim_resource(path: str, name: str) -> Iterator[Cause]:
    for message in qualified_name(name):
        yield invalid(path, name, message)
    if name != "storage" and ("/" not in name or "kubernetes.io/" in name):
        yield not_supported(path, name, ("storage",))


def basic(path: str, value: Any) -> Iterator[Cause]:
    """``validateBasicResource``."""
    found = amount(str(value))
    if found is not None and found.value() < 0:
        yield invalid(path, found.value(), "must be a valid resource quantity")


def claim_phase(claim: Object) -> str:
    return "Terminating" if dig(claim, "metadata", "deletionTimestamp") else text(claim, "status", "phase")


def claim_capacity(claim: Object) -> str:
    """Only a bound claim has a capacity to show."""
    return text(claim, "status", "capacity", "storage") if text(claim, "spec", "volumeName") else ""


def claim_modes(claim: Object) -> str:
    shown: str = access_modes("status", "accessModes")(claim)
    return shown if text(claim, "spec", "volumeName") else ""


def storage_class(obj: Object) -> str:
    noted = mapping(obj, "metadata", "annotations").get(BETA_CLASS)
    return str(noted if noted is not None else text(obj, "spec", "storageClassName"))


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
    validates={"status": collect(validate_claim_status)},
    trusts_definition=False,
    returns_deleted=True,
    columns=(
        NAME,
        Column("Status", claim_phase),
        Column("Volume", field("spec", "volumeName", missing="")),
        Column("Capacity", claim_capacity),
        Column("Access Modes", claim_modes),
        Column("StorageClass", storage_class),
        Column("VolumeAttributesClass", field("spec", "volumeAttributesClassName", missing="<unset>")),
        AGE,
        Column("VolumeMode", field("spec", "volumeMode", missing="<unset>"), priority=WIDE),
    ),
)
