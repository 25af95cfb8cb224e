"""What one object uses of a quota. Source: kubernetes pkg/quota/v1/evaluator/core.

Every object counts as ``count/<resource>.<group>``; pods, Services, claims of volumes and of devices use more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sampan.api.quotas.amounts import ONE, Amounts, added, read, total
from sampan.api.resources.pod_resources import aggregate
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.objects import Object
from sampan.schema.quantity import Quantity, parse

ALIASES = ("configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services")
"""Resources that are also counted under their bare name."""

STORAGE_CLASS = "storageclass.storage.k8s.io"
DEVICE_CLASS = "deviceclass.resource.k8s.io"
OLD_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
ALL_DEVICES = 32
"""As many devices as a claim may get: what allocationMode All is charged."""

COMPUTE = ("cpu", "memory", "ephemeral-storage")
HUGE_PAGES = "hugepages-"


def counted(group: str, plural: str) -> str:
    """Return the name under which a resource's objects are counted."""
    return f"count/{plural}.{group}" if group else f"count/{plural}"


def usage(group: str, plural: str, obj: Object, now: datetime | None = None) -> dict[str, Quantity]:
    """Return what an object uses."""
    found: dict[str, Quantity] = {counted(group, plural): ONE}
    if not group and plural in ALIASES:
        found[plural] = ONE
    own = OWN.get((group, plural))
    return added(found, own(obj, now)) if own is not None else found


# pods


def of_pod(pod: Object, now: datetime | None) -> Amounts:
    """A pod that is over, or past its grace period, uses nothing but its place in the store."""
    return {"pods": ONE, **compute(mapping(pod, "spec"))} if running(pod, now) else {}


def running(pod: Object, now: datetime | None) -> bool:
    if text(pod, "status", "phase") in ("Succeeded", "Failed"):
        return False
    going, grace = dig(pod, "metadata", "deletionTimestamp"), dig(pod, "metadata", "deletionGracePeriodSeconds")
    if not going or grace is None:
        return True
    try:
        since = datetime.fromisoformat(str(going).replace("Z", "+00:00"))
    except ValueError:
        return True
    # deletionTimestamp already is the moment at which the grace period ends
    return (now or datetime.now(UTC)) <= since + timedelta(seconds=grace)


def compute(spec: Object) -> dict[str, Quantity]:
    """Return requests and limits of a whole pod under the names that quotas have for them."""
    overhead = read(mapping(spec, "overhead"))
    requests, limits = added(whole(spec, "requests"), overhead), whole(spec, "limits")
    limits = added(limits, {name: value for name, value in overhead.items() if name in limits})
    return named(requests, limits)


def whole(spec: Object, kind: str) -> dict[str, Quantity]:
    """What the containers ask for together, or the pod where it says so itself."""
    return {**aggregate(spec, kind), **read(mapping(spec, "resources", kind))}


def named(requests: Amounts, limits: Amounts) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for name, value in requests.items():
        if name in COMPUTE or name.startswith(HUGE_PAGES):
            found[name] = value
        if name in COMPUTE or name.startswith(HUGE_PAGES) or "/" in name:
            found[f"requests.{name}"] = value
    return {**found, **{f"limits.{name}": value for name, value in limits.items() if name in COMPUTE}}


# services


def of_service(service: Object, now: datetime | None) -> Amounts:
    spec = mapping(service, "spec")
    kind, ports = spec.get("type"), items(spec, "ports")
    node_ports = len(ports) if kind in ("NodePort", "LoadBalancer") else 0
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        node_ports = sum(1 for port in ports if port.get("nodePort"))
    found = {"services.nodeports": parse(node_ports)} if kind in ("NodePort", "LoadBalancer") else {}
    return {**found, "services.loadbalancers": ONE} if kind == "LoadBalancer" else found


# claims


def of_volume_claim(claim: Object, now: datetime | None) -> Amounts:
    spec = mapping(claim, "spec")
    storage = read(mapping(spec, "resources", "requests")).get("storage")
    allocated = read(mapping(claim, "status", "allocatedResources")).get("storage")
    if storage is not None and allocated is not None and storage < allocated:
        storage = allocated
    name = mapping(claim, "metadata", "annotations").get(OLD_CLASS_ANNOTATION) or spec.get("storageClassName")
    prefixes = ("", f"{name}.{STORAGE_CLASS}/") if name else ("",)
    found = {f"{prefix}persistentvolumeclaims": ONE for prefix in prefixes if prefix}
    if storage is not None:
        found |= {f"{prefix}requests.storage": storage for prefix in prefixes}
    return found


def of_device_claim(claim: Object, now: datetime | None) -> Amounts:
    return total(of_request(request) for request in items(claim, "spec", "devices", "requests"))


def of_request(request: Object) -> dict[str, Quantity]:
    """What a request may take: of alternatives, the most of each class."""
    wishes = items(request, "firstAvailable") or [request.get("exactly") or request]
    found: dict[str, Quantity] = {}
    for wish in wishes:
        count = ALL_DEVICES if wish.get("allocationMode") == "All" else wish.get("count") or 1
        name = f"{wish.get('deviceClassName')}.{DEVICE_CLASS}/devices"
        if wish.get("deviceClassName") and (name not in found or found[name] < parse(count)):
            found[name] = parse(count)
    return found


OWN: dict[tuple[str, str], Callable[[Object, datetime | None], Amounts]] = {
    ("", "pods"): of_pod,
    ("", "services"): of_service,
    ("", "persistentvolumeclaims"): of_volume_claim,
    ("resource.k8s.io", "resourceclaims"): of_device_claim,
}

MEASURED = frozenset(OWN)
"""Resources, as ``(group, plural)``, whose objects use more than their place."""
