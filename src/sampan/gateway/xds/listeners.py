"""Envoy's listeners: one for each port of a Gateway, with a filter chain for each server name where there is TLS.

Chains with a name of their own are what lets Envoy change one and keep the connections of the others. Source: Envoy's
``config.listener.v3``; Gateway API v1 (which listener serves a connection).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sampan.gateway.filters import ALWAYS
from sampan.gateway.middlewares.tcp import ends_told
from sampan.gateway.model.backends import REFUSING_CLUSTER, ClusterRef
from sampan.gateway.model.gateways import GatewayModel
from sampan.gateway.model.hostnames import owner
from sampan.gateway.model.listeners import Listener
from sampan.gateway.model.routes import Share, Stream
from sampan.gateway.model.world import World
from sampan.gateway.stats import gateway_prefix
from sampan.gateway.xds.clients import HANDSHAKE, IN_CLUSTER, listener_limits
from sampan.gateway.xds.http import ROUTER, alternative_service, connection_manager, static_manager
from sampan.gateway.xds.observing import access_logs, observers_of, tracing
from sampan.gateway.xds.offers import name_for
from sampan.gateway.xds.tls import downstream_socket, quic_socket
from sampan.schema.objects import Object

TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
UDP_PROXY = "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig"
UDP_ROUTE = "envoy.extensions.filters.udp.udp_proxy.v3.Route"
TLS_INSPECTOR = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
UDP = 1
NOWHERE = "sampan/nowhere"
"""No such cluster: what is sent there is closed."""


@dataclass
class EnvoyListener:
    """A listener's message, and what else it names."""

    message: dict[str, Any]
    secrets: set[str] = field(default_factory=set)
    clusters: set[ClusterRef] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    """Of routes."""


def gateway_listener(
    world: World, gateway: GatewayModel, port: int, transport: str, envoy_port: int
) -> EnvoyListener | None:
    """Return the Envoy listener for a port of a Gateway, None when there is nothing to tell Envoy."""
    wanted = port, "TCP" if transport == "QUIC" else transport
    serving = [entry for entry in gateway.listeners if (entry.port, entry.transport) == wanted and entry.serves]
    own = gateway.addresses[0] if world.surroundings.on_host and gateway.addresses else world.surroundings.node_ip
    address: dict[str, Any] = {"address": own, "port_value": envoy_port}
    name = listener_name(gateway.key, port, transport)
    result = EnvoyListener({"name": name, "address": {"socket_address": address}})
    if transport == "UDP":
        address["protocol"] = UDP
        return udp_listener(world, serving, result)
    result.clusters |= observers_of(gateway)
    if transport == "QUIC":
        address["protocol"] = UDP
        return quic_listener(world, gateway, serving, result)
    chains: list[dict[str, Any]] = []
    plain = [entry for entry in serving if entry.protocol == "HTTP"]
    if plain:
        chains.append({"name": name, "filters": [manager(world, gateway, plain[0])]})
        result.tables.add(plain[0].table(gateway.key))
    for entry in serving:
        if entry.protocol == "HTTPS":
            socket = downstream_socket(entry, ["h2", "http/1.1"])
            result.tables.add(entry.table(gateway.key))
            chains.append(
                {
                    "name": entry.table(gateway.key),
                    "filter_chain_match": server_name_match(entry.hostname),
                    "filters": [manager(world, gateway, entry)],
                    "transport_socket": socket,
                }
            )
        elif entry.protocol == "TLS":
            chains += tls_chains(world, gateway, entry, serving)
        elif entry.protocol == "TCP":
            stream = oldest(world, entry)
            if stream is not None:
                chains.append({"name": name, "filters": stream_filters(gateway, stream, world)})
        result.secrets |= {*entry.certificates, *([entry.client_authorities] if entry.client_authorities else [])}
    if not chains:
        return None
    result.message |= {**listener_limits(), "filter_chains": chains}
    for chain in chains:
        if "transport_socket" in chain:
            chain["transport_socket_connect_timeout"] = HANDSHAKE
    if any(stream.counted for entry in serving for stream in streams_of(world, entry)):
        result.message["access_log"] = [ends_told()]
    if any(entry.protocol in ("HTTPS", "TLS") for entry in serving):
        result.message["listener_filters"] = [{"name": "tls_inspector", "typed_config": {"@type": TLS_INSPECTOR}}]
    return result


def listener_name(gateway: str, port: int, transport: str) -> str:
    """Return the name of Envoy's listener for a port of a Gateway. ``transport``: ``TCP``, ``UDP`` or ``QUIC``."""
    return f"{gateway}/{port}" + ("" if transport == "TCP" else f"/{transport.lower()}")


def quic_listener(
    world: World, gateway: GatewayModel, serving: list[Listener], result: EnvoyListener
) -> EnvoyListener | None:
    """Fill in the listener for HTTP/3: the same tables of routes as over TCP, chosen by the same server names."""
    chains = []
    for entry in serving:
        if entry.may_speak_quic:
            match = {"server_names": [entry.hostname]} if entry.hostname != "*" else {}
            result.tables.add(entry.table(gateway.key))
            chains.append(
                {
                    "name": entry.table(gateway.key),
                    "filter_chain_match": match,
                    "filters": [manager(world, gateway, entry, http3=True)],
                    "transport_socket": quic_socket(entry),
                }
            )
            result.secrets |= set(entry.certificates)
    if not chains:
        return None
    result.message |= {"udp_listener_config": {"quic_options": {}}, "filter_chains": chains}
    return result


def mesh_listener(world: World, key: str, listener: Listener, envoy_port: int) -> dict[str, Any]:
    """Return the listener that stands before a Service's port."""
    table = listener.table(key)
    wanted = world.get("HttpFilters", table) or ()
    address = {"address": world.surroundings.node_ip, "port_value": envoy_port}
    manager = connection_manager(table, {*ALWAYS, *wanted}, IN_CLUSTER, asks_for=name_for(table, wanted))
    chain = {"name": table, "filters": [manager]}
    return {"name": table, "address": {"socket_address": address}, "filter_chains": [chain]}


def manager(world: World, gateway: GatewayModel, entry: Listener, *, http3: bool = False) -> dict[str, Any]:
    table = entry.table(gateway.key)
    wanted = world.get("HttpFilters", table) or ()
    filters = {*ALWAYS, *wanted}
    if gateway.http3 and entry.may_speak_quic:
        filters.add(alternative_service(gateway.parameters["http3"].get("advertisedPort") or entry.port))
    return connection_manager(
        table,
        filters,
        gateway.parameters,
        prefix=gateway_prefix(gateway.key, entry.port),
        logs=access_logs(gateway, world.surroundings),
        tracing=tracing(gateway, entry.id.name if entry.protocol == "HTTPS" else str(entry.port)),
        http3=http3,
        client_certificates=bool(entry.client_authorities),
        scoped=bool(world.get("Scoped", table)),
        asks_for=name_for(table, wanted),
    )


def server_name_match(hostname: str) -> dict[str, Any]:
    match: dict[str, Any] = {"transport_protocol": "tls"}
    if hostname != "*":
        match["server_names"] = [hostname]
    return match


def streams_of(world: World, entry: Listener) -> list[Stream]:
    """Return the routes of a listener, oldest first."""
    return sorted(world.get("Streams", entry.id) or (), key=lambda stream: stream.age)


def oldest(world: World, entry: Listener) -> Stream | None:
    return next(iter(streams_of(world, entry)), None)


def tls_chains(world: World, gateway: GatewayModel, entry: Listener, serving: list[Listener]) -> list[dict[str, Any]]:
    """Return a chain for each host name of a TLS listener's routes; a name that another listener owns is left to it."""
    hosts = [other.hostname for other in serving]
    chains: dict[str, dict[str, Any]] = {}
    for stream in streams_of(world, entry):
        for hostname in stream.hostnames:
            if hostname in chains or owner(hosts, hostname) != entry.hostname:
                continue
            chain: dict[str, Any] = {
                "name": f"{entry.table(gateway.key)}/{hostname}",
                "filter_chain_match": server_name_match(hostname),
                "filters": stream_filters(gateway, stream, world),
            }
            if entry.mode == "Terminate":
                chain["transport_socket"] = downstream_socket(entry, [])
            chains[hostname] = chain
    return list(chains.values())


def stream_filters(gateway: GatewayModel, stream: Stream, world: World) -> list[dict[str, Any]]:
    """Return the network filters of a route's connections: those of its Middlewares, then the one that forwards."""
    before = [{"name": f"middleware/{number}", "typed_config": config} for number, config in enumerate(stream.filters)]
    return [*before, tcp_proxy(gateway, stream.shares, world)]


def tcp_proxy(gateway: GatewayModel, shares: tuple[Share, ...], world: World) -> dict[str, Any]:
    """Return the filter that forwards connections by weight; a share without a backend is closed."""
    named = [(share.cluster.name if share.cluster else NOWHERE, share.weight) for share in shares]
    config: dict[str, Any] = {"@type": TCP_PROXY, "stat_prefix": "tcp", "idle_timeout": {"seconds": 0}}
    if len(named) > 1:
        config["weighted_clusters"] = {"clusters": [{"name": name, "weight": weight} for name, weight in named]}
    else:
        config["cluster"] = named[0][0] if named else NOWHERE
    logs = access_logs(gateway, world.surroundings)
    if logs:
        config["access_log"] = logs
    return {"name": "tcp", "typed_config": config}


def udp_listener(world: World, serving: list[Listener], result: EnvoyListener) -> EnvoyListener | None:
    stream = oldest(world, serving[0]) if serving else None
    if stream is None:
        return None
    action = {"name": "route", "typed_config": {"@type": UDP_ROUTE, "cluster": datagram_cluster(stream)}}
    proxy = {"@type": UDP_PROXY, "stat_prefix": "udp", "matcher": {"on_no_match": {"action": action}}}
    result.message["udp_listener_config"] = {"downstream_socket_config": {}}
    result.message["listener_filters"] = [{"name": "udp_proxy", "typed_config": proxy}]
    return result


def datagram_cluster(stream: Stream) -> str:
    """Return the cluster of a UDPRoute: its backend's, or one of its own that merges several by weight."""
    if len(stream.shares) == 1:
        cluster = stream.shares[0].cluster
        return cluster.name if cluster is not None else NOWHERE
    return merged_cluster(stream)


def merged_cluster(stream: Stream) -> str:
    return f"merged/{stream.route.key}"


def pipe_listener(name: str, path: str, manager: dict[str, Any]) -> dict[str, Any]:
    """Return a listener on a Unix socket, inside this Envoy."""
    return {
        "name": name,
        "address": {"pipe": {"path": path, "mode": 0o600}},
        "ignore_global_conn_limit": True,  # whoever gets here has come in already
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def refusing_listener(world: World) -> Object:
    """Return the listener behind ``REFUSING_CLUSTER``: 500 to everything."""
    hosts = [
        {
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 500}}],
        }
    ]
    router = [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}]
    path = f"{world.surroundings.plugin_sockets}/refuses.sock"
    return pipe_listener(REFUSING_CLUSTER, path, static_manager("refuses", hosts, router))
