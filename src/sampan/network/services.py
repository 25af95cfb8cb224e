"""Services and their EndpointSlices as nftables rules, computed and not applied.

A Service becomes elements of a few shared maps (where packets to an address and port go), chains of its own (which endpoint
they go to) and, for ClientIP affinity, sets (who was there before). ``rule_table.py`` turns what changed between two such
results into one nft transaction. The node is the only one, so every answer comes back through it and the client's address
is kept, also for what comes from outside; only hairpins and traffic that goes back out are masqueraded.
Source: the behaviour of kube-proxy's nftables mode (KEP-3866), KEP-1669 (terminating endpoints), KEP-2086 (internal
traffic policy).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple

from sampan.schema.objects import Object

TABLE = "sampan-services"
SERVICE_NAME = "kubernetes.io/service-name"
OTHER_PROXY = "service.kubernetes.io/service-proxy-name"
PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
DEFAULT_AFFINITY_SECONDS = 10800


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    node_ip: IPv4Address
    cluster_cidr: IPv4Network
    pod_cidr: IPv4Network
    uplink: str
    """The interface that leads to the host."""


class Endpoint(NamedTuple):
    address: IPv4Address
    port: int

    def __str__(self) -> str:
        return f"{self.address} . {self.port}"


class Candidate(NamedTuple):
    endpoint: Endpoint
    ready: bool
    serving_while_terminating: bool
    local: bool


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """What one Service needs in the table."""

    elements: dict[tuple[str, str], str] = field(default_factory=dict)
    """``(map or set, key) -> verdict``; the verdict is empty in a set."""
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    datagrams: dict[tuple[str, int], frozenset[Endpoint]] = field(default_factory=dict)
    """Where UDP to an address and port goes: what connection tracking knows else is stale."""


NOTHING = ServiceRules()


def base_table(config: ProxyConfig) -> str:
    """Return the table without any Service, as nft text. TCP is refused by a reset, because the kernel sends an
    address only few ICMP messages a second."""
    link = IPv4Network((config.node_ip, 30), strict=False)
    destination = "ip daddr . meta l4proto . th dport"
    node_port = f"ip daddr {config.node_ip} meta l4proto . th dport"
    return f"""table ip {TABLE} {{
  map service_ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map node_ports {{ type inet_proto . inet_service : verdict; }}
  map no_endpoint_ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map no_endpoint_ports {{ type inet_proto . inet_service : verdict; }}
  set hairpins {{ type ipv4_addr . ipv4_addr; }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain services {{
    {destination} vmap @service_ips
    {node_port} vmap @node_ports
  }}
  chain unanswered {{
    {destination} vmap @no_endpoint_ips
    {node_port} vmap @no_endpoint_ports
    ip daddr {config.cluster_cidr} ip daddr != {{ {config.pod_cidr}, {link} }} goto refuse
  }}
  chain prerouting {{ type nat hook prerouting priority dstnat; policy accept; jump services; }}
  chain nat-output {{ type nat hook output priority -100; policy accept; jump services; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat ip saddr . ip daddr @hairpins oifname != "lo" masquerade
    ct status dnat iifname "{config.uplink}" oifname "{config.uplink}" masquerade
  }}
  chain input {{ type filter hook input priority filter; policy accept; ct state new jump unanswered; }}
  chain forward {{ type filter hook forward priority filter; policy accept; ct state new jump unanswered; }}
  chain output {{ type filter hook output priority filter; policy accept; ct state new jump unanswered; }}
}}
"""


def rules_of(service: Object | None, slices: Iterable[Object], config: ProxyConfig) -> ServiceRules:
    """Return the rules of a Service with its EndpointSlices; none for one that is not the proxy's business."""
    if service is None or not is_proxied(service):
        return NOTHING
    rules = ServiceRules()
    listed = list(slices)
    for port in service["spec"].get("ports") or ():
        if port.get("protocol", "TCP") in PROTOCOLS:
            _add_port(rules, service, port, candidates(listed, port, config), config)
    return rules


def is_proxied(service: Object) -> bool:
    spec = service.get("spec") or {}
    labels = service["metadata"].get("labels") or {}
    return (
        spec.get("type") != "ExternalName" and _address(spec.get("clusterIP")) is not None and OTHER_PROXY not in labels
    )


def candidates(slices: Iterable[Object], port: Mapping[str, Any], config: ProxyConfig) -> list[Candidate]:
    """Return the endpoints of a Service's port with their states, sorted, each once."""
    found: dict[Endpoint, Candidate] = {}
    wanted = (port.get("name") or "", port.get("protocol") or "TCP")
    for piece in slices:
        if piece.get("addressType") != "IPv4":
            continue
        numbers = [
            entry.get("port")
            for entry in piece.get("ports") or ()
            if (entry.get("name") or "", entry.get("protocol") or "TCP") == wanted
        ]
        for number in numbers:
            for entry in piece.get("endpoints") or ():
                address = _address(next(iter(entry.get("addresses") or ()), None))
                if address is None or not number:
                    continue
                conditions = entry.get("conditions") or {}
                ready = conditions.get("ready") is not False
                ending = conditions.get("terminating") is True and conditions.get("serving") is True
                local = address in config.pod_cidr or address == config.node_ip
                endpoint = Endpoint(address, int(number))
                known = found.get(endpoint)
                if known is None or (ready and not known.ready):
                    found[endpoint] = Candidate(endpoint, ready, ending, local)
    return [found[endpoint] for endpoint in sorted(found)]


def usable(listed: Iterable[Candidate]) -> list[Endpoint]:
    """Return the ready endpoints, or those that still serve while they end where none is ready."""
    every = list(listed)
    ready = [candidate.endpoint for candidate in every if candidate.ready]
    return ready or [candidate.endpoint for candidate in every if candidate.serving_while_terminating]


def _add_port(
    rules: ServiceRules, service: Object, port: Mapping[str, Any], listed: list[Candidate], config: ProxyConfig
) -> None:
    spec = service["spec"]
    protocol, number = PROTOCOLS[port.get("protocol", "TCP")], int(port["port"])
    everywhere = usable(listed)
    here = usable(candidate for candidate in listed if candidate.local)
    inside = here if spec.get("internalTrafficPolicy") == "Local" else everywhere
    outside = here if spec.get("externalTrafficPolicy") == "Local" else everywhere

    names = {"inside": inside}
    # one chain serves both ways in where they lead to the same endpoints
    names["outside"] = outside
    targets: dict[str, str] = {}
    for way, endpoints in names.items():
        if way == "outside" and outside == inside and inside:
            targets[way] = targets["inside"]
        elif endpoints:
            targets[way] = f"goto {_add_chain(rules, service, protocol, number, way, endpoints)}"
        else:
            targets[way] = "drop" if everywhere else "goto refuse"

    _add_address(rules, spec["clusterIP"], protocol, number, targets["inside"], inside)
    for address in external_addresses(service):
        _add_address(rules, address, protocol, number, targets["outside"], outside)
    guarded = _guard(rules, service, protocol, number, targets["outside"]) if outside else targets["outside"]
    for address in load_balancer_addresses(service):
        _add_address(rules, address, protocol, number, guarded, outside)
    if port.get("nodePort"):
        key = f"{protocol} . {int(port['nodePort'])}"
        rules.elements["node_ports" if outside else "no_endpoint_ports", key] = targets["outside"]
        if protocol == "udp":
            rules.datagrams[str(config.node_ip), int(port["nodePort"])] = frozenset(outside)
    for endpoint in {*inside, *outside}:
        if endpoint.address in config.pod_cidr:
            rules.elements["hairpins", f"{endpoint.address} . {endpoint.address}"] = ""


def _add_address(
    rules: ServiceRules, address: str, protocol: str, port: int, verdict: str, endpoints: list[Endpoint]
) -> None:
    rules.elements["service_ips" if endpoints else "no_endpoint_ips", f"{address} . {protocol} . {port}"] = verdict
    if protocol == "udp":
        rules.datagrams[address, port] = frozenset(endpoints)


def _add_chain(
    rules: ServiceRules, service: Object, protocol: str, port: int, way: str, endpoints: list[Endpoint]
) -> str:
    name = chain_name("svc" if way == "inside" else "ext", service, protocol, port)
    seconds = affinity_seconds(service["spec"])
    if seconds:
        rules.chains[name] = _sticky(rules, name, protocol, endpoints, seconds)
    else:
        rules.chains[name] = (f"meta l4proto {protocol} dnat ip to {_choice([str(e) for e in endpoints])}",)
    return name


def _choice(targets: list[str]) -> str:
    if len(targets) == 1:
        return targets[0].replace(" . ", ":")
    listed = ", ".join(f"{number} : {target}" for number, target in enumerate(targets))
    return f"numgen random mod {len(targets)} map {{ {listed} }}"


def _sticky(rules: ServiceRules, name: str, protocol: str, endpoints: list[Endpoint], seconds: int) -> tuple[str, ...]:
    """Each endpoint has a set of the clients it served within the time, and a chain that enters them."""
    known, chains = [], []
    for endpoint in endpoints:
        mark = hashlib.sha256(f"{name}/{endpoint}/{seconds}".encode()).hexdigest()[:12]
        members, chain = f"affinity-{mark}", f"endpoint-{mark}"
        rules.sets[members] = f"type ipv4_addr; flags dynamic,timeout; timeout {seconds}s;"
        target = str(endpoint).replace(" . ", ":")
        rules.chains[chain] = (f"update @{members} {{ ip saddr }} meta l4proto {protocol} dnat ip to {target}",)
        known.append(f"ip saddr @{members} goto {chain}")
        chains.append(f"goto {chain}")
    if len(chains) == 1:
        return (*known, chains[0])
    listed = ", ".join(f"{number} : {chain}" for number, chain in enumerate(chains))
    return (*known, f"numgen random mod {len(chains)} vmap {{ {listed} }}")


def _guard(rules: ServiceRules, service: Object, protocol: str, port: int, verdict: str) -> str:
    """Let only ``loadBalancerSourceRanges`` in, where there are such."""
    ranges = [str(found) for text in service["spec"].get("loadBalancerSourceRanges") or () if (found := _network(text))]
    if not ranges:
        return verdict
    name = chain_name("fw", service, protocol, port)
    rules.chains[name] = (f"ip saddr != {{ {', '.join(sorted(set(ranges)))} }} drop", verdict)
    return f"goto {name}"


def chain_name(prefix: str, service: Object, protocol: str, port: int) -> str:
    """Return a name that a person recognises and no other Service's port has (at most 127 characters)."""
    metadata = service["metadata"]
    full = f"{metadata.get('namespace')}/{metadata['name']}/{protocol}/{port}"
    return f"{prefix}-{hashlib.sha256(full.encode()).hexdigest()[:8]}-{full}"[:120].rstrip("-./")


def affinity_seconds(spec: Mapping[str, Any]) -> int:
    """Return for how long a client goes to the same endpoint; 0 without affinity."""
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS)


def external_addresses(service: Object) -> list[str]:
    return [str(found) for text in service["spec"].get("externalIPs") or () if (found := _address(text))]


def load_balancer_addresses(service: Object) -> list[str]:
    """Return the addresses of the status that packets carry when they arrive (``ipMode: Proxy`` ones are not)."""
    if service["spec"].get("type") != "LoadBalancer":
        return []
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [str(found) for e in ingress if e.get("ipMode") != "Proxy" and (found := _address(e.get("ip")))]


def _address(text: object) -> IPv4Address | None:
    try:
        return IPv4Address(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _network(text: object) -> IPv4Network | None:
    try:
        return IPv4Network(text.strip(), strict=False) if isinstance(text, str) else None
    except ValueError:
        return None
