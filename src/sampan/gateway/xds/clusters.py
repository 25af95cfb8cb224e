"""Clusters and their endpoints. Source: Envoy's ``config.cluster.v3`` and ``config.endpoint.v3``."""

from __future__ import annotations

from collections.abc import Iterable
from math import lcm
from sys import intern
from typing import Any

from sampan.gateway.filters import safe_retry
from sampan.gateway.model import urls
from sampan.gateway.model.backends import REFUSING_CLUSTER, ClusterRef, policy_of, service_port
from sampan.gateway.model.durations import milliseconds
from sampan.gateway.model.indexes import SLICES
from sampan.gateway.model.policies import SYSTEM, TlsPolicy, traffic_policy, validation_of
from sampan.gateway.model.routes import Share
from sampan.gateway.model.secrets import text_of
from sampan.gateway.model.verdicts import Unresolved
from sampan.gateway.model.world import World
from sampan.gateway.xds.clients import STREAM_WINDOW_BYTES, STREAMS_INSIDE, STREAMS_OF_PYTHON
from sampan.gateway.xds.tls import ADS_SOURCE, upstream_socket, url_socket
from sampan.schema.objects import Object

STATIC, STRICT_DNS, LOGICAL_DNS, EDS = 0, 1, 2, 3
UDP = 1
ALL = 4
"""Both families: with ``LOGICAL_DNS``, the one that answers first is connected to (RFC 8305)."""
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HTTP2_PORTS = ("kubernetes.io/h2c", "grpc")
WINDOW = {"initial_stream_window_size": {"value": STREAM_WINDOW_BYTES}}
"""What a backend may send on a stream before its client reads it: Envoy's own 16 MiB would be held for each slow one."""
IDLE, IDLE_FAR = ({"common_http_protocol_options": {"idle_timeout": {"seconds": seconds}}} for seconds in (15, 50))
"""How long a connection to a Service, and to a server outside of the cluster, waits for its next request: each takes Envoy
16 kB. Envoy's own hour is longer than any server's keep-alive (Tomcat 20 s, Jetty 30 s, load balancers 60 s), and a request
that meets a server's end of it would fail or be tried again. A new one costs a Service's client less than a millisecond."""
MANY = {"value": 1_000_000}
"""No limit of ours: Envoy's own (1,024 connections and requests) would answer 503 under load."""


def service_cluster(world: World, ref: ClusterRef) -> dict[str, Any] | None:
    """Return the cluster of a Service's port or an XBackend, None when it is gone. Reads its policies."""
    if ref.kind == "XBackend":
        return external_cluster(world, ref)
    if ref.kind == urls.KIND:
        return url_cluster(world, ref)
    service = world.get("Service", ref.key)
    port = service_port(service, ref.port, "UDP" if ref.protocol == "udp" else "TCP") if service is not None else None
    if port is None:
        return None
    cluster: dict[str, Any] = {
        "name": ref.name,
        "type": EDS,
        "eds_cluster_config": {"eds_config": ADS_SOURCE},
        "connect_timeout": {"seconds": 2},
        "circuit_breakers": {"thresholds": [thresholds(traffic_policy(world, intern(f"Service {ref.key}")))]},
    }
    http2 = ref.protocol == "h2" or port.get("appProtocol") in HTTP2_PORTS
    policy = policy_of(world, ref) if ref.protocol != "udp" else None
    if ref.protocol != "udp":
        speak(cluster, policy, ref, http2, IDLE)
    return cluster


def speak(cluster: dict[str, Any], policy: TlsPolicy | None, ref: ClusterRef, http2: bool, idle: Object) -> None:
    """Give a cluster its TLS and its protocol, and what is sent again; ``idle``: how long its connections wait."""
    if policy is not None:
        cluster["transport_socket"] = upstream_socket(
            policy, ref.client_certificate, ["h2"] if http2 else ["h2", "http/1.1"]
        )
    if http2:
        options = http2_options()
    elif policy is not None:
        automatic: dict[str, Any] = {"auto_config": {"http_protocol_options": {}, "http2_protocol_options": WINDOW}}
        options = {"@type": HTTP_OPTIONS, **automatic}
    else:
        options = http1_options()
    again = {} if ref.own_tries else {"retry_policy": safe_retry.POLICY}
    cluster["typed_extension_protocol_options"] = {HTTP_OPTIONS: {**options, **idle, **again}}


def thresholds(policy: Object | None) -> dict[str, Any]:
    """Return the limits of a cluster: none but the retry budget of its traffic policy."""
    result: dict[str, Any] = dict.fromkeys(
        ("max_connections", "max_pending_requests", "max_requests", "max_retries"), MANY
    )
    constraint = ((policy or {}).get("spec") or {}).get("retryConstraint")
    if constraint:
        rate = constraint.get("minRetryRate") or {}
        per_second = (rate.get("count") or 10) * 1000 / (milliseconds(rate.get("interval") or "1s") or 1000)
        percent = (constraint.get("budget") or {}).get("percent", 20)
        result["retry_budget"] = {
            "budget_percent": {"value": float(percent)},
            "min_retry_concurrency": {"value": max(1, round(per_second))},
        }
    return result


def external_cluster(world: World, ref: ClusterRef) -> dict[str, Any] | None:
    """Return the cluster of an XBackend: a host name of the world outside, resolved again as its records expire."""
    backend = world.get("XBackend", ref.key)
    if backend is None:
        return None
    spec = backend["spec"]
    hostname = (spec.get("externalHostname") or {}).get("hostname", "")
    address = {"socket_address": {"address": hostname, "port_value": ref.port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address, "hostname": hostname}}]}]
    cluster: dict[str, Any] = {
        "name": ref.name,
        "type": STRICT_DNS,
        "connect_timeout": {"seconds": 5},
        "respect_dns_ttl": True,
        "load_assignment": {"cluster_name": ref.name, "endpoints": endpoints},
    }
    policy = external_policy(world, ref)
    http2 = ref.protocol == "h2" or spec.get("protocol") in ("HTTP2", "H2C", "GRPC")
    speak(cluster, policy, ref, http2, IDLE_FAR)
    return cluster


def url_cluster(world: World, ref: ClusterRef) -> dict[str, Any] | None:
    """Return the cluster of a URL, resolved again as its records expire; None where it leads nowhere (routes tell that)."""
    server = urls.cluster_server(ref)
    try:
        address = urls.connect_to(server.host, server.trust.namespace, world) or server.host
        trusted = authorities_of(world, server.trust) if server.scheme == "https" else None
    except Unresolved:
        return None
    endpoint = {"address": {"socket_address": {"address": address, "port_value": ref.port}}, "hostname": server.host}
    cluster: dict[str, Any] = {
        "name": ref.name,
        "type": LOGICAL_DNS,
        "dns_lookup_family": ALL,
        "connect_timeout": {"seconds": 5},
        "respect_dns_ttl": True,
        "circuit_breakers": {"thresholds": [thresholds(None)]},
        "load_assignment": {
            "cluster_name": ref.name,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    }
    if server.scheme == "https":
        cluster["transport_socket"] = url_socket(server.host, trusted)
    cluster["typed_extension_protocol_options"] = {HTTP_OPTIONS: {**http1_options(), **IDLE_FAR}}
    return cluster


def authorities_of(world: World, trust: urls.Trust) -> dict[str, Any] | None:
    """Return the part of a validation that says whom to believe, None where everybody is. Raises ``Unresolved``."""
    if trust.insecure:
        return None
    if not trust.secret:
        return {"system_root_certs": {}}
    text = text_of(world, trust.namespace, trust.secret, ("tls.ca", "ca.crt"))
    return {"trusted_ca": {"inline_string": text}}


def external_policy(world: World, ref: ClusterRef) -> TlsPolicy | None:
    """Return the TLS that an XBackend asks for, None when it is plain."""
    backend = world.get("XBackend", ref.key)
    tls = ((backend or {}).get("spec") or {}).get("tls") or {}
    if tls.get("mode", "None") == "None":
        return None
    return validation_of(world, "XBackend", ref.key.partition("/")[0], tls["validation"])


def http1_options() -> dict[str, Any]:
    return {"@type": HTTP_OPTIONS, "explicit_http_config": {"http_protocol_options": {}}}


def http2_options(limit: dict[str, Any] | None = None) -> dict[str, Any]:
    """``limit``: of requests at once on a connection, where the other end's is known; else as it says when it is asked."""
    options = {**WINDOW, **(limit or {})}
    return {"@type": HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": options}}


def endpoints_of(slices: list[Object], port: Object) -> list[tuple[str, int]]:
    """Return the ready endpoints of a Service's port; terminating ones that still serve, when no other is left.

    IPv6 addresses are only taken where there is no other: the gateway's node may have none itself."""
    ready: set[tuple[str, int]] = set()
    serving: set[tuple[str, int]] = set()
    for endpoint_slice in slices:
        numbers = [
            p["port"]
            for p in endpoint_slice.get("ports") or ()
            if (p.get("name") or "") == (port.get("name") or "") and p.get("port")
        ]
        for endpoint in endpoint_slice.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            places = {(address, number) for number in numbers for address in endpoint["addresses"]}
            if conditions.get("ready", True) is not False:
                ready |= places
            elif conditions.get("serving") and conditions.get("terminating"):
                serving |= places
    found = sorted(ready or serving)
    return [place for place in found if ":" not in place[0]] or found


def service_endpoints(world: World, ref: ClusterRef) -> list[tuple[str, int]]:
    service = world.get("Service", ref.key)
    port = service_port(service, ref.port, "UDP" if ref.protocol == "udp" else "TCP") if service is not None else None
    return endpoints_of(world.find(SLICES, ref.key), port) if port is not None else []


def lb_endpoint(address: str, port: int, protocol: int = 0, weight: int = 0) -> dict[str, Any]:
    socket: dict[str, Any] = {"address": address, "port_value": port}
    if protocol:
        socket["protocol"] = protocol
    result: dict[str, Any] = {"endpoint": {"address": {"socket_address": socket}}}
    if weight:
        result["load_balancing_weight"] = {"value": weight}
    return result


def load_assignment(name: str, endpoints: list[dict[str, Any]]) -> dict[str, Any]:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}] if endpoints else []}


def service_load_assignment(world: World, ref: ClusterRef) -> dict[str, Any]:
    protocol = UDP if ref.protocol == "udp" else 0
    return load_assignment(ref.name, [lb_endpoint(a, p, protocol) for a, p in service_endpoints(world, ref)])


def cluster_of_endpoints(name: str) -> dict[str, Any]:
    """Return a cluster whose endpoints are told by EDS, and nothing more of it."""
    return {
        "name": name,
        "type": EDS,
        "eds_cluster_config": {"eds_config": ADS_SOURCE},
        "connect_timeout": {"seconds": 2},
        "circuit_breakers": {"thresholds": [thresholds(None)]},
    }


def datagram_cluster(name: str) -> dict[str, Any]:
    """Return the cluster of a UDPRoute that has several backends: Envoy weighs endpoints there, not clusters."""
    return cluster_of_endpoints(name)


def merged_load_assignment(world: World, name: str, shares: Iterable[Share]) -> dict[str, Any]:
    """Return the endpoints of several Services, each with its part of its Service's weight."""
    known = [(share, service_endpoints(world, share.cluster)) for share in shares if share.cluster is not None]
    counts = [len(places) for _, places in known if places]
    whole = lcm(*counts) if counts else 1
    endpoints = [
        lb_endpoint(address, port, UDP, max(1, share.weight * whole // len(places)))
        for share, places in known
        for address, port in places
    ]
    return load_assignment(name, endpoints)


def secrets_of(world: World, ref: ClusterRef) -> set[str]:
    """Return the SDS names that a cluster's TLS asks for."""
    if ref.protocol == "udp" or ref.kind == urls.KIND:
        return set()
    policy = external_policy(world, ref) if ref.kind == "XBackend" else policy_of(world, ref)
    if policy is None:
        return set()
    names = {ref.client_certificate, policy.authorities}
    return names - {"", SYSTEM}


def pipe_cluster(name: str, path: str, *, http2: bool, streams: dict[str, Any] = STREAMS_INSIDE) -> dict[str, Any]:
    """Return a cluster that is a Unix socket of this Envoy itself, or with other ``streams`` of a process beside it."""
    assignment = {
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": path}}}}]}],
    }
    cluster: dict[str, Any] = {
        "name": name,
        "type": STATIC,
        "connect_timeout": {"seconds": 2},
        "circuit_breakers": {"thresholds": [thresholds(None)]},
        "load_assignment": assignment,
    }
    if http2:
        cluster["typed_extension_protocol_options"] = {HTTP_OPTIONS: http2_options(streams)}
    return cluster


def process_cluster(name: str) -> dict[str, Any]:
    """Return the cluster of a plugin's processes. They come as endpoints: a change of the cluster itself would end the calls
    that are on their way."""
    options = {HTTP_OPTIONS: http2_options(STREAMS_OF_PYTHON)}
    return {**cluster_of_endpoints(name), "typed_extension_protocol_options": options}


def process_endpoints(name: str, path: str) -> dict[str, Any]:
    """Return the endpoint of a plugin's process: its socket."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": path}}}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}


def refusing_cluster(world: World) -> dict[str, Any]:
    return pipe_cluster(REFUSING_CLUSTER, f"{world.surroundings.plugin_sockets}/refuses.sock", http2=False)
