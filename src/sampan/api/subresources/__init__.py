"""Subresources with behaviour of their own, one file each; status and scale are the registry's.

A handler takes a ``Request`` and returns a ``Response``; ``add`` registers them all in the catalog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api.subresources import approval, binding, eviction, finalize, issuer, pod_parts, token

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.tokens import Tokens


def add(api: Api, tokens: Tokens) -> None:
    """Serve every built-in subresource."""
    catalog = api.catalog
    catalog.subresource("", "v1", "pods", "binding", {"POST": binding.bind}, kind="Binding")
    catalog.subresource("", "v1", "bindings", "", {"POST": binding.bind})
    catalog.subresource(
        "", "v1", "pods", "eviction", {"POST": eviction.evict}, kind="Eviction", body_group="policy", body_version="v1"
    )
    catalog.subresource("", "v1", "pods", "ephemeralcontainers", pod_parts.EPHEMERAL_CONTAINERS)
    catalog.subresource("", "v1", "pods", "resize", pod_parts.RESIZE)
    catalog.subresource("", "v1", "namespaces", "finalize", {"PUT": finalize.finalize})
    catalog.subresource(
        "",
        "v1",
        "serviceaccounts",
        "token",
        {"POST": token.handler(tokens)},
        kind="TokenRequest",
        body_group="authentication.k8s.io",
        body_version="v1",
    )
    catalog.subresource("certificates.k8s.io", "v1", "certificatesigningrequests", "approval", approval.HANDLERS)
    issuer.add(api, tokens)
