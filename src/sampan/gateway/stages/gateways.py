"""Gateways: which listeners share which table, and Envoy's listener for each port."""

from __future__ import annotations

from sampan.gateway.infrastructure import Port, Ports
from sampan.gateway.model.gateways import GatewayModel, gateway_model
from sampan.gateway.stages.resources import Resources
from sampan.gateway.xds import listeners
from sampan.gateway.xds.tables import Tables
from sampan.gateway.xds.types import LISTENER


class Gateways:
    def __init__(self, out: Resources, tables: Tables, ports: Ports) -> None:
        self.out, self.world, self.tables, self.ports = out, out.world, tables, ports
        self.models: dict[str, GatewayModel] = {}
        self.parted: set[str] = set()
        """Tables that are, or were, asked to be in parts."""

    def compute(self, key: str) -> None:
        old, new = self.models.get(key), gateway_model(self.world, key)
        if new is not None:
            self.models[key] = new
        else:
            self.models.pop(key, None)
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
                self.parted.add(name)

    def compute_listener(self, key: str, number: int, transport: str) -> None:
        gateway = self.models.get(key)
        if gateway is None or not gateway.is_accepted or (number, transport) not in gateway.ports:
            self.world.get("GatewayModel", key)
            return
        self.world.get("GatewayModel", key)
        envoy_port = self.ports.of(Port(key, number, "UDP" if transport == "QUIC" else transport))
        found = listeners.gateway_listener(self.world, gateway, number, transport, envoy_port)
        name = listeners.listener_name(key, number, transport)
        tables = frozenset(found.tables) if found is not None else frozenset()
        self.out.emit_listener(name, found.message if found is not None else None, tables)
        user = "listener", name
        self.out.secrets.set(user, frozenset(found.secrets if found is not None else ()))
        self.out.clusters.set(user, frozenset(found.clusters if found is not None else ()))

    def _drop_listener(self, key: str, number: int, transport: str) -> None:
        name = listeners.listener_name(key, number, transport)
        self.world.drop(("listener", key, number, transport))
        self.out.emit_listener(name, None, frozenset())
        self.world.put("Refusal", (LISTENER, name), None)
        self.out.secrets.set(("listener", name), frozenset())
        self.out.clusters.set(("listener", name), frozenset())

    def ports_of(self, key: str) -> dict[Port, int]:
        """Return Envoy's port for each port of a Gateway."""
        model = self.models[key]
        every = {(listener.port, listener.transport) for listener in model.listeners if listener.is_accepted}
        every |= {(number, "UDP") for number in model.quic_ports}
        ports = [Port(key, number, transport) for number, transport in every]
        return {port: self.ports.of(port) for port in ports}
