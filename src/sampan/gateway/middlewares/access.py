"""Requests that may not pass: Envoy's RBAC filter, one for each thing it decides by."""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter

FILTER = "envoy.extensions.filters.http.rbac.v3.RBAC"
PER_ROUTE = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute"
ALLOW, DENY = 0, 1


def allow(draft: Draft, name: str, principals: list[dict[str, Any]], order: int = 15) -> None:
    """Let only those requests pass that are one of ``principals``; others get 403. ``name`` tells the filters apart: a route
    may have several, and all of them must let it pass."""
    rules = {"action": ALLOW, "policies": {"listed": {"permissions": [{"any": True}], "principals": principals}}}
    known = draft.route.setdefault("typed_per_filter_config", {})
    number = sum(1 for one in known if one.startswith(f"rbac/{name}"))
    entry = HttpFilter.of(order, f"rbac/{name}/{number}", {"@type": FILTER})
    draft.need(entry, {"@type": PER_ROUTE, "rbac": {"rules": rules}})
