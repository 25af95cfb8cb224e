"""Envoy's counters for Prometheus: ``http://NODE:10299/metrics``, which leads to its admin socket, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.gateway.model.world import World
from sampan.gateway.xds.clusters import pipe_cluster
from sampan.gateway.xds.http import ROUTER, static_manager
from sampan.gateway.xds.types import CLUSTER, LISTENER

PORT = 10299
ADMIN, METRICS = "sampan/admin", "sampan/metrics"


def resources(world: World) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield ``(type, name, message)``."""
    if not world.surroundings.metrics_port:
        return
    yield CLUSTER, ADMIN, pipe_cluster(ADMIN, f"{world.surroundings.plugin_sockets}/admin.sock", http2=False)
    get = {"name": ":method", "string_match": {"exact": "GET"}}
    action = {"cluster": ADMIN, "prefix_rewrite": "/stats/prometheus", "timeout": {"seconds": 30}}
    hosts = [
        {
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"path": "/metrics", "headers": [get]}, "route": action}],
        }
    ]
    router = [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}]
    manager = {"name": "http", "typed_config": static_manager("metrics", hosts, router)}
    address = {"address": world.surroundings.node_ip, "port_value": world.surroundings.metrics_port}
    yield (
        LISTENER,
        METRICS,
        {
            "name": METRICS,
            "address": {"socket_address": address},
            "ignore_global_conn_limit": True,
            "filter_chains": [{"name": METRICS, "filters": [manager]}],
        },
    )
