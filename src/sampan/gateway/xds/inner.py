"""The listener behind an ASGI middleware, for each table whose routes use it: the same routes, and what of the filters comes
after the middleware (others of its kind, sessions, the router). On a Unix socket, inside this Envoy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from sampan.gateway.filters import safe_retry, session
from sampan.gateway.filters.hook import is_middleware
from sampan.gateway.filters.seam import HttpFilter
from sampan.gateway.model.world import World
from sampan.gateway.plugins.asgi import inner_cluster
from sampan.gateway.xds.clients import INSIDE, STREAMS_INSIDE
from sampan.gateway.xds.clusters import pipe_cluster
from sampan.gateway.xds.http import connection_manager
from sampan.gateway.xds.listeners import pipe_listener
from sampan.gateway.xds.types import CLUSTER, LISTENER

ALWAYS_FORWARD_ONLY = 4
"""The outer listener has said already who the client is, and taken away what the client said of itself."""


def resources(world: World, table: str, filters: Iterable[HttpFilter]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield ``(type, name, message)`` for the middlewares among the filters of a table."""
    chain = sorted({*filters, session.FILTER, safe_retry.FILTER})
    for entry in chain:
        if not is_middleware(entry):
            continue
        name = inner_cluster(table, entry.name.removeprefix("plugin/"))
        path = f"{world.surroundings.plugin_sockets}/{hashlib.sha256(name.encode()).hexdigest()[:12]}.sock"
        rest = [other for other in chain if other > entry]
        if any(is_middleware(other) for other in rest):
            rest += [other for other in chain if other.name == "table"]
        manager = connection_manager(table, rest, INSIDE, scoped=bool(world.get("Scoped", table)))["typed_config"]
        manager = {key: value for key, value in manager.items() if key not in ("use_remote_address", "normalize_path")}
        manager["http2_protocol_options"] = {**manager["http2_protocol_options"], **STREAMS_INSIDE}
        manager |= {"stat_prefix": "inner", "forward_client_cert_details": ALWAYS_FORWARD_ONLY}
        yield CLUSTER, name, pipe_cluster(name, path, http2=True)
        yield LISTENER, name, pipe_listener(name, path, manager)
