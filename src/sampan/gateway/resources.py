"""Envoy's resources for a whole world: listeners, route configurations, clusters, endpoints, plugins. Pure.

``translate`` returns the snapshot to publish (bytes by type and name), and what each route's problems are. Listeners are
named by Gateway and port, route configurations by Gateway and listener, clusters by Service and port (not by route, so that a
change of routes never touches connections). Source: Envoy's API v3.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sampan.gateway import ads
from sampan.gateway.attachment import Attachments, attach
from sampan.gateway.encode import encode
from sampan.gateway.routes import REFUSING_CLUSTER, Problems, Ranked, plugin_filter, rules_of
from sampan.gateway.world import World
from sampan.schema.objects import Object

ADS_SOURCE = {"ads": {}, "resource_api_version": 2}
EDS, STATIC = 3, 0
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


@dataclass
class Translation:
    """What the world comes to."""

    snapshot: dict[str, dict[str, bytes]]
    attachments: Attachments
    route_problems: dict[str, Problems] = field(default_factory=dict)
    listener_problems: dict[tuple[str, str], str] = field(default_factory=dict)


def translate(world: World) -> Translation:
    """Return the configuration of Envoy for the world."""
    attachments = attach(world)
    result = Translation({type_url: {} for type_url in ads.ORDER}, attachments)
    used: set[str] = set()
    cache: dict[str, list[Ranked]] = {}
    for key, gateway in world.our_gateways():
        by_port: dict[int, list[Object]] = {}
        for listener in gateway["spec"]["listeners"]:
            if listener["protocol"] in ("HTTP", "HTTPS"):
                by_port.setdefault(listener["port"], []).append(listener)
        for port, listeners in by_port.items():
            if (key, port) in world.ports:
                _add_listener(world, result, key, gateway, port, listeners, cache, used)
    _add_clusters(world, result, used)
    _add_plugins(world, result)
    return result


def _put(result: Translation, type_url: str, name: str, message: dict[str, Any]) -> None:
    result.snapshot[type_url][name] = encode(type_url.removeprefix(ads.PREFIX), message)


def _add_listener(
    world: World,
    result: Translation,
    key: str,
    gateway: Object,
    port: int,
    listeners: list[Object],
    cache: dict[str, list[Ranked]],
    used: set[str],
) -> None:
    """Add one port of a Gateway: its filter chains and their route configurations."""
    chains: list[dict[str, Any]] = []
    plain = [listener for listener in listeners if listener["protocol"] == "HTTP"]
    if plain:
        name = f"{key}/{port}"
        _add_routes(world, result, name, key, plain, cache, used)
        chains.append({"name": name, "filters": [connection_manager(world, name)]})
    for listener in listeners:
        if listener["protocol"] != "HTTPS":
            continue
        certificate = certificate_of(world, gateway, listener)
        if isinstance(certificate, str):
            result.listener_problems[key, listener["name"]] = certificate
            continue
        name = f"{key}/{port}/{listener['name']}"
        _add_routes(world, result, name, key, [listener], cache, used)
        match = {"server_names": [listener["hostname"]]} if listener.get("hostname") else {}
        chains.append(
            {
                "name": name,
                "filter_chain_match": {**match, "transport_protocol": "tls"},
                "filters": [connection_manager(world, name)],
                "transport_socket": tls_socket(certificate),
            }
        )
    if not chains:
        return
    secure = any(listener["protocol"] == "HTTPS" for listener in listeners)
    inspector = {
        "name": "tls_inspector",
        "typed_config": {"@type": "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
    }
    message = {
        "name": f"{key}/{port}",
        "address": {"socket_address": {"address": world.node_ip, "port_value": world.ports[key, port]}},
        "filter_chains": chains,
        "listener_filters": [inspector] if secure else [],
    }
    _put(result, ads.LISTENER, f"{key}/{port}", message)


def connection_manager(world: World, routes: str) -> dict[str, Any]:
    """Return the HTTP filter chain: plugins (asleep until a route wakes them), then the router."""
    filters: list[dict[str, Any]] = []
    for key in sorted(world.live_plugins):
        authorization = {
            "@type": "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "grpc_service": {
                "envoy_grpc": {"cluster_name": plugin_filter(key), "authority": "plugin"},
                "timeout": {"seconds": 10},
            },
            "status_on_error": {"code": 500},
            "transport_api_version": 2,
        }
        filters.append({"name": plugin_filter(key), "typed_config": authorization, "disabled": True})
    router = {"@type": "envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    filters.append({"name": "envoy.filters.http.router", "typed_config": router})
    manager = {
        "@type": HCM,
        "stat_prefix": "gateway",
        "rds": {"config_source": ADS_SOURCE, "route_config_name": routes},
        "http_filters": filters,
        "use_remote_address": {"value": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "strip_any_host_port": True,
        "normalize_path": {"value": True},
        "stream_idle_timeout": {"seconds": 0},
        "server_header_transformation": 2,
    }
    return {"name": "http", "typed_config": manager}


def _add_routes(
    world: World,
    result: Translation,
    name: str,
    key: str,
    listeners: list[Object],
    cache: dict[str, list[Ranked]],
    used: set[str],
) -> None:
    """Add a route configuration: one virtual host for each host name, its routes by precedence."""
    hosts: dict[str, list[Ranked]] = {}
    for listener in listeners:
        for attached in result.attachments.listeners.get((key, listener["name"]), ()):
            metadata = attached.route["metadata"]
            route_key = f"{metadata['namespace']}/{metadata['name']}"
            if route_key not in cache:
                problems = result.route_problems.setdefault(route_key, Problems())
                cache[route_key] = rules_of(world, attached.route, problems, used)
            for hostname in attached.hostnames:
                hosts.setdefault(hostname, []).extend(cache[route_key])
    virtual_hosts = []
    for hostname, ranked in sorted(hosts.items()):
        ordered = [entry.route for entry in sorted(ranked, key=lambda entry: entry.rank)]
        virtual_hosts.append({"name": hostname, "domains": [hostname], "routes": ordered})
    _put(result, ads.ROUTES, name, {"name": name, "virtual_hosts": virtual_hosts})


def certificate_of(world: World, gateway: Object, listener: Object) -> dict[str, bytes] | str:
    """Return the certificate and key of an HTTPS listener, or why there is none."""
    references = (listener.get("tls") or {}).get("certificateRefs") or []
    if not references:
        return "InvalidCertificateRef: the listener has no certificateRefs"
    reference = references[0]
    own = gateway["metadata"]["namespace"]
    namespace = reference.get("namespace") or own
    if not world.granted("Gateway", own, "Secret", namespace, reference["name"]):
        return f"RefNotPermitted: no ReferenceGrant of {namespace} permits the Secret {reference['name']}"
    data = (world.secrets.get(f"{namespace}/{reference['name']}") or {}).get("data") or {}
    if "tls.crt" not in data or "tls.key" not in data:
        return f"InvalidCertificateRef: Secret {namespace}/{reference['name']} does not exist, or has no tls.crt and tls.key"
    return {"certificate": base64.b64decode(data["tls.crt"]), "key": base64.b64decode(data["tls.key"])}


def tls_socket(certificate: Mapping[str, bytes]) -> dict[str, Any]:
    pair = {
        "certificate_chain": {"inline_bytes": certificate["certificate"]},
        "private_key": {"inline_bytes": certificate["key"]},
    }
    context = {
        "@type": "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [pair], "alpn_protocols": ["h2", "http/1.1"]},
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _add_clusters(world: World, result: Translation, used: set[str]) -> None:
    for name in sorted(used - {REFUSING_CLUSTER}):
        namespace, service_name, port = name.split("/")
        service = world.services[f"{namespace}/{service_name}"]
        entry = next(e for e in service["spec"]["ports"] if e["port"] == int(port))
        message: dict[str, Any] = {
            "name": name,
            "type": EDS,
            "eds_cluster_config": {"eds_config": ADS_SOURCE},
            "connect_timeout": {"seconds": 2},
        }
        if entry.get("appProtocol") in ("kubernetes.io/h2c", "grpc"):
            message["typed_extension_protocol_options"] = {HTTP_OPTIONS: http2_options()}
        _put(result, ads.CLUSTER, name, message)
        addresses = endpoints_of(world.slices.get(f"{namespace}/{service_name}", []), entry)
        _put(result, ads.ENDPOINTS, name, load_assignment(name, addresses))
    if REFUSING_CLUSTER in used:
        path = f"{world.plugin_sockets}/refuses.sock"
        _put(result, ads.CLUSTER, REFUSING_CLUSTER, pipe_cluster(REFUSING_CLUSTER, path, http2=False))
        _put(result, ads.LISTENER, REFUSING_CLUSTER, refusing_listener(path))


def http2_options() -> dict[str, Any]:
    return {"@type": HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": {}}}


def endpoints_of(slices: list[Object], port: Object) -> list[tuple[str, int]]:
    """Return the ready endpoints of a Service's port; terminating ones that still serve, when no other is left."""
    ready: list[tuple[str, int]] = []
    serving: list[tuple[str, int]] = []
    for endpoint_slice in slices:
        numbers = [
            p["port"]
            for p in endpoint_slice.get("ports") or ()
            if p.get("name", "") == port.get("name", "") and p.get("port")
        ]
        for endpoint in endpoint_slice.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            for number in numbers:
                for address in endpoint["addresses"]:
                    if conditions.get("ready", True) is not False:
                        ready.append((address, number))
                    elif conditions.get("serving") and conditions.get("terminating"):
                        serving.append((address, number))
    return sorted(set(ready or serving))


def load_assignment(name: str, addresses: list[tuple[str, int]]) -> dict[str, Any]:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}
        for address, port in addresses
    ]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}] if endpoints else []}


def pipe_cluster(name: str, path: str, *, http2: bool) -> dict[str, Any]:
    """Return a cluster that is a Unix socket of this Envoy itself."""
    assignment = {
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": path}}}}]}],
    }
    cluster: dict[str, Any] = {
        "name": name,
        "type": STATIC,
        "connect_timeout": {"seconds": 2},
        "load_assignment": assignment,
    }
    if http2:
        cluster["typed_extension_protocol_options"] = {HTTP_OPTIONS: http2_options()}
    return cluster


def refusing_listener(path: str) -> dict[str, Any]:
    """Return the listener behind ``REFUSING_CLUSTER``: 500 to everything."""
    routes = [{"match": {"prefix": "/"}, "direct_response": {"status": 500}}]
    router = {"@type": "envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": HCM,
        "stat_prefix": "refuses",
        "route_config": {"name": "refuses", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    return pipe_listener(REFUSING_CLUSTER, path, manager)


def pipe_listener(name: str, path: str, manager: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "address": {"pipe": {"path": path, "mode": 0o600}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def plugin_socket(world: World, key: str) -> str:
    """Return the path of a plugin's socket: short, whatever the names (107 bytes at most)."""
    return f"{world.plugin_sockets}/{hashlib.sha256(key.encode()).hexdigest()[:12]}.sock"


def _add_plugins(world: World, result: Translation) -> None:
    """Add each live plugin: a cluster, the listener behind it, and the filter, which alone changes with an edit (ECDS)."""
    for key, loaded in world.live_plugins.items():
        name, path = plugin_filter(key), plugin_socket(world, key)
        _put(result, ads.CLUSTER, name, pipe_cluster(name, path, http2=True))
        discovery = {
            "config_source": ADS_SOURCE,
            "type_urls": [ads.PREFIX + "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"],
        }
        routes = [{"match": {"prefix": "/"}, "direct_response": {"status": 404}}]
        manager = {
            "@type": HCM,
            "stat_prefix": "plugin",
            "codec_type": 2,
            "route_config": {"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [{"name": name, "config_discovery": discovery}],
        }
        _put(result, ads.LISTENER, name, pipe_listener(name, path, manager))
        options = {"interface": "asgi", "root_path": "", "loop": "asyncio", "lifespan": False}
        settings = json.dumps({"app": f"{loaded.module}:app", **options})
        module = {
            "@type": "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
            "dynamic_module_config": {"module": {"local": {"filename": world.pyvoy_module}}},
            "filter_name": "pyvoy",
            "terminal_filter": True,
            "filter_config": {"@type": "google.protobuf.StringValue", "value": settings},
        }
        _put(result, ads.EXTENSION, name, {"name": name, "typed_config": module})
