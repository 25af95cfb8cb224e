"""The audiences that a node may have ServiceAccount tokens for (ServiceAccountNodeAudienceRestriction, on since 1.33).

A node asks for tokens of the pods on it: for the audiences of their projected volumes and of the CSI drivers of their
volumes, and for what somebody lets it ask (the verb ``request-serviceaccounts-token-audience`` on the audience).
Source: plugin/pkg/admission/noderestriction; KEP-4412.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.admission.permissions import may
from sampan.api.request import Admission
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.objects import Object
from sampan.store.layout import prefix_of

DRIVERS = prefix_of("csidrivers.storage.k8s.io")
CLAIMS, VOLUMES = prefix_of("persistentvolumeclaims"), prefix_of("persistentvolumes")
AUDIENCES = "ServiceAccountNodeAudienceRestriction"
VERB = "request-serviceaccounts-token-audience"


async def refused_audience(at: Admission, pod: Object) -> str:
    """Return why a TokenRequest of a pod's node is refused, "" where it is not."""
    audiences = items(at.object or {}, "spec", "audiences")
    if len(audiences) > 1:
        return "node may only request 0 or 1 audiences"
    audience = str(audiences[0]) if audiences else ""
    if audience in of_pod(at, pod):
        return ""
    if audience:
        allowed, _ = await may(at, VERB, "", audience, at.name, namespace=at.namespace)
        if allowed:
            return ""
    told = f'audience "{audience}" not found in pod spec volume'
    return f"{told}, {at.user.name} is not authorized to request tokens for this audience"


def of_pod(at: Admission, pod: Object) -> Iterator[str]:
    """Yield the audiences that a pod's volumes need tokens for."""
    for volume in items(pod, "spec", "volumes"):
        for source in items(volume, "projected", "sources"):
            if "serviceAccountToken" in source:
                yield text(source, "serviceAccountToken", "audience")
        driver = driver_of(at, pod, volume)
        if driver:
            found = stored(at, f"{DRIVERS}{driver}")
            yield from (text(request, "audience") for request in items(found, "spec", "tokenRequests"))


def driver_of(at: Admission, pod: Object, volume: Object) -> str:
    """Return the CSI driver of a volume, "" where it has none."""
    if "csi" in volume:
        return text(volume, "csi", "driver")
    claim = text(volume, "persistentVolumeClaim", "claimName")
    if mapping(volume, "ephemeral", "volumeClaimTemplate"):
        claim = f"{pod['metadata']['name']}-{volume['name']}"
    if not claim:
        return ""
    bound = text(stored(at, f"{CLAIMS}{at.namespace}/{claim}"), "spec", "volumeName")
    return text(stored(at, VOLUMES + bound), "spec", "csi", "driver") if bound else ""


def stored(at: Admission, key: str) -> Object:
    record = at.api.store.get(key)
    return {} if record is None else at.api.parsed(record)
