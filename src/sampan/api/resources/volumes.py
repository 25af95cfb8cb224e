"""PersistentVolumes. Source: kubernetes pkg/apis/core/validation (ValidatePersistentVolume…), printers."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from sampan.api.metadata import now
from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, immutable, one_of, subdomain
from sampan.api.resources.claims import MODES, access_modes, basic, modes, storage_class
from sampan.api.resources.columns import AGE, NAME, WIDE, field
from sampan.api.resources.difference import changed, same
from sampan.api.resources.pod_spec import default_source, fill
from sampan.api.resources.pod_warnings import OLD_LABELS, OLD_VOLUMES
from sampan.api.resources.quantities import positive, rounded_up
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.scheduling_validation import node_selector
from sampan.api.resources.volume_sources import PERSISTENT_SOURCES, counts, one_source
from sampan.schema.causes import NO_MAP, forbidden, invalid, not_supported, required
from sampan.schema.objects import Object

POLICIES = ("Delete", "Recycle", "Retain")
STABLE_LABELS = {old: message.split('"')[1] for old, message in OLD_LABELS.items()}
LONG_PORTAL = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
    "if iscsi.initiatorName is specified."
)


def default_volume(volume: Object) -> None:
    spec = volume.setdefault("spec", {})
    fill(spec, "persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    rounded_up(mapping(spec, "capacity"))
    for kind in PERSISTENT_SOURCES:
        if isinstance(spec.get(kind), dict):
            default_source(kind, spec[kind])


def prepare_volume(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {"phase": "Pending"}


def prepare_dated(new: Object, old: Object | None) -> None:
    """As since 1.29 (KEP-3762)."""
    if old is None:
        new["status"] = {"phase": "Pending", "lastPhaseTransitionTime": now()}


def prepare_status(new: Object, old: Object | None) -> None:
    """Note when the phase changed (KEP-3762), unless the writer says when."""
    status, before = mapping(new, "status"), mapping(old, "status")
    at = status.get("lastPhaseTransitionTime")
    if status.get("phase") != before.get("phase") and at in (None, before.get("lastPhaseTransitionTime")):
        status["lastPhaseTransitionTime"] = now()


def validate_volume(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    if not items(spec, "accessModes"):
        yield required("spec.accessModes")
    yield from modes(spec, "spec")
    yield from capacity(mapping(spec, "capacity"))
    policy = spec.get("persistentVolumeReclaimPolicy")
    yield from one_of("spec.persistentVolumeReclaimPolicy", policy, POLICIES)
    yield from node_affinity(spec)
    yield from one_source(spec, "spec", PERSISTENT_SOURCES)
    yield from fitting(new, spec, policy)
    yield from subdomain("spec.storageClassName", spec.get("storageClassName"), needed=False)
    yield from one_of("spec.volumeMode", spec.get("volumeMode"), MODES)
    yield from attributes_class(spec)
    if old is not None:
        yield from volume_changes(spec, mapping(old, "spec"))


def inline_volume(spec: Object, path: str) -> Iterator[Cause]:
    """The spec of a volume that stands in a VolumeAttachment (``ValidatePersistentVolumeSpec``)."""
    inline = "in the context of inline volumes"
    for key in ("claimRef", "capacity"):
        if spec.get(key) is not None:
            yield forbidden(f"{path}.{key}", f"may not be specified {inline}")
    if spec.get("csi") is None:
        yield required(f"{path}.csi", f"has to be specified {inline}")
    if not items(spec, "accessModes"):
        yield required(f"{path}.accessModes")
    yield from modes(spec, path)
    if spec.get("persistentVolumeReclaimPolicy") not in (None, "", "Retain"):
        yield forbidden(f"{path}.persistentVolumeReclaimPolicy", f"may only be Retain {inline}")
    if spec.get("nodeAffinity") is not None:
        yield forbidden(f"{path}.nodeAffinity", f"may not be specified {inline}")
    yield from one_source(spec, path, PERSISTENT_SOURCES)
    if counts(spec, "local", PERSISTENT_SOURCES):
        yield required(f"{path}.nodeAffinity", "Local volume requires node affinity")
    if spec.get("storageClassName"):
        yield forbidden(f"{path}.storageClassName", f"may not be specified {inline}")
    if spec.get("volumeMode") not in (None, "Filesystem"):
        yield forbidden(f"{path}.volumeMode", f"may not specify volumeMode other than Filesystem {inline}")


def capacity(amounts: Object) -> Iterator[Cause]:
    if not amounts:
        yield required("spec.capacity")
    if set(amounts) != {"storage"}:
        yield not_supported("spec.capacity", dict(sorted(amounts.items())) or NO_MAP, ("storage",))
    for name, value in amounts.items():
        yield from basic(f"spec.capacity[{name}]", value)
        yield from positive(f"spec.capacity[{name}]", value)


def node_affinity(spec: Object) -> Iterator[Cause]:
    affinity = spec.get("nodeAffinity")
    if affinity is not None and affinity.get("required") is not None:
        yield from node_selector(affinity["required"], "spec.nodeAffinity.required")
    elif affinity is not None:
        yield required("spec.nodeAffinity.required", "must specify required node constraints")
    elif counts(spec, "local", PERSISTENT_SOURCES):
        yield required("spec.nodeAffinity", "Local volume requires node affinity")


def fitting(volume: Object, spec: Object, policy: Any) -> Iterator[Cause]:
    path = mapping(spec, "hostPath").get("path")
    if path and posixpath.normpath(path) in ("/", "//") and policy == "Recycle":
        why = "may not be 'recycle' for a hostPath mount of '/'"
        yield forbidden("spec.persistentVolumeReclaimPolicy", why)
    iscsi = mapping(spec, "iscsi")
    if iscsi.get("initiatorName") is not None:
        portal = iscsi.get("targetPortal") or ""
        if len(f"{text(volume, 'metadata', 'name')}:{portal}") > 64:
            yield invalid("spec.iscsi.targetportal", portal, LONG_PORTAL)


def attributes_class(spec: Object) -> Iterator[Cause]:
    name = spec.get("volumeAttributesClassName")
    if name is None:
        return
    if not name:
        yield required("spec.volumeAttributesClassName", "an empty string is disallowed")
    else:
        yield from subdomain("spec.volumeAttributesClassName", name)
    if spec.get("csi") is None:
        yield required("spec.csi", "has to be specified when using volumeAttributesClassName")


def volume_changes(spec: Object, before: Object) -> Iterator[Cause]:
    now, was = sources(spec), sources(before)
    if "csi" in now and "csi" in was and was["csi"].get("controllerExpandSecretRef") is None:
        now["csi"] = {key: value for key, value in now["csi"].items() if key != "controllerExpandSecretRef"}
    difference = changed(was, now)
    if difference:
        why = f"spec.persistentvolumesource is immutable after creation\n{difference}"
        yield forbidden("spec.persistentvolumesource", why)
    yield from immutable("volumeMode", spec.get("volumeMode"), before.get("volumeMode"))
    affinity = before.get("nodeAffinity")
    if affinity is not None and not same(stable(affinity), stable(spec.get("nodeAffinity"))):
        why = "field is immutable, except for updating from beta label to GA"
        yield invalid("nodeAffinity", spec.get("nodeAffinity"), why)
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        yield forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden")


def sources(spec: Object) -> Object:
    return {key: spec[key] for key in PERSISTENT_SOURCES if spec.get(key) is not None}


def stable(affinity: Any) -> Any:
    """Return an affinity with old labels called by their names of today."""
    terms = items(affinity, "required", "nodeSelectorTerms")
    return [
        {
            **term,
            "matchExpressions": [
                {**expression, "key": STABLE_LABELS.get(expression.get("key"), expression.get("key"))}
                for expression in items(term, "matchExpressions")
            ],
        }
        for term in terms
    ]


def volume_warnings(new: Object, old: Object | None) -> Iterator[str]:
    """``GetWarningsForPersistentVolume``."""
    spec = mapping(new, "spec")
    for index, term in enumerate(items(spec, "nodeAffinity", "required", "nodeSelectorTerms")):
        for place, expression in enumerate(items(term, "matchExpressions")):
            key = expression.get("key")
            if key in OLD_LABELS:
                path = f"spec.nodeAffinity.required.nodeSelectorTerms[{index}].matchExpressions[{place}].key"
                yield f"{path}: {key} is {OLD_LABELS[key]}"
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        why = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning."
        yield f"spec.persistentVolumeReclaimPolicy: {why}"
    for key, message in OLD_VOLUMES.items():
        if spec.get(key) is not None:
            yield f"spec.{key}: {message}"


def phase(volume: Object) -> str:
    return "Terminating" if dig(volume, "metadata", "deletionTimestamp") else text(volume, "status", "phase")


def claim(volume: Object) -> str:
    reference = dig(volume, "spec", "claimRef")
    return f"{text(reference, 'namespace')}/{text(reference, 'name')}" if reference else ""


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
    validates={"status": lambda new, old: []},
    by_version=lambda minor: {"prepare": prepare_dated, "prepares": {"status": prepare_status}} if minor >= 29 else {},
    warn=volume_warnings,
    trusts_definition=False,
    returns_deleted=True,
    columns=(
        NAME,
        Column("Capacity", field("spec", "capacity", "storage", missing="")),
        Column("Access Modes", access_modes("spec", "accessModes")),
        Column("Reclaim Policy", ".spec.persistentVolumeReclaimPolicy"),
        Column("Status", phase),
        Column("Claim", claim),
        Column("StorageClass", storage_class),
        Column("VolumeAttributesClass", field("spec", "volumeAttributesClassName", missing="<unset>")),
        Column("Reason", field("status", "reason", missing="")),
        AGE,
        Column("VolumeMode", field("spec", "volumeMode", missing="<unset>"), priority=WIDE),
    ),
)
