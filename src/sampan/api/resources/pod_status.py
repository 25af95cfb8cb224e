"""Checks of a pod's status. Source: kubernetes pkg/apis/core/validation (ValidatePodStatusUpdate)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.addresses import ip, one_of_each_family
from sampan.api.resources.checking import between, immutable, qualified, subdomain
from sampan.api.resources.pod_annotations import annotation_changes
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import duplicate, forbidden, invalid, not_supported
from sampan.schema.names import dns1123_subdomain
from sampan.schema.objects import Object

MAX_ID = 2**31 - 1
SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")
STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
HEALTH = ("Healthy", "Unhealthy", "Unknown")


def pod_status(new: Object, old: Object) -> Iterator[Cause]:
    """Yield why a new status is refused."""
    noted, before = mapping(new, "metadata", "annotations"), mapping(old, "metadata", "annotations")
    if noted != before:
        yield from annotation_changes(noted, before, "metadata.annotations")
    status, was = mapping(new, "status"), mapping(old, "status")
    for index, condition in enumerate(items(status, "conditions")):
        if condition.get("type") not in SYSTEM_CONDITIONS:
            yield from qualified(f"metadata.conditions[{index}].Type", condition.get("type"))
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != was.get("nominatedNodeName"):
        yield from subdomain("status.nominatedNodeName", nominated)
    yield from immutable("status.qosClass", status.get("qosClass"), was.get("qosClass"))
    yield from transitions(status, was, mapping(old, "spec"))
    yield from claim_statuses(status, mapping(new, "spec"))
    yield from addresses(status)
    for kind in STATUSES:
        for index, container in enumerate(items(status, kind)):
            yield from container_status(container, f"status.{kind}[{index}]", kind, mapping(new, "spec"))


def transitions(status: Object, was: Object, spec: Object) -> Iterator[Cause]:
    """A container that is done for good does not come back to life."""
    restart = text(spec, "restartPolicy")
    sidecars = {c.get("name") for c in items(spec, "initContainers") if c.get("restartPolicy") == "Always"}
    ruled = {c.get("name") for c in items(spec, "containers") if c.get("restartPolicy") or c.get("restartPolicyRules")}
    for kind, policy, exempt in (
        ("containerStatuses", restart, ruled),
        ("initContainerStatuses", restart, sidecars),
        ("ephemeralContainerStatuses", "Never", set()),
    ):
        if policy == "Always":
            continue
        now = {c.get("name"): c for c in items(status, kind)}
        for index, container in enumerate(items(was, kind)):
            ended, name = dig(container, "state", "terminated"), container.get("name")
            if ended is None or name in exempt or (ended.get("exitCode") and policy == "OnFailure"):
                continue
            if name in now and dig(now[name], "state", "terminated") is None:
                yield forbidden(f"status.{kind}[{index}].state", "may not be transitioned to non-terminated state")


def claim_statuses(status: Object, spec: Object) -> Iterator[Cause]:
    known = {claim.get("name") for claim in items(spec, "resourceClaims")}
    seen: set[Any] = set()
    for index, claim in enumerate(items(status, "resourceClaimStatuses")):
        path, name = f"status.resourceClaimStatuses[{index}].name", claim.get("name")
        if name not in known:
            yield invalid(path, name or "", "must match the name of an entry in `spec.resourceClaims`")
        if name in seen:
            yield duplicate(path, name)
        seen.add(name)
        for message in dns1123_subdomain(claim["resourceClaimName"]) if claim.get("resourceClaimName") else ():
            yield invalid(path, claim["resourceClaimName"], message)


def addresses(status: Object) -> Iterator[Cause]:
    pods, hosts = items(status, "podIPs"), items(status, "hostIPs")
    yield from family_list(pods, "status.podIPs")
    if hosts and (status.get("hostIP") or "") != (hosts[0].get("ip") or ""):
        yield invalid("status.hostIPs[0].ip", hosts[0].get("ip") or "", "must be equal to `hostIP`")
    yield from family_list(hosts, "status.hostIPs")


def family_list(listed: Sequence[Object], path: str) -> Iterator[Cause]:
    texts = [item.get("ip") or "" for item in listed]
    for index, address in enumerate(texts):
        yield from ip(f"{path}[{index}]", address)
    yield from one_of_each_family(path, texts, shown=list(listed))
    for index, address in enumerate(texts):
        if address in texts[:index]:
            yield duplicate(f"{path}[{index}]", listed[index])


def container_status(container: Object, path: str, kind: str, spec: Object) -> Iterator[Cause]:
    user = mapping(container, "user", "linux")
    if user:
        if text(spec, "os", "name") == "windows":
            yield forbidden(f"{path}.linux", "cannot be set for a windows pod")
        else:
            for key in ("uid", "gid"):
                yield from between(f"{path}.linux.{key}", user.get(key) or 0, 0, MAX_ID)
            for place, group in enumerate(items(user, "supplementalGroups")):
                yield from between(f"{path}.linux.supplementalGroups[{place}]", group, 0, MAX_ID)
    allocated = items(container, "allocatedResourcesStatus")
    if allocated and kind == "ephemeralContainerStatuses":
        yield forbidden(f"{path}.allocatedResourcesStatus", "must not be specified in container status")
    elif allocated:
        listed = items(spec, "containers" if kind == "containerStatuses" else "initContainers")
        declared = next((c for c in listed if c.get("name") == container.get("name")), None)
        yield from allocations(allocated, declared, f"{path}.allocatedResourcesStatus")


def allocations(listed: Sequence[Object], declared: Object | None, path: str) -> Iterator[Cause]:
    claims = {
        "claim:" + "/".join(part for part in (c.get("name"), c.get("request")) if part)
        for c in items(declared, "resources", "claims")
    }
    for index, allocation in enumerate(listed):
        name = allocation.get("name") or ""
        if declared is not None and name.startswith("claim:") and name not in claims:
            why = (
                "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or "
                "'claim:<claimName>' if request is empty"
            )
            yield invalid(f"{path}[{index}].name", name, why)
        elif (
            declared is not None
            and not name.startswith("claim:")
            and name not in mapping(declared, "resources", "requests")
        ):
            yield invalid(f"{path}[{index}].name", name, "must match one of the container's resource requests")
        seen: set[Any] = set()
        for place, part in enumerate(items(allocation, "resources")):
            health, identity = part.get("health") or "Unknown", part.get("resourceID")
            if health not in HEALTH:
                yield not_supported(f"{path}[{index}].resources[{place}].health", health, HEALTH)
            if identity in seen:
                yield duplicate(f"{path}[{index}].resources[{place}].resourceID", identity)
            seen.add(identity)
