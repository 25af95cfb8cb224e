"""From objects to Envoy's resources, step by step, and only where something changed.

    objects ──put──▶ World ──gateways──▶ routes ──▶ tables, clusters, secrets, listeners ──▶ Ads
                                                                        └──▶ statuses that are due

Each step is a computation of ``World``, which knows what it read: ``update`` runs those that are dirty, in the order of
``_steps``, until none is. The steps are in ``stages/``. What a status depends on makes it due; it is written when Envoy has
answered to the push.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sampan.gateway.infrastructure import HostPorts, Ports
from sampan.gateway.ingress.stage import Ingresses
from sampan.gateway.ingress.translation import KINDS as TRANSLATED
from sampan.gateway.issuers import Issuer
from sampan.gateway.kinds import resources as r
from sampan.gateway.model.indexes import GATEWAYS, add_indexes
from sampan.gateway.model.routes import RouteId
from sampan.gateway.model.world import Computation, Surroundings, World
from sampan.gateway.stages.filters import Filters
from sampan.gateway.stages.gateways import Gateways
from sampan.gateway.stages.mesh import Mesh
from sampan.gateway.stages.plugins import Plugins
from sampan.gateway.stages.resources import Resources
from sampan.gateway.stages.routes import ROUTE_MODELS, Routes
from sampan.gateway.status import STATUSES
from sampan.gateway.xds import metrics
from sampan.gateway.xds.ads import Ads
from sampan.gateway.xds.offers import table_of
from sampan.gateway.xds.tables import Tables
from sampan.gateway.xds.types import EXTENSION, LISTENER, ROUTES
from sampan.schema.objects import Object

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
        self._held: set[RouteId] = set()
        """Routes that wait for their listener."""
        out = self._out = Resources(self.world, ads)
        self.ingresses = Ingresses(self.world, self.put)
        self._filters = Filters(out, self.tables)
        self._routes = Routes(out, self.tables, self._filters)
        self._gateways = Gateways(out, self.tables, self.ports)
        self._mesh = Mesh(out, self.tables, self.ports, self._routes)
        self._plugins = Plugins(out)
        self.routes, self.gateways, self.waypoints = self._routes.models, self._gateways.models, self._mesh.waypoints
        self.issuers, self.databases = self._plugins.issuers, self._plugins.databases
        self.taken_versions, self.gateway_ports = self._plugins.taken_versions, self._gateways.ports_of
        self._steps: dict[str, Callable[..., None]] = {
            "translation": self.ingresses.translate,
            "shared": self.ingresses.share,
            "gateway": self._gateways.compute,
            "hook": self._plugins.compute_hook,
            "route": self._routes.compute,
            "filters": self._filters.compute,
            "mesh": self._mesh.compute,
            "plugin": self._plugins.compute,
            "merged": self._routes.compute_merged,
            "cluster": out.compute_cluster,
            "endpoints": out.compute_endpoints,
            "inner": self._filters.compute_inner,
            "listener": self._gateways.compute_listener,
            "secret": out.compute_secret,
        }
        """Computations in the order in which they run; ``status`` is not run here but noted as due."""
        for type_url, name, message in metrics.resources(self.world):
            out.emit(type_url, name, message)

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
        return bool(self._routes.consumers)

    def put_plugin(self, key: str, live: Any, problem: str) -> None:
        """Take over which version of a plugin is live (None: none), and why a newer one is not."""
        self._plugins.put(key, live, problem)

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
            for table in {*self._out.tables_of.get(name, ()), *self.tables.restricted}:
                self.tables.offer(table, self.ads.offered(table))
            self._note_held()
        if type_url == EXTENSION:
            if not text:
                self.world.put("Taken", name, True)
            self._plugins.judged.answered(name, number, text)
        if type_url == ROUTES:
            if (table := table_of(name)) in self._filters.ending:
                self.world.dirty.add(("filters", table))
            self._on_table(name, number, text)

    def _note_held(self) -> None:
        found = self.tables.held()
        for route in self._held | found.keys():
            self.world.put("RouteHeld", route, found.get(route))
        self._held = set(found)

    # through

    def update(self) -> int:
        """Bring Envoy's resources up to date; return the number of the push that has them all."""
        number = self._push()
        while self.has_news():
            number = self._push()
        return number

    def has_news(self) -> bool:
        """Whether there is something to update. What changed of a table and comes to what it was has no answer of its own:
        what Envoy said of it then is heard again here."""
        for table in self.tables.open():
            if (refused := self.ads.judgement(table)) is not None:
                for name, text in refused.items():
                    self._on_table(name, self.ads.sequence, text)
                if table not in self.tables.changed:
                    self._on_table(table, self.ads.sequence, "")
        return bool(self.world.dirty or self.tables.changed)

    def _push(self) -> int:
        self._run()
        self._note_held()
        changed = set(self.tables.changed)
        for name in changed:
            self.ads.needs[name] = self.tables.needs(name)
        for type_url, name, content in list(self.tables.encoded()):
            self.ads.change(type_url, name, content)
        for name in self._gateways.parted:
            self.world.put("Scoped", name, self.tables.is_scoped(name) or None)
        self._run()
        number = self.ads.push()
        self.tables.sent(changed, number)
        return number

    def _on_table(self, name: str, number: int, text: str) -> None:
        for route, words in self.tables.answered(name, number, text).items():
            self.world.put("RouteRefusal", route, words)

    def _run(self) -> None:
        """Run the computations that are dirty; note the statuses that are due."""
        dirty = self.world.dirty
        while dirty:
            statuses = {entry for entry in dirty if entry[0] == "status"}
            if statuses:
                dirty -= statuses
                self.due |= {(str(kind), str(key)) for _, kind, key in statuses}
            stage = next((stage for stage in self._steps if any(entry[0] == stage for entry in dirty)), None)
            if stage is None:
                continue
            batch = [entry for entry in dirty if entry[0] == stage]
            dirty.difference_update(batch)
            step = self._steps[stage]
            for computation in batch:
                with self.world.computing(computation):
                    step(*computation[1:])

    # out

    def status(self, kind: str, key: str, moment: Any) -> Object | None:
        """Return the status that an object should have; None when we have nothing to say."""
        computation: Computation = ("status", kind, key)
        with self.world.computing(computation):
            result = STATUSES[kind](self.world, key, moment)
        if self.world.all(kind).get(key) is None:
            self.world.drop(computation)
        return result
