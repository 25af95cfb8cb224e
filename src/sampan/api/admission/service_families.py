"""The address families of a Service, of those that the cluster has. Source: registry/core/service/storage/alloc.go."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api.resource import Cause
from sampan.api.resources.addresses import family
from sampan.api.resources.reading import items
from sampan.api.resources.service_validation import FAMILIES, cluster_ips
from sampan.schema.causes import invalid
from sampan.schema.objects import Object

SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
POLICY = "spec.ipFamilyPolicy"
SAME_KEYS = ("ipFamilyPolicy", "ipFamilies", "clusterIPs")


def settle_families(spec: Object, before: Object, own: Sequence[str]) -> list[Cause]:
    """Fill in ``ipFamilyPolicy`` and ``ipFamilies``; return why a Service cannot have those that it asks for.

    ``own`` are the families of the cluster, the main one first; ``before`` is the spec of the stored Service (empty on
    create). A Service that prefers both families and was made when there was one stays as it is (``SAME_KEYS``).
    """
    if spec.get("ipFamilyPolicy") == PREFER and all(spec.get(key) == before.get(key) for key in SAME_KEYS):
        return []
    selectorless = spec.get("clusterIP") == "None" and not spec.get("selector")
    policy = spec.get("ipFamilyPolicy") or before.get("ipFamilyPolicy") or (REQUIRE if selectorless else SINGLE)
    spec["ipFamilyPolicy"] = policy
    causes = list(cluster_ips(spec)) or reduced(spec, before, policy)
    if policy == SINGLE:
        for key, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
            if len(items(spec, key)) == 2:
                why = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                causes.append(invalid(POLICY, policy, why))
    if causes:
        return causes
    causes = inferred(spec, own)
    if causes:
        return causes
    families = spec.setdefault("ipFamilies", [own[0]])
    if selectorless:  # it has the addresses of others: any family will do
        if len(families) < 2 and policy != SINGLE:
            spec["ipFamilies"] = [families[0], other(families[0])]
        return []
    if policy == REQUIRE and len(own) < 2:
        causes.append(invalid(POLICY, policy, "this cluster is not configured for dual-stack services"))
    for index, kind in enumerate(families):
        if kind not in own:
            causes.append(invalid(f"spec.ipFamilies[{index}]", kind, "not configured on this cluster"))
    if not causes and policy != SINGLE and len(families) == 1 and len(own) == 2:
        spec["ipFamilies"] = [families[0], other(families[0])]
    return causes


def other(family: str) -> str:
    return next(kind for kind in FAMILIES if kind != family)


def reduced(spec: Object, before: Object, policy: str) -> list[Cause]:
    """Return why fewer addresses or families than before are refused; SingleStack takes the second ones away."""
    causes = []
    for key, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        new, old = items(spec, key), items(before, key)
        if policy == SINGLE:
            if new == old and len(new) > 1:
                spec[key] = list(new[:1])
        elif len(new) < len(old) == 2 and new:
            causes.append(invalid(POLICY, policy, f"must be 'SingleStack' to release the secondary {what}"))
    return causes


def inferred(spec: Object, own: Sequence[str]) -> list[Cause]:
    """Take the families that are not named from the addresses that are."""
    families, addresses = list(items(spec, "ipFamilies")), items(spec, "clusterIPs")
    causes = []
    for index, address in enumerate(addresses):
        if address == "None":
            break
        if index >= len(families):
            kind = family(address)
            if kind in own:
                families.append(kind)
            else:
                why = f"{kind} is not configured on this cluster"
                causes.append(invalid(f"spec.clusterIPs[{index}]", list(addresses), why))
    if families:
        spec["ipFamilies"] = families
    elif "ipFamilies" in spec:
        del spec["ipFamilies"]
    return causes
