"""Routes of Services: a listener before each port of a Service that routes hang on."""

from __future__ import annotations

from sampan.gateway.infrastructure import Port, Ports
from sampan.gateway.model.backends import ClusterRef
from sampan.gateway.model.listeners import Listener
from sampan.gateway.model.mesh import default_route, frontend, http_ports, mesh_key
from sampan.gateway.model.ranked import Ranked
from sampan.gateway.model.routes import Place, RouteId
from sampan.gateway.stages.resources import Resources
from sampan.gateway.stages.routes import Routes
from sampan.gateway.xds.listeners import mesh_listener
from sampan.gateway.xds.tables import Tables


class Mesh:
    def __init__(self, out: Resources, tables: Tables, ports: Ports, routes: Routes) -> None:
        self.out, self.world, self.tables, self.ports, self.routes = out, out.world, tables, ports, routes
        self.waypoints: dict[str, dict[Port, tuple[str, int]]] = {}
        """Service → its ports that routes hang on, each with its name and Envoy's port."""
        self._defaults: dict[Place, tuple[Ranked, ...]] = {}

    def compute(self, key: str) -> None:
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
            self.out.emit_listener(table, message, frozenset((table,)))
            self.tables.set_listeners(listener.table(gateway), ("*",), ("*",))
            self._set_default(key, listener)
        for port in self.waypoints.get(key, {}).keys() - wanted.keys():
            name = f"{gateway}/{port.number}"
            self.out.emit_listener(name, None, frozenset())
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
        if any(route.key.partition("/")[0] == namespace for route in self.routes.attached.get(listener.id, ())):
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
        self.out.clusters.set(("default", table), clusters)
