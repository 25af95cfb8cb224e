"""From objects to Envoy's resources, step by step, and only where something changed.

    objects ──put──▶ World ──gateways──▶ routes ──▶ tables, clusters, secrets, listeners ──▶ Ads
                                                                        └──▶ statuses that are due

Each step is a computation of ``World``, which knows what it read: ``update`` runs those that are dirty, in the order of
``STAGES``, until none is. A step hands on by ``world.put`` or by saying what it uses (``_use``): a cluster is there for as
long as somebody uses it. What a status depends on makes it due; it is written when Envoy has answered to the push.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from sampan.gateway.filters.hook import serving
from sampan.gateway.filters.seam import HttpFilter
from sampan.gateway.infrastructure import HostPorts, Port, Ports
from sampan.gateway.ingress.stage import Ingresses
from sampan.gateway.ingress.translation import KINDS as TRANSLATED
from sampan.gateway.issuers import Issuer
from sampan.gateway.kinds import resources as r
from sampan.gateway.limits.service import SOCKET as LIMITS_SOCKET
from sampan.gateway.middlewares import databases_of, issuer_of
from sampan.gateway.middlewares.hooked import hook_app, hook_key
from sampan.gateway.middlewares.limits import LIMITS
from sampan.gateway.model.backends import ClusterRef
from sampan.gateway.model.certificates import SERVED, secret_of
from sampan.gateway.model.gateways import GatewayModel, gateway_model
from sampan.gateway.model.http_routes import REFUSES, http_route_model
from sampan.gateway.model.indexes import GATEWAYS, add_indexes
from sampan.gateway.model.listeners import Listener, ListenerId
from sampan.gateway.model.mesh import default_route, frontend, http_ports, is_consumer, mesh_key
from sampan.gateway.model.policies import SYSTEM
from sampan.gateway.model.ranked import Ranked
from sampan.gateway.model.routes import Place, RouteId, RouteModel, Stream
from sampan.gateway.model.stream_routes import stream_route_model
from sampan.gateway.model.world import Computation, Surroundings, World
from sampan.gateway.status import STATUSES
from sampan.gateway.uses import Uses
from sampan.gateway.xds import clusters, inner, listeners, metrics, plugins
from sampan.gateway.xds.ads import Ads
from sampan.gateway.xds.clients import STREAMS_OF_PYTHON
from sampan.gateway.xds.encode import encode
from sampan.gateway.xds.judged import JudgedPlugins
from sampan.gateway.xds.listeners import mesh_listener
from sampan.gateway.xds.offers import digest_of_filter, label
from sampan.gateway.xds.tables import Tables
from sampan.gateway.xds.types import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, PREFIX, ROUTES, SECRET
from sampan.schema.objects import Object

STAGES = (
    "translation", "shared", "gateway", "hook", "route", "filters", "mesh", "plugin", "merged", "cluster", "endpoints",
    "inner", "listener", "secret",
)  # fmt: skip
"""Computations in the order in which they run; ``status`` is not run here but noted as due."""
ROUTE_MODELS: dict[str, Callable[[World, str, str], RouteModel | None]] = {
    "HTTPRoute": http_route_model,
    "GRPCRoute": http_route_model,
    "TLSRoute": stream_route_model,
    "TCPRoute": stream_route_model,
    "UDPRoute": stream_route_model,
}
MIDDLEWARES = tuple(r.world_kind(resource) for resource in (r.MIDDLEWARES, r.TRAEFIK_MIDDLEWARES))


class Pipeline:
    def __init__(self, surroundings: Surroundings, ads: Ads) -> None:
        self.world = World(surroundings)
        add_indexes(self.world)
        self.ads = ads
        self.ads.on_answer = self._on_answer
        self.ports = HostPorts() if surroundings.on_host else Ports()
        self.tables = Tables()
        self.due: set[tuple[str, str]] = set()
        """``(kind, key)`` of objects whose status may have to be written."""
        self.gateways: dict[str, GatewayModel] = {}
        self.routes: dict[RouteId, RouteModel] = {}
        self.waypoints: dict[str, dict[Port, tuple[str, int]]] = {}
        """Service → its ports that routes hang on, each with its name and Envoy's port."""
        self._clusters = Uses(self._cluster_begins, self._cluster_ends)
        self._secrets = Uses(self._secret_begins, self._secret_ends)
        self._refs: dict[str, ClusterRef] = {}
        self._streams: dict[ListenerId, dict[RouteId, Stream]] = {}
        self._merged: dict[str, Stream] = {}
        self._slow: set[str] = set()
        """Plugins in Envoy's Python of which it is not shown that they are quick."""
        self._attached: dict[ListenerId, set[RouteId]] = {}
        self._filters: dict[str, Counter[HttpFilter]] = {}
        self._ending: dict[str, set[HttpFilter]] = {}
        """Table → filters of its listeners that are to go."""
        self._inner: dict[str, set[tuple[str, str]]] = {}
        self._users: dict[str, Counter[str]] = {}
        self._consumers: set[RouteId] = set()
        self.issuers: dict[tuple[str, str], Issuer] = {}
        """Middleware → the OpenID issuer that it names."""
        self.databases: dict[tuple[str, str], set[str]] = {}
        """Middleware → the paths of the databases that it names."""
        self._parted: set[str] = set()
        """Tables that are, or were, asked to be in parts."""
        self._defaults: dict[Place, tuple[Ranked, ...]] = {}
        self._tables_of: dict[str, frozenset[str]] = {}
        """Envoy's listener → the tables of its routes."""
        self._held: set[RouteId] = set()
        """Routes that wait for their listener."""
        self.judged = JudgedPlugins(self.world)
        self.ingresses = Ingresses(self.world, self.put)
        for type_url, name, message in metrics.resources(self.world):
            self._emit(type_url, name, message)

    # in

    def put(self, kind: str, key: str, obj: Object | None) -> None:
        """Take over an object of the cluster; None: it is gone."""
        changed = self.world.put_object(kind, key, obj)
        if kind in STATUSES:
            self.world.dirty.add(("status", kind, key))
        if not changed:
            return
        if kind == r.GATEWAYS.kind:
            self.world.dirty.add(("gateway", key))
        elif kind in ROUTE_MODELS:
            self.world.dirty.add(("route", kind, key))
        elif kind in TRANSLATED:
            self.world.dirty.add(("translation", kind, key))
        elif kind in MIDDLEWARES:
            self.world.dirty.add(("hook", kind, key))
        elif kind == r.GATEWAY_CLASSES.kind:
            for gateway in self.world.find(GATEWAYS, key):
                metadata = gateway["metadata"]
                self.world.dirty.add(("gateway", f"{metadata['namespace']}/{metadata['name']}"))

    def put_pod(self, key: str, pod: Object | None) -> None:
        """Take over the address of a pod (None: it is gone): routes for clients of its namespace are for it."""
        address = ((pod or {}).get("status") or {}).get("podIP")
        metadata = {"namespace": key.partition("/")[0], "name": key.partition("/")[2]}
        entry = {"metadata": metadata, "spec": {"address": address}} if address else None
        self.world.put_object("PodAddress", key, entry)

    @property
    def wants_pods(self) -> bool:
        """Whether there are routes for the clients of some namespace."""
        return bool(self._consumers)

    def put_plugin(self, key: str, live: Any, problem: str) -> None:
        """Take over which version of a plugin is live (None: none), and why a newer one is not."""
        self.world.put("PluginProblem", key, problem or None)
        if live is not None and live.is_slow:
            self._slow.add(key)
        else:
            self._slow.discard(key)
        self.world.put("SlowPython", "", min(self._slow, default=None))
        if (refused := self.world.get("RefusedPlugin", key)) is not None and refused[0] != live:
            self.world.put("RefusedPlugin", key, None)
        if self.world.put("LivePlugin", key, live):
            self.world.dirty.add(("plugin", key))

    def put_issuer(self, issuer: Issuer, known: dict[str, Any] | None, problem: str) -> None:
        """Take over what an OpenID issuer says of itself (None: that is not known), and what is wrong with it."""
        self.world.put("Discovery", issuer, known)
        self.world.put("DiscoveryProblem", issuer, problem or None)

    def put_database(self, path: str, copy: str | None, problem: str) -> None:
        """Take over where Envoy finds a database (None: nowhere), and what is wrong with the file."""
        self.world.put("Database", path, copy)
        self.world.put("DatabaseProblem", path, problem or None)

    def _on_answer(self, type_url: str, name: str, number: int, text: str) -> None:
        self.world.put("Refusal", (type_url, name), text or None)
        if type_url == LISTENER:
            for table in {*self._tables_of.get(name, ()), *self.tables.restricted}:
                self.tables.offer(table, self.ads.offered(table))
            self._note_held()
        if type_url == EXTENSION:
            if not text:
                self.world.put("Taken", name, True)
            self.judged.answered(name, number, text)
        if type_url == ROUTES:
            if (table := name.partition("|")[0]) in self._ending:
                self.world.dirty.add(("filters", table))
            for route, words in self.tables.answered(name, number, text).items():
                self.world.put("RouteRefusal", route, words)

    def _note_held(self) -> None:
        found = self.tables.held()
        for route in self._held | found.keys():
            self.world.put("RouteHeld", route, found.get(route))
        self._held = set(found)

    # through

    def update(self) -> int:
        """Bring Envoy's resources up to date; return the number of the push that has them all."""
        self._run()
        self._note_held()
        for name in self.tables.changed:
            self.ads.needs[name] = self.tables.needs(name)
        for type_url, name, content in list(self.tables.encoded(self.ads.sequence + 1)):
            self.ads.change(type_url, name, content)
        for name in self._parted:
            self.world.put("Scoped", name, self.tables.is_scoped(name) or None)
        self._run()
        return self.ads.push()

    def _run(self) -> None:
        """Run the computations that are dirty; note the statuses that are due."""
        dirty = self.world.dirty
        while dirty:
            statuses = {entry for entry in dirty if entry[0] == "status"}
            if statuses:
                dirty -= statuses
                self.due |= {(str(kind), str(key)) for _, kind, key in statuses}
            stage = next((stage for stage in STAGES if any(entry[0] == stage for entry in dirty)), None)
            if stage is None:
                continue
            batch = [entry for entry in dirty if entry[0] == stage]
            dirty.difference_update(batch)
            step = getattr(self, f"_compute_{stage}")
            for computation in batch:
                with self.world.computing(computation):
                    step(*computation[1:])

    def _emit(self, type_url: str, name: str, message: dict[str, Any] | None) -> bool:
        """Return whether that is news."""
        content = encode(type_url.removeprefix(PREFIX), message) if message is not None else None
        return self.ads.change(type_url, name, content)

    def _emit_listener(self, name: str, message: dict[str, Any] | None, tables: frozenset[str]) -> None:
        """Bring a listener to Envoy, with what it offers to the routes of its tables."""
        content = encode(LISTENER.removeprefix(PREFIX), message) if message is not None else None
        offers = {table: self.world.get("HttpFilters", table) or () for table in tables}
        self.ads.change(LISTENER, name, content, label(offers))
        note(self._tables_of, name, tables)

    def _compute_translation(self, kind: str, key: str) -> None:
        self.ingresses.translate(kind, key)

    def _compute_shared(self, ingress_class: str) -> None:
        self.ingresses.share(ingress_class)

    def _compute_gateway(self, key: str) -> None:
        old, new = self.gateways.get(key), gateway_model(self.world, key)
        if new is not None:
            self.gateways[key] = new
        else:
            self.gateways.pop(key, None)
        self.world.put("GatewayModel", key, new)
        self._set_tables(key, old, new)
        before = set(old.ports) if old is not None and old.is_accepted else set()
        after = set(new.ports) if new is not None and new.is_accepted else set()
        for number, transport in before - after:
            self._drop_listener(key, number, transport)
        self.world.dirty |= {("listener", key, number, transport) for number, transport in after - before}
        self.world.dirty.add(("status", "Gateway", key))
        for set_key, _ in (*(old.listener_sets if old else ()), *(new.listener_sets if new else ())):
            self.world.dirty.add(("status", "ListenerSet", set_key))
        if new is None:
            self.ports.release(key)

    def _set_tables(self, key: str, old: GatewayModel | None, new: GatewayModel | None) -> None:
        """Say which listeners share each table. Hosts of other TLS listeners of the port are known as theirs."""
        wanted: dict[str, tuple[set[str], set[str]]] = {}
        serving = [entry for entry in new.listeners if entry.serves] if new is not None and new.is_accepted else []
        for listener in serving:
            if listener.protocol not in ("HTTP", "HTTPS"):
                continue
            same = {
                other.hostname
                for other in serving
                if other.port == listener.port and other.protocol == listener.protocol
            }
            all_hosts, own = wanted.setdefault(listener.table(key), (set(), set()))
            all_hosts |= same
            own |= same if listener.protocol == "HTTP" else {listener.hostname}
        for listener in old.listeners if old is not None else ():
            name = listener.table(key)
            if name not in wanted and name in self.tables.tables:
                self.tables.drop(name)
        many = bool(new and new.parameters.get("manyHosts"))
        for name, (all_hosts, own) in wanted.items():
            self.tables.set_listeners(name, all_hosts, own, many=many)
            if many:
                self._parted.add(name)

    def _compute_route(self, kind: str, key: str) -> None:
        identity = RouteId(kind, key)
        old, new = self.routes.get(identity), ROUTE_MODELS[kind](self.world, kind, key)
        if new is not None:
            self.routes[identity] = new
        elif old is not None:
            del self.routes[identity]
        self.world.put("RouteModel", identity, new)
        self.world.dirty.add(("status", kind, key))
        self.tables.put(identity, old.places if old else {}, new.places if new else {})
        self.tables.forgive(identity, (*(old.places if old else ()), *(new.places if new else ())))
        self.world.put("RouteRefusal", identity, None)
        self._set_streams(identity, old, new)
        self._set_filters(old, new)
        self._set_attached(identity, old, new)
        self._set_users(old, new)
        namespace = key.partition("/")[0]
        if new is not None and any(is_consumer(parent.gateway, namespace) for parent in new.parents):
            self._consumers.add(identity)
        else:
            self._consumers.discard(identity)
        self._clusters.set(("route", *identity), new.clusters if new is not None else ())
        self._secrets.set(("route", *identity), new.secrets if new is not None else frozenset())

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
            self._emit(ENDPOINTS, name, None)
            self._emit(CLUSTER, name, None)

    def _set_filters(self, old: RouteModel | None, new: RouteModel | None) -> None:
        before, after = old.http_filters if old else {}, new.http_filters if new else {}
        for table in before.keys() | after.keys():
            if before.get(table) == after.get(table):
                continue
            counts = self._filters.setdefault(table, Counter())
            counts.update(after.get(table, ()))
            counts.subtract(before.get(table, ()))
            for entry in [entry for entry, count in counts.items() if count <= 0]:
                del counts[entry]
            self.world.dirty.add(("filters", table))

    def _compute_filters(self, table: str) -> None:
        """Say which filters the listeners of a table have. One that is needed no more stays until every Envoy has taken the
        table without it: requests would pass it meanwhile."""
        needed = self._filters.get(table, Counter())
        ending = {entry for entry in self.world.all("HttpFilters").get(table) or () if entry not in needed}
        under_way = self.ads.connected and table in self.tables.changed
        if ending and not under_way and self.ads.is_settled(table):
            standing = self.tables.needs(table)
            ending = {entry for entry in ending if digest_of_filter(entry) in standing}
        note(self._ending, table, ending)
        if self.world.put("HttpFilters", table, tuple(sorted({*needed, *ending})) or None):
            self.world.dirty.add(("inner", table))

    def _set_attached(self, identity: RouteId, old: RouteModel | None, new: RouteModel | None) -> None:
        before, after = listener_ids(old), listener_ids(new)
        for listener in before | after:
            routes = self._attached.setdefault(listener, set())
            (routes.add if listener in after else routes.discard)(identity)
            self.world.put("Attached", listener, len(routes) or None)
            if listener.parent.kind == "Service":
                self.world.dirty.add(("mesh", listener.parent.key))

    def _compute_mesh(self, key: str) -> None:
        """Stand before the ports of a Service that routes hang on."""
        service = self.world.get("Service", key)
        gateway = mesh_key(key)
        wanted: dict[Port, tuple[str, int]] = {}
        for entry in http_ports(service) if service is not None else ():
            listener = frontend(key, entry)
            if not self.world.get("Attached", listener.id):
                continue
            port = Port(gateway, listener.port, "TCP")
            wanted[port] = entry.get("name", ""), self.ports.of(port)
            table = listener.table(gateway)
            message = mesh_listener(self.world, gateway, listener, wanted[port][1])
            self._emit_listener(table, message, frozenset((table,)))
            self.tables.set_listeners(listener.table(gateway), ("*",), ("*",))
            self._set_default(key, listener)
        for port in self.waypoints.get(key, {}).keys() - wanted.keys():
            name = f"{gateway}/{port.number}"
            self._emit_listener(name, None, frozenset())
            self.tables.drop(name)
            self.ports.release(gateway, port.number)
            self._put_default(key, name, (), frozenset())
        if wanted:
            self.waypoints[key] = wanted
        else:
            self.waypoints.pop(key, None)
            self.world.drop(("mesh", key))

    def _set_default(self, key: str, listener: Listener) -> None:
        """Let clients pass to the Service itself where all routes are for others: those of another namespace."""
        table, namespace = listener.table(mesh_key(key)), key.partition("/")[0]
        if any(route.key.partition("/")[0] == namespace for route in self._attached.get(listener.id, ())):
            self._put_default(key, table, (), frozenset())
        else:
            ranked, cluster = default_route(key, listener.port)
            self._put_default(key, table, (ranked,), frozenset((cluster,)))

    def _put_default(self, key: str, table: str, ranked: tuple[Ranked, ...], clusters: frozenset[ClusterRef]) -> None:
        place = Place(table, "*", "*")
        before = self._defaults.pop(place, ())
        if ranked:
            self._defaults[place] = ranked
        self.tables.put(RouteId("Service", key), {place: before}, {place: ranked})
        self._clusters.set(("default", table), clusters)

    def _set_users(self, old: RouteModel | None, new: RouteModel | None) -> None:
        """Keep which Gateways lead to which backends: policies tell it in their status."""
        before, after = uses_of(old), uses_of(new)
        for target, gateway in before ^ after:
            counts = self._users.setdefault(target, Counter())
            counts[gateway] += 1 if (target, gateway) in after else -1
            if counts[gateway] <= 0:
                del counts[gateway]
            self.world.put("Users", target, frozenset(counts) or None)

    def _compute_plugin(self, key: str) -> None:
        loaded, news = serving(self.world, key), {}
        for type_url, name, message in plugins.of_plugin(self.world, key, loaded):
            changed = self._emit(type_url, name, message)
            if type_url == EXTENSION and changed:  # it is judged anew: a listener may name it again
                self.world.put("Refusal", (type_url, name), None)
                news[name] = message
            if type_url == EXTENSION and message is None:
                self.world.put("Taken", name, None)
        self.judged.sent(key, loaded, news, self.ads.sequence + 1)

    def _compute_inner(self, table: str) -> None:
        """Make what stands behind the ASGI middlewares of a table."""
        made: dict[tuple[str, str], dict[str, Any] | None] = {}
        for type_url, name, message in inner.resources(self.world, table, self.world.get("HttpFilters", table) or ()):
            made[type_url, name] = message
        for type_url, name in {**dict.fromkeys(self._inner.get(table, ())), **made}:
            content = made.get((type_url, name))
            if type_url == LISTENER:
                self._emit_listener(name, content, frozenset((table,) if content else ()))
            else:
                self._emit(type_url, name, content)
        self._inner[table] = set(made)

    def _compute_hook(self, kind: str, key: str) -> None:
        """Make what stands behind a Middleware: the hook that decides, the issuer to ask. Its routes tell what is wrong."""
        spec = (self.world.get(kind, key) or {}).get("spec") or {}
        note(self.databases, (kind, key), databases_of(spec))
        note(self.issuers, (kind, key), issuer_of(spec, key.partition("/")[0], self.world))
        app = hook_app(self.world, kind, key)
        name = hook_key(kind, key)
        if self.world.put("Hook", name, app) or app is not None:
            for type_url, resource, message in plugins.resources(self.world, name, app):
                self._emit(type_url, resource, message)

    def _compute_merged(self, name: str) -> None:
        stream = self._merged.get(name)
        if stream is not None:
            self._emit(CLUSTER, name, clusters.datagram_cluster(name))
            self._emit(ENDPOINTS, name, clusters.merged_load_assignment(self.world, name, stream.shares))

    def _cluster_begins(self, ref: ClusterRef) -> None:
        if ref == REFUSES:
            self._emit(CLUSTER, ref.key, clusters.refusing_cluster(self.world))
            self._emit(LISTENER, ref.key, listeners.refusing_listener(self.world))
            return
        if ref == LIMITS:
            path = f"{self.world.surroundings.plugin_sockets}/{LIMITS_SOCKET}"
            self._emit(CLUSTER, ref.key, clusters.pipe_cluster(ref.key, path, http2=True, streams=STREAMS_OF_PYTHON))
            return
        self._refs[ref.name] = ref
        self.world.dirty |= {("cluster", ref.name), ("endpoints", ref.name)}

    def _cluster_ends(self, ref: ClusterRef) -> None:
        if ref == REFUSES:
            self._emit(CLUSTER, ref.key, None)
            self._emit(LISTENER, ref.key, None)
            return
        if ref == LIMITS:
            self._emit(CLUSTER, ref.key, None)
            return
        del self._refs[ref.name]
        for stage, type_url in (("cluster", CLUSTER), ("endpoints", ENDPOINTS)):
            self.world.drop((stage, ref.name))
            self._emit(type_url, ref.name, None)
        self._secrets.set(("cluster", ref.name), frozenset())

    def _compute_cluster(self, name: str) -> None:
        ref = self._refs.get(name)
        if ref is None:
            return
        message = clusters.service_cluster(self.world, ref)
        self._emit(CLUSTER, name, message)
        self._secrets.set(("cluster", name), frozenset(clusters.secrets_of(self.world, ref)))

    def _compute_endpoints(self, name: str) -> None:
        ref = self._refs.get(name)
        if ref is not None and ref.kind == "Service":
            self._emit(ENDPOINTS, name, clusters.service_load_assignment(self.world, ref))

    def _compute_listener(self, key: str, number: int, transport: str) -> None:
        gateway = self.gateways.get(key)
        if gateway is None or not gateway.is_accepted or (number, transport) not in gateway.ports:
            self.world.get("GatewayModel", key)
            return
        self.world.get("GatewayModel", key)
        envoy_port = self.ports.of(Port(key, number, "UDP" if transport == "QUIC" else transport))
        found = listeners.gateway_listener(self.world, gateway, number, transport, envoy_port)
        name = listeners.listener_name(key, number, transport)
        tables = frozenset(found.tables) if found is not None else frozenset()
        self._emit_listener(name, found.message if found is not None else None, tables)
        user = "listener", name
        self._secrets.set(user, frozenset(found.secrets if found is not None else ()))
        self._clusters.set(user, frozenset(found.clusters if found is not None else ()))

    def _drop_listener(self, key: str, number: int, transport: str) -> None:
        name = listeners.listener_name(key, number, transport)
        self.world.drop(("listener", key, number, transport))
        self._emit_listener(name, None, frozenset())
        self.world.put("Refusal", (LISTENER, name), None)
        self._secrets.set(("listener", name), frozenset())
        self._clusters.set(("listener", name), frozenset())

    def _secret_begins(self, name: str) -> None:
        if name != SYSTEM:
            self.world.dirty.add(("secret", name))

    def _secret_ends(self, name: str) -> None:
        self.world.drop(("secret", name))
        self.world.put(SERVED, name, None)
        self._emit(SECRET, name, None)

    def _compute_secret(self, name: str) -> None:
        message = secret_of(self.world, name)
        if message is not None:  # a certificate that is gone or broken leaves the one before in service
            self._emit(SECRET, name, message)
            self.world.put(SERVED, name, True)

    # out

    def taken_versions(self) -> dict[str, str]:
        """Return the version of each plugin that Envoy has."""
        return {str(key): loaded.version for key, loaded in self.world.all("TakenPlugin").items()}

    def gateway_ports(self, key: str) -> dict[Port, int]:
        """Return Envoy's port for each port of a Gateway."""
        model = self.gateways[key]
        every = {(listener.port, listener.transport) for listener in model.listeners if listener.is_accepted}
        every |= {(number, "UDP") for number in model.quic_ports}
        ports = [Port(key, number, transport) for number, transport in every]
        return {port: self.ports.of(port) for port in ports}

    def status(self, kind: str, key: str, moment: Any) -> Object | None:
        """Return the status that an object should have; None when we have nothing to say."""
        computation: Computation = ("status", kind, key)
        with self.world.computing(computation):
            result = STATUSES[kind](self.world, key, moment)
        if self.world.all(kind).get(key) is None:
            self.world.drop(computation)
        return result


def note(table: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep a value under a key, nothing where there is none."""
    if value:
        table[key] = value
    else:
        table.pop(key, None)


def listener_ids(model: RouteModel | None) -> set[ListenerId]:
    if model is None:
        return set()
    return {attachment.listener.id for parent in model.parents for attachment in parent.attachments}


def uses_of(model: RouteModel | None) -> set[tuple[str, str]]:
    """Return ``(kind ns/name of a backend, Gateway)`` for what a route leads to."""
    if model is None:
        return set()
    gateways = {parent.gateway for parent in model.parents if parent.attachments and " " not in parent.gateway}
    return {(f"{ref.kind} {ref.key}", gateway) for ref in model.backends for gateway in gateways}


__all__ = ["EXTENSION", "Pipeline"]
