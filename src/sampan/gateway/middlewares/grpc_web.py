"""``grpcWeb``: gRPC-Web of browsers becomes gRPC; ``allowOrigins`` is its CORS."""

from __future__ import annotations

from sampan.gateway.filters import cors
from sampan.gateway.filters.seam import AWAKE, Draft, HttpFilter, Site
from sampan.schema.objects import Object

OPTIONS = ("allowOrigins",)
TYPE = "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"
FILTER = HttpFilter.of(70, "grpc-web", {"@type": TYPE})


def apply(settings: Object, draft: Draft, site: Site) -> None:
    origins = settings.get("allowOrigins") or []
    if origins:
        exposed = ["grpc-status", "grpc-message", "grpc-status-details-bin"]
        headers = ["content-type", "x-grpc-web", "x-user-agent", "grpc-timeout"]
        policy = {"allowOrigins": origins, "allowMethods": ["POST"], "allowHeaders": headers, "exposeHeaders": exposed}
        cors.apply(policy, draft, site)
    draft.need(FILTER, AWAKE)
