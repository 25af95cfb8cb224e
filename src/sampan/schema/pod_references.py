"""What a pod refers to: the ConfigMaps, Secrets, claims and the account that its node must read for it.

Source: core/v1 PodSpec; kubernetes pkg/api/pod (the visitors of a pod's Secrets and ConfigMaps).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sampan.schema.objects import Object

SECRET_REFERENCES = {
    "cephfs": "secretRef",
    "flexVolume": "secretRef",
    "iscsi": "secretRef",
    "rbd": "secretRef",
    "scaleIO": "secretRef",
    "storageos": "secretRef",
    "csi": "nodePublishSecretRef",
}
"""Where kinds of volumes name a Secret."""


def references(pod: Object) -> Iterator[tuple[str, str]]:
    """Yield ``(plural, name)`` of what a pod refers to in its namespace: ``secrets``, ``configmaps``,
    ``persistentvolumeclaims``, ``serviceaccounts``, ``resourceclaims``; a name may come more than once."""
    spec = pod.get("spec") or {}
    if spec.get("serviceAccountName"):
        yield "serviceaccounts", spec["serviceAccountName"]
    for secret in _list(spec, "imagePullSecrets"):
        yield from _named("secrets", secret)
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in _list(spec, field):
            yield from _of_container(container)
    for volume in _list(spec, "volumes"):
        yield from _of_volume(volume, str(pod["metadata"].get("name", "")))
    for claim in _list(spec, "resourceClaims"):
        yield from _named("resourceclaims", claim, "resourceClaimName")
    for claim in _list(pod.get("status") or {}, "resourceClaimStatuses"):
        yield from _named("resourceclaims", claim, "resourceClaimName")


def claims_of(pod: Object) -> list[str]:
    """Return the keys of the claims that a pod uses, those made for its ephemeral volumes included."""
    metadata, found = pod["metadata"], []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append(volume["persistentVolumeClaim"].get("claimName"))
        elif volume.get("ephemeral") is not None:
            found.append(f"{metadata['name']}-{volume.get('name')}")
    return [f"{metadata['namespace']}/{name}" for name in found]


def _of_container(container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for source in _list(container, "envFrom"):
        yield from _named("secrets", source.get("secretRef"))
        yield from _named("configmaps", source.get("configMapRef"))
    for variable in _list(container, "env"):
        source = variable.get("valueFrom") or {}
        yield from _named("secrets", source.get("secretKeyRef"))
        yield from _named("configmaps", source.get("configMapKeyRef"))


def _of_volume(volume: Mapping[str, Any], pod: str) -> Iterator[tuple[str, str]]:
    yield from _named("secrets", volume.get("secret"), "secretName")
    yield from _named("secrets", volume.get("azureFile"), "secretName")
    yield from _named("configmaps", volume.get("configMap"))
    for kind, field in SECRET_REFERENCES.items():
        yield from _named("secrets", (volume.get(kind) or {}).get(field))
    for source in _list(volume.get("projected") or {}, "sources"):
        yield from _named("secrets", source.get("secret"))
        yield from _named("configmaps", source.get("configMap"))
    yield from _named("persistentvolumeclaims", volume.get("persistentVolumeClaim"), "claimName")
    if volume.get("ephemeral"):
        yield "persistentvolumeclaims", f"{pod}-{volume.get('name', '')}"


def _list(where: Mapping[str, Any], field: str) -> list[Any]:
    found = where.get(field)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _named(plural: str, reference: Any, field: str = "name") -> Iterator[tuple[str, str]]:
    name = reference.get(field) if isinstance(reference, dict) else None
    if isinstance(name, str) and name:
        yield plural, name


def resource_claim_names(pod: Object) -> Iterator[tuple[str, str | None, bool]]:
    """Yield of each of a pod's resource claims its name in the pod, the ResourceClaim's name (None: not made yet), and
    whether it is made from a template; one for which no claim is needed is left out. Source:
    k8s.io/dynamic-resource-allocation resourceclaim.Name."""
    made = {one.get("name"): one for one in _list(pod.get("status") or {}, "resourceClaimStatuses")}
    for claim in _list(pod.get("spec") or {}, "resourceClaims"):
        if claim.get("resourceClaimName"):
            yield claim["name"], claim["resourceClaimName"], False
        elif claim["name"] not in made:
            yield claim["name"], None, True
        elif made[claim["name"]].get("resourceClaimName"):
            yield claim["name"], made[claim["name"]]["resourceClaimName"], True
