"""RequestMirror: a copy of the request, or of a share of them, whose answer nobody waits for. Source: Gateway API v1
HTTPRequestMirrorFilter; GEP-3171 (shares)."""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, Site
from sampan.schema.objects import Object

MILLION = 2


def apply(settings: Object, draft: Draft, site: Site) -> None:
    protocol = "h2" if site.route["kind"] == "GRPCRoute" else ""
    cluster = site.cluster(settings["backendRef"], protocol)
    if cluster is None:
        return
    policy: dict[str, Any] = {"cluster": cluster.name, "disable_shadow_host_suffix_append": True}
    fraction = settings.get("fraction")
    if fraction is None and settings.get("percent") is not None:
        fraction = {"numerator": settings["percent"], "denominator": 100}
    if fraction is not None:
        of = fraction.get("denominator") or 100
        parts = min(1_000_000, round(fraction["numerator"] * 1_000_000 / of))
        policy["runtime_fraction"] = {"default_value": {"numerator": parts, "denominator": MILLION}}
    draft.forward.setdefault("request_mirror_policies", []).append(policy)
