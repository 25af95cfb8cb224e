"""resource.k8s.io v1alpha1 (1.26) and v1alpha2 (1.27 to 1.30): claims that a driver's own controller allocates.

Source: KEP-3063, kubernetes 1.30 pkg/apis/resource/validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, csi_driver_name, immutable, label, one_of, subdomain
from sampan.api.resources.columns import AGE, NAME, field
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import required, too_many
from sampan.schema.objects import Object

GROUP = "resource.k8s.io"
MODES = ("Immediate", "WaitForFirstConsumer")
MAX_NODES = 128


def parameters(path: str, reference: Any, *, namespaced: bool = False) -> Iterator[Cause]:
    if reference is None:
        return
    for key in ("kind", "name"):
        if not reference.get(key):
            yield required(f"{path}.{key}")
    if namespaced and reference.get("namespace"):
        yield from label(f"{path}.namespace", reference["namespace"])


def default_spec(spec: Object) -> None:
    spec.setdefault("allocationMode", "WaitForFirstConsumer")


def claim_spec(spec: Object, path: str) -> Iterator[Cause]:
    yield from subdomain(f"{path}.resourceClassName", spec.get("resourceClassName"))
    yield from one_of(f"{path}.allocationMode", spec.get("allocationMode"), MODES)
    yield from parameters(f"{path}.parametersRef", spec.get("parametersRef"))


def validate_claim(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from claim_spec(mapping(new, "spec"), "spec")
    if old is not None:
        yield from immutable("spec", mapping(new, "spec"), mapping(old, "spec"))


def validate_template(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from claim_spec(mapping(new, "spec", "spec"), "spec.spec")
    if old is not None:
        yield from immutable("spec", mapping(new, "spec"), mapping(old, "spec"))


def validate_class(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from csi_driver_name("driverName", text(new, "driverName"))
    yield from parameters("parametersRef", new.get("parametersRef"), namespaced=True)


def validate_context(new: Object, old: Object | None) -> Iterator[Cause]:
    nodes = items(new, "spec", "potentialNodes")
    if len(nodes) > MAX_NODES:
        yield too_many("spec.potentialNodes", len(nodes), MAX_NODES)


def validate_slice(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from csi_driver_name("driverName", text(new, "driverName"))
    yield from subdomain("nodeName", new.get("nodeName"), needed=False)
    if new.get("namedResources") is None:
        yield required("", "exactly one structured model field must be set")


def drop_status(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {}


def claim_state(claim: Object) -> str:
    status = mapping(claim, "status")
    states = ["deleted"] if dig(claim, "metadata", "deletionTimestamp") else []
    if status.get("allocation") is None:
        return ",".join(states) or "pending"
    states.append("allocated")
    if status.get("deallocationRequested"):
        states.append("deallocation requested")
    elif items(status, "reservedFor"):
        states.append("reserved")
    return ",".join(states)


def old(version: str, kind: str, plural: str, *columns: Column, **extra: Any) -> Resource:
    return Resource(
        group=GROUP,
        version=version,
        kind=kind,
        plural=plural,
        generation=False,
        columns=(NAME, *columns, AGE),
        **extra,
    )


def of_version(version: str) -> Iterator[Resource]:
    yield old(
        version,
        "ResourceClass",
        "resourceclasses",
        Column("DriverName", ".driverName"),
        namespaced=False,
        validate=collect(validate_class),
    )
    yield old(
        version,
        "ResourceClaim",
        "resourceclaims",
        Column("ResourceClassName", ".spec.resourceClassName"),
        Column("AllocationMode", ".spec.allocationMode"),
        Column("State", claim_state),
        status=True,
        default=lambda claim: default_spec(claim.setdefault("spec", {})),
        prepare=drop_status,
        validate=collect(validate_claim),
    )
    yield old(
        version,
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
        default=lambda template: default_spec(template.setdefault("spec", {}).setdefault("spec", {})),
        validate=collect(validate_template),
    )


def scheduling(version: str, kind: str, plural: str) -> Resource:
    return old(
        version,
        kind,
        plural,
        Column("SelectedNode", field("spec", "selectedNode", missing="")),
        status=True,
        prepare=drop_status,
        validate=collect(validate_context),
    )


RESOURCES = (
    *of_version("v1alpha1"),
    scheduling("v1alpha1", "PodScheduling", "podschedulings"),
    *of_version("v1alpha2"),
    scheduling("v1alpha2", "PodSchedulingContext", "podschedulingcontexts"),
    scheduling("v1alpha3", "PodSchedulingContext", "podschedulingcontexts"),
    old("v1alpha2", "ResourceClaimParameters", "resourceclaimparameters"),
    old("v1alpha2", "ResourceClassParameters", "resourceclassparameters"),
    old(
        "v1alpha2",
        "ResourceSlice",
        "resourceslices",
        Column("NodeName", field("nodeName", missing="")),
        Column("DriverName", ".driverName"),
        namespaced=False,
        validate=collect(validate_slice),
        field_selectors={
            "nodeName": lambda one: text(one, "nodeName"),
            "driverName": lambda one: text(one, "driverName"),
        },
    ),
)
