"""Services and their EndpointSlices as elements of nftables maps, computed and not applied.

``service_table.py`` tells what the maps are for, ``rule_table.py`` turns what changed between two results into one
transaction. Source: the behaviour of kube-proxy's nftables mode (KEP-3866), pkg/proxy/serviceport.go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sampan.network.families import Address, Family, Network, parse_address, parse_network
from sampan.network.nft_elements import Element, Value
from sampan.network.service_endpoints import Choice, Endpoint, Place, candidates, choose, endpoint_data
from sampan.network.service_table import INSIDE_OFFSET, ProxyConfig, address_key, port_key
from sampan.schema.objects import Object

SERVICE_NAME = "kubernetes.io/service-name"
OTHER_PROXY = "service.kubernetes.io/service-proxy-name"
HEADLESS = "service.kubernetes.io/headless"
WAYPOINT_FOR = "gateway.sampan.dev/waypoint-for"
"""Label of an EndpointSlice that leads to a proxy in front of the Service: ports that it has go there instead."""
PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
DEFAULT_AFFINITY_SECONDS = 10800
Frontend = tuple[Address | None, int]
"""An address and port that UDP goes to; without an address, a port of the node."""


class Affinity(NamedTuple):
    """The map and chains of a port whose clients go to the same endpoint for a time."""

    family: Family
    name: str
    seconds: int


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """What one Service needs in the tables."""

    elements: dict[Element, Value] = field(default_factory=dict)
    affinities: dict[Affinity, frozenset[Endpoint]] = field(default_factory=dict)
    """Each with the endpoints that clients may be remembered to have gone to."""
    datagrams: dict[Frontend, frozenset[Endpoint]] = field(default_factory=dict)
    """Where UDP may go: what connection tracking knows else is stale."""
    health_port: int = 0
    """``healthCheckNodePort``, where the Service has one."""
    local_endpoints: int = 0
    """How many ready endpoints are on this node."""
    without_local: frozenset[str] = frozenset()
    """Which traffic policies (``internal``, ``external``) are Local and find no endpoint here, of those that there are."""


NOTHING = ServiceRules()


def rules_of(
    service: Object | None, slices: Iterable[Object], config: ProxyConfig, place: Place | None = None
) -> ServiceRules:
    """Return the rules of a Service with its EndpointSlices; none for one that is not the proxy's business."""
    if service is None or not is_proxied(service):
        return NOTHING
    place = place or config.place()
    elements: dict[Element, Value] = {}
    affinities: dict[Affinity, frozenset[Endpoint]] = {}
    datagrams: dict[Frontend, frozenset[Endpoint]] = {}
    slices = list(slices)
    waypoints = [one for one in slices if WAYPOINT_FOR in (one["metadata"].get("labels") or {})]
    listed = [one for one in slices if not {HEADLESS, WAYPOINT_FOR} & (one["metadata"].get("labels") or {}).keys()]
    local: dict[Family, set[Address]] = {}
    without: set[str] = set()
    for family in config.families:
        cluster_ip = cluster_ip_of(service, family)
        if cluster_ip is None:
            continue
        for port in service["spec"].get("ports") or ():
            if (port.get("protocol") or "TCP") not in PROTOCOLS:
                continue
            found = candidates(waypoints, port, family, place) or candidates(listed, port, family, place)
            here = {one.endpoint.address for one in found if one.local and one.ready}
            local.setdefault(family, set()).update(here)
            one = PortRules(service, port, family, config, cluster_ip, choose(found, place))
            elements.update(one.elements())
            affinities.update(one.affinity())
            if one.protocol == "udp":
                serving = frozenset(each.endpoint for each in found if each.serving)
                datagrams.update(dict.fromkeys(one.frontends(), serving))
            without |= one.without_local()
    most = max(map(len, local.values()), default=0)
    return ServiceRules(elements, affinities, datagrams, health_check_port(service), most, frozenset(without))


class PortRules:
    """The rules of one port of a Service in one family."""

    def __init__(
        self,
        service: Object,
        port: Mapping[str, Any],
        family: Family,
        config: ProxyConfig,
        cluster_ip: Address,
        choice: Choice,
    ) -> None:
        self.service, self.spec, self.family, self.config = service, service["spec"], family, config
        self.protocol, self.port = PROTOCOLS[port.get("protocol") or "TCP"], int(port["port"])
        self.node_port = int(port.get("nodePort") or 0)
        self.cluster_ip, self.choice = cluster_ip, choice
        self.outer = [*external_addresses(service, family), *load_balancer_addresses(service, family)]
        self.internal_local = self.spec.get("internalTrafficPolicy") == "Local"
        self.external_local = self.spec.get("externalTrafficPolicy") == "Local"

    def frontends(self) -> Iterator[Frontend]:
        for address in (self.cluster_ip, *self.outer):
            yield address, self.port
        if self.node_port:
            yield None, self.node_port

    def without_local(self) -> set[str]:
        """Return which traffic policies are Local and have no endpoint here although there are some elsewhere."""
        lost = not self.choice.local and self.choice.anywhere
        outside = bool(self.node_port or self.outer)
        local = {"internal": self.internal_local, "external": self.external_local and outside}
        return {name for name, is_local in local.items() if is_local and lost}

    def elements(self) -> dict[Element, Value]:
        made: dict[Element, Value] = {}
        for name, key, value in self._all():
            made[self.family.nft, name, key] = value
        return made

    def _all(self) -> Iterator[tuple[str, bytes, Value]]:
        inside = self.choice.local if self.internal_local else self.choice.cluster
        yield from self._lead("ips", self._key(self.cluster_ip), inside)
        outside = self.choice.local if self.external_local else self.choice.cluster
        for address in self.outer:
            yield from self._lead("ips", self._key(address), outside)
        for address in load_balancer_addresses(self.service, self.family):
            yield from self._guard(address)
        if self.node_port:
            yield from self._lead("ports", port_key(self.protocol, self.node_port), outside)
        if self.external_local and self.choice.cluster != self.choice.local:
            # those inside, and the node itself, are not bound by the policy
            for address in self.outer:
                yield from self._lead_inside("ips", self._key(address))
            if self.node_port:
                yield from self._lead_inside("ports", port_key(self.protocol, self.node_port))
        both = self.choice.cluster is not self.choice.local and self.choice.cluster != self.choice.local
        for endpoint in {*self.choice.cluster, *self.choice.local} if both else self.choice.cluster:
            if any(endpoint.address in network for network in self.config.pod_cidrs):
                yield "hairpins", endpoint.address.packed * 2, None
        if self.config.masquerade:
            yield from self._masquerading()

    def _key(self, address: Address) -> bytes:
        return address_key(address, self.protocol, self.port)

    def _lead(self, kind: str, key: bytes, endpoints: list[Endpoint]) -> Iterator[tuple[str, bytes, Value]]:
        """Lead an address (or a node port) to endpoints, or have it refused."""
        if not endpoints:
            yield f"no_endpoint_{kind}", key, "drop" if self.choice.anywhere else "goto refuse"
            return
        port = kind == "ports"
        yield "node_ports" if port else "service_ips", key, f"goto pick{'-port' * port}-{len(endpoints)}"
        yield from _numbered(kind, key, endpoints)
        if affinity_seconds(self.spec):
            name = self._affinity_name()
            yield f"sticky_{kind}", key, f"jump {name}"
            yield f"remembered_{kind}", key, f"goto {name}-remember"

    def _lead_inside(self, kind: str, key: bytes) -> Iterator[tuple[str, bytes, Value]]:
        endpoints = self.choice.cluster
        if endpoints:
            yield f"inside_{kind}", key, f"goto inside{'-port' * (kind == 'ports')}-{len(endpoints)}"
            yield from _numbered(kind, key, endpoints, INSIDE_OFFSET)

    def _guard(self, address: Address) -> Iterator[tuple[str, bytes, Value]]:
        """Let only ``loadBalancerSourceRanges`` in, where there are such."""
        given = [found for text in self.spec.get("loadBalancerSourceRanges") or () if (found := parse_network(text))]
        if not given:
            return
        key = self._key(address)
        yield "guarded", key, None
        ranges: list[Network] = [one for one in given if one.version == self.family.version]
        if any(node in one for one in ranges for node in self.config.node_ips if node.version == one.version):
            # where the address is one of the node's own, that is what the node's connections come from
            ranges.append(parse_network(str(address)) or ranges[0])
        for one in _collapsed(ranges):
            yield "sources", key + one.network_address.packed + key + one.broadcast_address.packed, None

    def _masquerading(self) -> Iterator[tuple[str, bytes, Value]]:
        yield "masquerading_ips", self._key(self.cluster_ip), "goto masquerade-outside"
        how = "goto masquerade-own" if self.external_local else "goto masquerade-all"
        for address in self.outer:
            yield "masquerading_ips", self._key(address), how
        if self.node_port:
            yield "masquerading_ports", port_key(self.protocol, self.node_port), how

    def affinity(self) -> dict[Affinity, frozenset[Endpoint]]:
        seconds = affinity_seconds(self.spec)
        if not seconds or not (endpoints := frozenset((*self.choice.cluster, *self.choice.local))):
            return {}
        return {Affinity(self.family, self._affinity_name(), seconds): endpoints}

    def _affinity_name(self) -> str:
        """Return a name that a person recognises and no other port has (with ``-remember``, 127 characters at most)."""
        metadata, seconds = self.service["metadata"], affinity_seconds(self.spec)
        full = f"{metadata.get('namespace')}/{metadata['name']}/{self.protocol}/{self.port}"
        mark = hashlib.sha256(f"{full}/{seconds}".encode()).hexdigest()[:8]
        return f"affinity-{mark}-{full}"[:110].rstrip("-./")


def _numbered(kind: str, key: bytes, endpoints: list[Endpoint], offset: int = 0) -> Iterator[tuple[str, bytes, Value]]:
    name = "port_endpoints" if kind == "ports" else "endpoints"
    for number, endpoint in enumerate(endpoints, offset):
        yield name, key + number.to_bytes(4, "little"), endpoint_data(endpoint)


def _collapsed(ranges: list[Network]) -> Iterator[Network]:
    """Yield ranges that cover the same and do not overlap, which the kernel refuses."""
    import ipaddress

    yield from ipaddress.collapse_addresses(one for one in ranges if isinstance(one, ipaddress.IPv4Network))
    yield from ipaddress.collapse_addresses(one for one in ranges if isinstance(one, ipaddress.IPv6Network))


def is_proxied(service: Object) -> bool:
    metadata, spec = service["metadata"], service.get("spec") or {}
    labels = metadata.get("labels") or {}
    if OTHER_PROXY in labels or HEADLESS in labels:
        return False
    return spec.get("type") != "ExternalName" and spec.get("clusterIP") not in (None, "", "None")


def cluster_ip_of(service: Object, family: Family) -> Address | None:
    spec = service["spec"]
    given = spec.get("clusterIPs") or [spec.get("clusterIP")]
    found = (parse_address(text) for text in given)
    return next((one for one in found if one is not None and one.version == family.version), None)


def affinity_seconds(spec: Mapping[str, Any]) -> int:
    """Return for how long a client goes to the same endpoint; 0 without affinity."""
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS)


def external_addresses(service: Object, family: Family) -> list[Address]:
    found = (parse_address(text) for text in service["spec"].get("externalIPs") or ())
    return [one for one in found if one is not None and one.version == family.version]


def load_balancer_addresses(service: Object, family: Family) -> list[Address]:
    """Return the addresses of the status that packets carry when they arrive (``ipMode: Proxy`` ones are not)."""
    if service["spec"].get("type") != "LoadBalancer":
        return []
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    found = (parse_address(entry.get("ip")) for entry in ingress if entry.get("ipMode") != "Proxy")
    return [one for one in found if one is not None and one.version == family.version]


def health_check_port(service: Object) -> int:
    spec = service["spec"]
    if spec.get("type") != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
        return 0
    return int(spec.get("healthCheckNodePort") or 0)
