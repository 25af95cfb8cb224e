"""storage.k8s.io. Source: kubernetes pkg/apis/storage (defaults, validation), printers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import (
    collect,
    csi_driver_name,
    declared_driver_name,
    immutable,
    label_selector,
    non_negative,
    one_of,
    qualified,
)
from sampan.api.resources.columns import AGE, NAME, field, truth
from sampan.api.resources.quantities import quantity
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.volumes import inline_volume
from sampan.schema.causes import duplicate, forbidden, invalid, required, too_long
from sampan.schema.names import dns1123_subdomain, qualified_name
from sampan.schema.objects import Object

GROUP = "storage.k8s.io"
MAX_PARAMETERS, MAX_PARAMETER_BYTES = 512, 256 * 1024
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def parameters(path: str, given: Object, *, needed: bool = False) -> Iterator[Cause]:
    if needed and not given:
        yield required(path, "must contain at least one key/value pair")
    if len(given) > MAX_PARAMETERS:
        yield too_long(path, MAX_PARAMETERS)
        return
    if "" in given:
        yield invalid(path, "", "field can not be empty.")
    if sum(len(key.encode()) + len(str(value).encode()) for key, value in given.items()) > MAX_PARAMETER_BYTES:
        yield too_long(path, MAX_PARAMETER_BYTES)


# storage classes


def default_class(storage_class: Object) -> None:
    storage_class.setdefault("reclaimPolicy", "Delete")
    storage_class.setdefault("volumeBindingMode", "Immediate")


def validate_class(new: Object, old: Object | None) -> Iterator[Cause]:
    provisioner = text(new, "provisioner")
    if not provisioner:
        yield required("provisioner")
    for message in qualified_name(provisioner.lower()) if provisioner else ():
        yield invalid("provisioner", provisioner.lower(), message)
    yield from parameters("parameters", mapping(new, "parameters"))
    yield from one_of("reclaimPolicy", new.get("reclaimPolicy"), ("Delete", "Retain"))
    yield from one_of("volumeBindingMode", new.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"))
    yield from topologies("allowedTopologies", items(new, "allowedTopologies"))
    if old is not None:
        for key in ("parameters", "provisioner", "reclaimPolicy"):
            if (new.get(key) or None) != (old.get(key) or None):
                yield forbidden(key, f"updates to {key} are forbidden.")
        yield from immutable("volumeBindingMode", new.get("volumeBindingMode"), old.get("volumeBindingMode"))


def topologies(path: str, terms: list[Any]) -> Iterator[Cause]:
    seen: list[dict[str, frozenset[str]]] = [{} for _ in terms]  # Kubernetes begins with as many empty ones
    for index, term in enumerate(terms):
        keys: dict[str, frozenset[str]] = {}
        for place, expression in enumerate(items(term, "matchLabelExpressions")):
            at = f"{path}[{index}].matchLabelExpressions[{place}]"
            key, values = text(expression, "key"), items(expression, "values")
            if not values:
                yield required(f"{at}.values")
            for number, value in enumerate(values):
                if value in values[:number]:
                    yield duplicate(f"{at}.values[{number}]", value)
            for message in qualified_name(key):
                yield invalid(f"{at}.key", key, message)
            if key in keys:
                yield duplicate(f"{at}.key", key)
            keys[key] = frozenset(values)
        for earlier in seen:
            if keys == earlier:
                yield duplicate(f"{path}[{index}].matchLabelExpressions", "")
        seen.append(keys)


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
    trusts_definition=False,
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


def default_driver_of_137(driver: Object) -> None:
    default_driver(driver)
    driver["spec"].setdefault("preventPodSchedulingIfMissing", False)


def validate_driver(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from csi_driver_name("name", text(new, "metadata", "name"))
    spec = mapping(new, "spec")
    policies = ("File", "None", "ReadWriteOnceWithFSType")
    yield from one_of("spec.fsGroupPolicy", spec.get("fsGroupPolicy"), policies)
    audiences = [text(request, "audience") for request in items(spec, "tokenRequests")]
    for index, request in enumerate(items(spec, "tokenRequests")):
        path, seconds = f"spec.tokenRequests[{index}]", request.get("expirationSeconds")
        if audiences[index] in audiences[:index]:
            yield duplicate(f"{path}.audience", audiences[index])
        if seconds is not None and seconds < 600:
            yield invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        elif seconds is not None and seconds > 1 << 32:
            yield invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    for mode in items(spec, "volumeLifecycleModes"):
        yield from one_of("spec.volumeLifecycleModes", mode, ("Persistent", "Ephemeral"))
    if spec.get("serviceAccountTokenInSecrets") is not None and not audiences:
        why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        yield invalid("spec.serviceAccountTokenInSecrets", spec["serviceAccountTokenInSecrets"], why)
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < 10:
        yield invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, "must be greater than or equal to 10 seconds")
    if old is not None:
        for key, name in (("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")):
            yield from immutable(f"spec.{name}", spec.get(key), dig(old, "spec", key))


CSI_DRIVER = Resource(
    group=GROUP,
    version="v1",
    kind="CSIDriver",
    plural="csidrivers",
    namespaced=False,
    generation=False,
    default=default_driver,
    by_version=lambda minor: {"default": default_driver_of_137} if minor >= 37 else {},
    validate=collect(validate_driver),
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


def validate_csi_node(new: Object, old: Object | None) -> Iterator[Cause]:
    names: list[str] = []
    before = {text(driver, "name"): driver for driver in items(old, "spec", "drivers")}
    for index, driver in enumerate(items(new, "spec", "drivers")):
        path, name, node = f"spec.drivers[{index}]", text(driver, "name"), text(driver, "nodeID")
        yield from csi_driver_name(f"{path}.name", name)
        if name in names:
            yield duplicate(f"{path}.name", name)
        names.append(name)
        if not node:
            yield required(f"{path}.nodeID")
        elif len(node) > 256:
            yield invalid(f"{path}.nodeID", node, "must be 256 characters or less")
        count, keys = dig(driver, "allocatable", "count"), items(driver, "topologyKeys")
        yield from non_negative(f"{path}.allocatable.count", count)
        for place, key in enumerate(keys):
            if key in keys[:place]:
                yield duplicate(f"{path}.topologyKeys", key)
            for message in qualified_name(key):
                yield invalid(path, key, message)
        known = before.get(name)
        if known is not None and any(known.get(key) != driver.get(key) for key in ("nodeID", "topologyKeys")):
            yield invalid("CSINodeDriver", driver, "field is immutable")


CSI_NODE = Resource(
    group=GROUP,
    version="v1",
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    generation=False,
    validate=collect(validate_csi_node),
    returns_deleted=True,
    columns=(NAME, Column("Drivers", lambda node: len(items(node, "spec", "drivers")), type="integer"), AGE),
)


def validate_capacity(new: Object, old: Object | None) -> Iterator[Cause]:
    name = text(new, "storageClassName")
    for message in dns1123_subdomain(name):
        yield invalid("storageClassName", name, message)
    if new.get("nodeTopology") is not None:
        yield from label_selector("nodeTopology", new["nodeTopology"])
    for key in ("capacity", "maximumVolumeSize"):
        if new.get(key) is not None:
            yield from quantity(key, "storage", new[key])
    if old is not None:
        for key in ("nodeTopology", "storageClassName"):
            yield from immutable(key, new.get(key), old.get(key))


CSI_STORAGE_CAPACITY = Resource(
    group=GROUP,
    version="v1",
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    generation=False,
    validate=collect(validate_capacity),
    columns=(
        NAME,
        Column("StorageClassName", ".storageClassName"),
        Column("Capacity", field("capacity", missing="<unset>")),
    ),
)
ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def attachment_by_version(minor: int) -> dict[str, Any]:
    driver_name = declared_driver_name if minor >= 37 else csi_driver_name
    return {"validate": collect(partial(validate_attachment, driver_name=driver_name))}


def validate_attachment(
    new: Object, old: Object | None, *, driver_name: Callable[[str, str], Iterator[Cause]]
) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    if old is not None:
        yield from immutable("spec", spec, mapping(old, "spec"))
        return
    yield from driver_name("spec.attacher", text(spec, "attacher"))
    source = mapping(spec, "source")
    given = [key for key in ("inlineVolumeSpec", "persistentVolumeName") if source.get(key) is not None]
    if not given:
        yield required("spec.source", ONE_SOURCE)
    elif len(given) > 1:
        yield forbidden("spec.source", ONE_SOURCE)
    elif given == ["persistentVolumeName"]:
        if not source["persistentVolumeName"]:
            yield required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName")
    else:
        yield from inline_volume(mapping(source, "inlineVolumeSpec"), "spec.source.inlineVolumeSpec")
    for message in dns1123_subdomain(text(spec, "nodeName")):
        yield invalid("spec.nodeName", text(spec, "nodeName"), message)
    if "persistentVolumeName" in given:
        for message in dns1123_subdomain(source["persistentVolumeName"]):
            yield invalid("spec.source.persistentVolumeName", source["persistentVolumeName"], message)


def validate_attachment_status(new: Object, old: Object | None) -> Iterator[Cause]:
    status = mapping(new, "status")
    for key, value in mapping(status, "attachmentMetadata").items():
        if not key:
            yield invalid("status.attachmentMetadata", key, "field can not be empty.")
        if len(str(value)) > MAX_PARAMETER_BYTES:
            yield too_long("status.attachmentMetadata", MAX_PARAMETER_BYTES)
    for key in ("attachError", "detachError"):
        if len(text(status, key, "message")) > 1024:
            yield too_long(f"status.{key}.message", 1024)


VOLUME_ATTACHMENT = Resource(
    group=GROUP,
    version="v1",
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    status=True,
    generation=False,
    prepare=lambda new, old: new.pop("status", None) if old is None else None,
    by_version=attachment_by_version,
    trusts_definition=False,
    validates={"status": collect(validate_attachment_status)},
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


def validate_attributes(new: Object, old: Object | None) -> Iterator[Cause]:
    driver = text(new, "driverName")
    yield from qualified("driverName", driver.lower()) if driver else [required("driverName")]
    yield from parameters("parameters", mapping(new, "parameters"), needed=True)
    if old is not None:
        for key in ("driverName", "parameters"):
            if new.get(key) != old.get(key):
                yield forbidden(key, f"updates to {key} are forbidden.")


VOLUME_ATTRIBUTES_CLASS = Resource(
    group=GROUP,
    version="v1",
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    namespaced=False,
    short_names=("vac",),
    generation=False,
    validate=collect(validate_attributes),
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
