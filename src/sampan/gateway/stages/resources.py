"""What Envoy is told, and what it is told as long as somebody uses it: clusters with their endpoints, secrets."""

from __future__ import annotations

from typing import Any

from sampan.gateway.limits.service import SOCKET as LIMITS_SOCKET
from sampan.gateway.middlewares.limits import LIMITS
from sampan.gateway.model.backends import ClusterRef
from sampan.gateway.model.certificates import SERVED, secret_of
from sampan.gateway.model.http_routes import REFUSES
from sampan.gateway.model.policies import SYSTEM
from sampan.gateway.model.world import World
from sampan.gateway.uses import Uses
from sampan.gateway.xds import clusters, listeners
from sampan.gateway.xds.ads import Ads
from sampan.gateway.xds.clients import STREAMS_OF_PYTHON
from sampan.gateway.xds.encode import encode
from sampan.gateway.xds.offers import label
from sampan.gateway.xds.types import CLUSTER, ENDPOINTS, LISTENER, PREFIX, SECRET


class Resources:
    def __init__(self, world: World, ads: Ads) -> None:
        self.world, self.ads = world, ads
        self.clusters = Uses(self._cluster_begins, self._cluster_ends)
        self.secrets = Uses(self._secret_begins, self._secret_ends)
        self.tables_of: dict[str, frozenset[str]] = {}
        """Envoy's listener → the tables of its routes."""
        self._refs: dict[str, ClusterRef] = {}

    def emit(self, type_url: str, name: str, message: dict[str, Any] | None) -> bool:
        """Return whether that is news."""
        content = encode(type_url.removeprefix(PREFIX), message) if message is not None else None
        return self.ads.change(type_url, name, content)

    def emit_listener(self, name: str, message: dict[str, Any] | None, tables: frozenset[str]) -> None:
        """Bring a listener to Envoy, with what it offers to the routes of its tables."""
        content = encode(LISTENER.removeprefix(PREFIX), message) if message is not None else None
        offers = {table: self.world.get("HttpFilters", table) or () for table in tables}
        self.ads.change(LISTENER, name, content, label(offers))
        note(self.tables_of, name, tables)

    def _cluster_begins(self, ref: ClusterRef) -> None:
        if ref == REFUSES:
            self.emit(CLUSTER, ref.key, clusters.refusing_cluster(self.world))
            self.emit(LISTENER, ref.key, listeners.refusing_listener(self.world))
            return
        if ref == LIMITS:
            path = f"{self.world.surroundings.plugin_sockets}/{LIMITS_SOCKET}"
            self.emit(CLUSTER, ref.key, clusters.pipe_cluster(ref.key, path, http2=True, streams=STREAMS_OF_PYTHON))
            return
        self._refs[ref.name] = ref
        self.world.dirty |= {("cluster", ref.name), ("endpoints", ref.name)}

    def _cluster_ends(self, ref: ClusterRef) -> None:
        if ref == REFUSES:
            self.emit(CLUSTER, ref.key, None)
            self.emit(LISTENER, ref.key, None)
            return
        if ref == LIMITS:
            self.emit(CLUSTER, ref.key, None)
            return
        del self._refs[ref.name]
        for stage, type_url in (("cluster", CLUSTER), ("endpoints", ENDPOINTS)):
            self.world.drop((stage, ref.name))
            self.emit(type_url, ref.name, None)
        self.secrets.set(("cluster", ref.name), frozenset())

    def compute_cluster(self, name: str) -> None:
        ref = self._refs.get(name)
        if ref is None:
            return
        message = clusters.service_cluster(self.world, ref)
        self.emit(CLUSTER, name, message)
        self.secrets.set(("cluster", name), frozenset(clusters.secrets_of(self.world, ref)))

    def compute_endpoints(self, name: str) -> None:
        ref = self._refs.get(name)
        if ref is not None and ref.kind == "Service":
            self.emit(ENDPOINTS, name, clusters.service_load_assignment(self.world, ref))

    def _secret_begins(self, name: str) -> None:
        if name != SYSTEM:
            self.world.dirty.add(("secret", name))

    def _secret_ends(self, name: str) -> None:
        self.world.drop(("secret", name))
        self.world.put(SERVED, name, None)
        self.emit(SECRET, name, None)

    def compute_secret(self, name: str) -> None:
        message = secret_of(self.world, name)
        if message is not None:  # a certificate that is gone or broken leaves the one before in service
            self.emit(SECRET, name, message)
            self.world.put(SERVED, name, True)


def note(table: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep a value under a key, nothing where there is none."""
    if value:
        table[key] = value
    else:
        table.pop(key, None)
