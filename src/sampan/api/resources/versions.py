"""The versions of one kind: which share a shape, which one is stored, how to get from one to another, when they go.

``declarations`` of a group name each version whose shape is its own; ``ALSO`` adds those that only differ in their name. All
versions of a kind are stored as its newest (``hub``), so that what is written in one is read in every other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from sampan.api.resource import Resource
from sampan.api.resources import dynamic_resources, flow_control
from sampan.schema.objects import Object

ALSO: dict[tuple[str, str], tuple[str, ...]] = {
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): ("v1beta1", "v1alpha1"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): ("v1beta1", "v1alpha1"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): ("v1beta1", "v1alpha1"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): ("v1beta1", "v1alpha1"),
    ("authentication.k8s.io", "SelfSubjectReview"): ("v1beta1", "v1alpha1"),
    ("networking.k8s.io", "IPAddress"): ("v1beta1", "v1alpha1"),
    ("networking.k8s.io", "ServiceCIDR"): ("v1beta1", "v1alpha1"),
    ("storage.k8s.io", "CSIStorageCapacity"): ("v1beta1",),
    ("storage.k8s.io", "VolumeAttributesClass"): ("v1beta1", "v1alpha1"),
}
"""Kinds declared once whose older versions have the same shape."""

CONVERSIONS: dict[tuple[str, str, str, str], Callable[[Object], None]] = {
    **flow_control.CONVERSIONS,
    **dynamic_resources.CONVERSIONS,
}
"""``(group, kind, from, to)`` → what changes an object in place, where more than apiVersion differs."""

NEW_DESIGNS = {
    ("coordination.k8s.io", "v1alpha1"),
    ("resource.k8s.io", "v1alpha1"),
    ("resource.k8s.io", "v1alpha2"),
    ("scheduling.k8s.io", "v1alpha1"),
    ("scheduling.k8s.io", "v1alpha2"),
}
"""Versions whose objects mean something else than those of later ones: they are not converted."""

LIFECYCLES: dict[tuple[str, str, str], tuple[int, int, str]] = {
    ("", "v1", "ComponentStatus"): (19, 0, ""),
    ("admissionregistration.k8s.io", "v1alpha1", "MutatingAdmissionPolicy"): (35, 38, ""),
    ("admissionregistration.k8s.io", "v1alpha1", "MutatingAdmissionPolicyBinding"): (35, 38, ""),
    ("admissionregistration.k8s.io", "v1alpha1", "ValidatingAdmissionPolicy"): (29, 32, ""),
    ("admissionregistration.k8s.io", "v1alpha1", "ValidatingAdmissionPolicyBinding"): (29, 32, ""),
    ("admissionregistration.k8s.io", "v1beta1", "MutatingAdmissionPolicy"): (37, 40, "v1"),
    ("admissionregistration.k8s.io", "v1beta1", "MutatingAdmissionPolicyBinding"): (37, 40, "v1"),
    ("admissionregistration.k8s.io", "v1beta1", "ValidatingAdmissionPolicy"): (31, 34, ""),
    ("admissionregistration.k8s.io", "v1beta1", "ValidatingAdmissionPolicyBinding"): (31, 34, ""),
    ("authentication.k8s.io", "v1alpha1", "SelfSubjectReview"): (29, 32, ""),
    ("authentication.k8s.io", "v1beta1", "SelfSubjectReview"): (30, 33, ""),
    ("certificates.k8s.io", "v1alpha1", "ClusterTrustBundle"): (34, 37, ""),
    ("certificates.k8s.io", "v1beta1", "ClusterTrustBundle"): (37, 40, "v1"),
    ("certificates.k8s.io", "v1beta1", "PodCertificateRequest"): (37, 40, "v1"),
    ("coordination.k8s.io", "v1alpha2", "LeaseCandidate"): (35, 38, ""),
    ("coordination.k8s.io", "v1beta1", "LeaseCandidate"): (36, 39, ""),
    ("flowcontrol.apiserver.k8s.io", "v1beta1", "FlowSchema"): (23, 26, "v1beta2"),
    ("flowcontrol.apiserver.k8s.io", "v1beta1", "PriorityLevelConfiguration"): (23, 26, "v1beta2"),
    ("flowcontrol.apiserver.k8s.io", "v1beta2", "FlowSchema"): (26, 29, "v1beta3"),
    ("flowcontrol.apiserver.k8s.io", "v1beta2", "PriorityLevelConfiguration"): (26, 29, "v1beta3"),
    ("flowcontrol.apiserver.k8s.io", "v1beta3", "FlowSchema"): (29, 32, "v1"),
    ("flowcontrol.apiserver.k8s.io", "v1beta3", "PriorityLevelConfiguration"): (29, 32, "v1"),
    ("networking.k8s.io", "v1alpha1", "IPAddress"): (30, 33, ""),
    ("networking.k8s.io", "v1alpha1", "ServiceCIDR"): (30, 33, ""),
    ("networking.k8s.io", "v1beta1", "IPAddress"): (34, 37, ""),
    ("networking.k8s.io", "v1beta1", "ServiceCIDR"): (34, 37, ""),
    ("resource.k8s.io", "v1alpha3", "DeviceTaintRule"): (36, 39, ""),
    ("resource.k8s.io", "v1beta1", "DeviceClass"): (35, 38, ""),
    ("resource.k8s.io", "v1beta1", "ResourceClaim"): (35, 38, ""),
    ("resource.k8s.io", "v1beta1", "ResourceClaimTemplate"): (35, 38, ""),
    ("resource.k8s.io", "v1beta1", "ResourceSlice"): (35, 38, ""),
    ("resource.k8s.io", "v1beta2", "DeviceClass"): (36, 39, ""),
    ("resource.k8s.io", "v1beta2", "ResourceClaim"): (36, 39, ""),
    ("resource.k8s.io", "v1beta2", "ResourceClaimTemplate"): (36, 39, ""),
    ("resource.k8s.io", "v1beta2", "ResourceSlice"): (36, 39, ""),
    ("storage.k8s.io", "v1alpha1", "VolumeAttributesClass"): (32, 35, "v1"),
    ("storage.k8s.io", "v1beta1", "CSIStorageCapacity"): (24, 27, "v1"),
    ("storage.k8s.io", "v1beta1", "VolumeAttributesClass"): (34, 37, "v1"),
    ("storagemigration.k8s.io", "v1beta1", "StorageVersionMigration"): (37, 40, "v1"),
}
"""Group, version and kind → the minor version that deprecated it, that is without it (0: none), and what to use instead."""

_version = re.compile(r"v([0-9]+)(?:(alpha|beta)([0-9]+))?")
STAGES = {"alpha": 0, "beta": 1, None: 2}


def rank(version: str) -> tuple[int, int, int]:
    """Return the key that orders versions as Kubernetes does: v1 before v1beta2 before v1beta1 before v1alpha1, reversed."""
    match = _version.fullmatch(version)
    return (STAGES[match[2]], int(match[1]), int(match[3] or 0)) if match else (-1, 0, 0)


def stage(version: str) -> str:
    """Return ``alpha``, ``beta`` or ``ga``."""
    match = _version.fullmatch(version)
    return (match[2] if match else None) or "ga"


def with_others(declared: Iterable[Resource]) -> Iterator[Resource]:
    """Yield declarations, and those of other versions with the same shape."""
    for resource in declared:
        yield resource
        if resource.version == "v1":
            for version in ALSO.get((resource.group, resource.kind), ()):
                yield replace(resource, version=version)


def stored_together(resources: Iterable[Resource]) -> Iterator[Resource]:
    """Yield the resources of one Kubernetes version with the version that each is stored in."""
    found = list(resources)
    hubs: dict[tuple[str, str], str] = {}
    for resource in found:
        key = resource.group, resource.kind
        if key not in hubs or rank(resource.version) > rank(hubs[key]):
            hubs[key] = resource.version
    for resource in found:
        hub = hubs[resource.group, resource.kind]
        if resource.stored_version or resource.version == hub:
            yield resource
        else:
            yield replace(
                resource,
                stored_version=hub,
                to_stored=CONVERSIONS.get((resource.group, resource.kind, resource.version, hub)),
                from_stored=CONVERSIONS.get((resource.group, resource.kind, hub, resource.version)),
            )


def several_versions() -> set[tuple[str, str]]:
    """Return the kinds that have several versions in some Kubernetes version or another."""
    from sampan.api.resources import declarations  # it is made of this module's tables

    seen: dict[tuple[str, str], int] = {}
    for resource in declarations():
        key = (resource.group, resource.kind)
        seen[key] = seen.get(key, 0) + 1
    return {key for key, count in seen.items() if count > 1}


def conversion(group: str, kind: str, one: str, other: str) -> Callable[[Object], None] | None:
    """Return what brings an object from one version to another in place, None where nothing does."""
    if (group, one) in NEW_DESIGNS or (group, other) in NEW_DESIGNS:
        return None
    return CONVERSIONS.get((group, kind, one, other)) or (lambda obj: None)


def deprecation(resource: Resource, minor: int) -> str:
    """Return the warning that Kubernetes 1.``minor`` answers with, "" where the version is not deprecated."""
    deprecated, removed, instead = LIFECYCLES.get((resource.group, resource.version, resource.kind), (0, 0, ""))
    if not deprecated or minor < deprecated:
        return ""
    text = f"{resource.api_version} {resource.kind} is deprecated in v1.{deprecated}+"
    text += f", unavailable in v1.{removed}+" if removed else ""
    return text + (f"; use {resource.group}/{instead} {resource.kind}" if instead else "")
