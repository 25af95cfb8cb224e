"""storagemigration.k8s.io, internal.apiserver.k8s.io and lifecycle.k8s.io: small groups about objects' own lives.

Source: KEP-4192 (storage version migration), KEP-2339 (storage versions), KEP-4563 (eviction requests).
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, immutable, subdomain
from sampan.api.resources.columns import AGE, NAME, field
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import forbidden, invalid, not_supported, required
from sampan.schema.names import dns1035_label, dns1123_subdomain
from sampan.schema.objects import Object


def drop_status(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {}


# storagemigration.k8s.io


def validate_migration(new: Object, old: Object | None) -> Iterator[Cause]:
    resource = mapping(new, "spec", "resource")
    if not resource.get("resource"):
        yield required("spec.resource.resource", "resource is required to be set")
    elif messages := dns1035_label(text(resource, "resource")):
        yield invalid("spec.resource.resource", text(resource, "resource"), ",".join(messages))
    group = text(resource, "group")
    if group and (messages := dns1123_subdomain(group)):
        yield invalid("spec.resource.group", group, ",".join(messages))
    if "version" in resource or str(new.get("apiVersion")).endswith("/v1alpha1"):
        for message in dns1035_label(text(resource, "version")):
            yield invalid("spec.resource.version", text(resource, "version"), message)
    if old is not None:
        yield from immutable("spec.resource", resource, mapping(old, "spec", "resource"))


def migrated(migration: Object) -> str:
    for condition in items(migration, "status", "conditions"):
        if condition.get("status") == "True":
            return str(condition.get("type"))
    return "Pending"


def resource_cell(migration: Object) -> str:
    resource = mapping(migration, "spec", "resource")
    return ".".join(text(resource, key) for key in ("resource", "version", "group") if resource.get(key))


def validate_migration_status(new: Object, old: Object | None) -> Iterator[Cause]:
    conditions = items(new, "status", "conditions")
    true = [condition.get("type") for condition in conditions if condition.get("status") == "True"]
    if "Succeeded" in true and "Failed" in true:
        yield invalid("status.conditions", true, "Both success and failed conditions cannot be true at the same time")
    if "Running" in true and {"Succeeded", "Failed"} & set(true):
        why = "Running condition cannot be true when success or failed conditions are true"
        yield invalid("status.conditions", true, why)
    before, now = dig(old, "status", "resourceVersion"), dig(new, "status", "resourceVersion")
    if before and now != before:
        yield forbidden("status.resourceVersion", "field is immutable once set")


def default_migration(new: Object) -> None:
    """A group is always written, as ``metav1.GroupResource`` has it."""
    resource = mapping(new, "spec", "resource")
    if resource:
        resource.setdefault("group", "")


def migration(version: str) -> Resource:
    return Resource(
        group="storagemigration.k8s.io",
        version=version,
        kind="StorageVersionMigration",
        plural="storageversionmigrations",
        namespaced=False,
        status=True,
        generation=False,
        default=None if version == "v1alpha1" else default_migration,
        prepare=drop_status,
        validate=collect(validate_migration),
        validates={"status": collect(validate_migration_status)},
        columns=(NAME, Column("Resource", resource_cell), Column("Status", migrated), AGE),
    )


# internal.apiserver.k8s.io


def validate_storage_version(new: Object, old: Object | None) -> Iterator[Cause]:
    name = text(new, "metadata", "name")
    if name.count(".") < 1:
        yield invalid("metadata.name", name, "name must be in the form of <group>.<resource>")


def storage_versions(version: Object) -> str:
    given = items(version, "status", "storageVersions")
    return ",".join(f"{text(one, 'apiServerID')}={text(one, 'encodingVersion')}" for one in given)


STORAGE_VERSION = Resource(
    group="internal.apiserver.k8s.io",
    version="v1alpha1",
    kind="StorageVersion",
    plural="storageversions",
    namespaced=False,
    status=True,
    generation=False,
    prepare=drop_status,
    validate=collect(validate_storage_version),
    columns=(
        NAME,
        Column("CommonEncodingVersion", field("status", "commonEncodingVersion", missing="<unset>")),
        Column("StorageVersions", storage_versions),
        AGE,
    ),
)

# lifecycle.k8s.io


def target(spec: Object) -> Iterator[Cause]:
    pod = dig(spec, "target", "pod")
    if pod is None:
        yield required("spec.target", "must specify one of: `pod`")
        return
    yield from subdomain("spec.target.pod.name", pod.get("name"))
    if not pod.get("uid"):
        yield required("spec.target.pod.uid")


def validate_eviction(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    yield from target(spec)
    if old is not None:
        yield from immutable("spec", spec, mapping(old, "spec"))


def validate_eviction_request(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    yield from target(spec)
    if not spec.get("requester"):
        yield required("spec.requester")
    if not spec.get("intent"):
        yield required("spec.intent")
    elif spec["intent"] not in ("Eviction", "Withdrawn"):
        yield not_supported("spec.intent", spec["intent"], ("Eviction", "Withdrawn"))
    if old is not None:
        for key in ("target", "requester"):
            yield from immutable(f"spec.{key}", spec.get(key), dig(old, "spec", key))


EVICTION = Resource(
    group="lifecycle.k8s.io",
    version="v1alpha1",
    kind="Eviction",
    plural="evictions",
    status=True,
    prepare=drop_status,
    validate=collect(validate_eviction),
    columns=(NAME, Column("Pod", field("spec", "target", "pod", "name")), AGE),
)
EVICTION_REQUEST = Resource(
    group="lifecycle.k8s.io",
    version="v1alpha1",
    kind="EvictionRequest",
    plural="evictionrequests",
    status=True,
    prepare=drop_status,
    validate=collect(validate_eviction_request),
    columns=(
        NAME,
        Column("Pod", field("spec", "target", "pod", "name")),
        Column("Requester", field("spec", "requester")),
        Column("Intent", field("spec", "intent")),
        AGE,
    ),
)

RESOURCES = (
    *(migration(version) for version in ("v1", "v1beta1", "v1alpha1")),
    STORAGE_VERSION,
    EVICTION,
    EVICTION_REQUEST,
)
