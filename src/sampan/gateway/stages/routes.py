"""Routes: what each comes to goes into the tables, and what it uses is there as long as it does."""

from __future__ import annotations

from collections.abc import Callable
from sys import intern

from sampan.gateway.model.http_routes import http_route_model, kept_once
from sampan.gateway.model.listeners import ListenerId
from sampan.gateway.model.mesh import is_consumer
from sampan.gateway.model.routes import RouteId, RouteModel, Stream
from sampan.gateway.model.stream_routes import stream_route_model
from sampan.gateway.model.world import World
from sampan.gateway.stages.filters import Filters
from sampan.gateway.stages.resources import Resources
from sampan.gateway.xds import clusters
from sampan.gateway.xds.tables import Tables
from sampan.gateway.xds.types import CLUSTER, ENDPOINTS

ROUTE_MODELS: dict[str, Callable[[World, str, str], RouteModel | None]] = {
    "HTTPRoute": http_route_model,
    "GRPCRoute": http_route_model,
    "TLSRoute": stream_route_model,
    "TCPRoute": stream_route_model,
    "UDPRoute": stream_route_model,
}


class Routes:
    def __init__(self, out: Resources, tables: Tables, filters: Filters) -> None:
        self.out, self.world, self.tables, self.filters = out, out.world, tables, filters
        self.models: dict[RouteId, RouteModel] = {}
        self.attached: dict[ListenerId, set[RouteId]] = {}
        self.consumers: set[RouteId] = set()
        """Those for the clients of their own namespace."""
        self._streams: dict[ListenerId, dict[RouteId, Stream]] = {}
        self._merged: dict[str, Stream] = {}
        self._users: dict[str, frozenset[tuple[str, int]]] = {}
        """Backend → the Gateways that lead to it, each with the number of its routes."""

    def compute(self, kind: str, key: str) -> None:
        identity = RouteId(kind, key)
        old, new = self.models.get(identity), ROUTE_MODELS[kind](self.world, kind, key)
        if new is not None:
            identity = new.id  # one of it for all that is kept by it
            self.models[identity] = new
        elif old is not None:
            del self.models[identity]
        self.world.put("RouteModel", identity, new)
        self.world.dirty.add(("status", kind, key))
        self.tables.put(identity, old.places if old else {}, new.places if new else {})
        self.tables.forgive(identity, (*(old.places if old else ()), *(new.places if new else ())))
        self.world.put("RouteRefusal", identity, None)
        self._set_streams(identity, old, new)
        self.filters.change(old, new)
        self._set_attached(identity, old, new)
        self._set_users(old, new)
        namespace = key.partition("/")[0]
        if new is not None and any(is_consumer(parent.gateway, namespace) for parent in new.parents):
            self.consumers.add(identity)
        else:
            self.consumers.discard(identity)
        self.out.clusters.set(("route", *identity), new.clusters if new is not None else ())
        self.out.secrets.set(("route", *identity), new.secrets if new is not None else frozenset())

    def _set_streams(self, identity: RouteId, old: RouteModel | None, new: RouteModel | None) -> None:
        before, after = old.streams if old else {}, new.streams if new else {}
        for listener in before.keys() | after.keys():
            streams = self._streams.setdefault(listener, {})
            if listener in after:
                streams[identity] = after[listener]
            else:
                streams.pop(identity, None)
            self.world.put("Streams", listener, tuple(streams.values()) or None)
        merged = next(iter(after.values()), None)
        if merged is not None and (identity.kind != "UDPRoute" or len(merged.shares) < 2):
            merged = None
        name = f"merged/{identity.key}"
        if merged is not None:
            self._merged[name] = merged
            self.world.dirty.add(("merged", name))
        elif identity.kind == "UDPRoute" and self._merged.pop(name, None) is not None:
            self.world.drop(("merged", name))
            self.out.emit(ENDPOINTS, name, None)
            self.out.emit(CLUSTER, name, None)

    def _set_attached(self, identity: RouteId, old: RouteModel | None, new: RouteModel | None) -> None:
        before, after = listener_ids(old), listener_ids(new)
        for listener in before | after:
            routes = self.attached.setdefault(listener, set())
            (routes.add if listener in after else routes.discard)(identity)
            self.world.put("Attached", listener, len(routes) or None)
            if listener.parent.kind == "Service":
                self.world.dirty.add(("mesh", listener.parent.key))

    def _set_users(self, old: RouteModel | None, new: RouteModel | None) -> None:
        """Keep which Gateways lead to which backends: policies tell it in their status."""
        before, after = uses_of(old), uses_of(new)
        for target, gateway in before ^ after:
            counts = dict(self._users.pop(target, ()))
            counts[gateway] = counts.get(gateway, 0) + (1 if (target, gateway) in after else -1)
            left = [(name, count) for name, count in counts.items() if count > 0]
            if left:
                self._users[target] = kept_once(frozenset(left))
            self.world.put("Users", target, kept_once(frozenset(name for name, _ in left)) or None)

    def compute_merged(self, name: str) -> None:
        stream = self._merged.get(name)
        if stream is not None:
            self.out.emit(CLUSTER, name, clusters.datagram_cluster(name))
            self.out.emit(ENDPOINTS, name, clusters.merged_load_assignment(self.world, name, stream.shares))


def listener_ids(model: RouteModel | None) -> set[ListenerId]:
    if model is None:
        return set()
    return {attachment.listener.id for parent in model.parents for attachment in parent.attachments}


def uses_of(model: RouteModel | None) -> set[tuple[str, str]]:
    """Return ``(kind ns/name of a backend, Gateway)`` for what a route leads to."""
    if model is None:
        return set()
    gateways = {parent.gateway for parent in model.parents if parent.attachments and " " not in parent.gateway}
    return {(intern(f"{ref.kind} {ref.key}"), gateway) for ref in model.backends for gateway in gateways}
