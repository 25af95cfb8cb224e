"""The nftables tables ``sampan-services``, one for each family of IP, without what is in their maps.

A packet to a Service is looked up in a few maps, however many Services there are: ``service_ips`` (or ``node_ports``) says
how many endpoints there are to pick from (``goto pick-3``), and ``endpoints`` which the picked number is. Chains are shared
by all Services with as many endpoints, and made with the first of them (``service_chains.py``). The other maps and sets
hold for what is asked of few: ``sources`` for loadBalancerSourceRanges, ``sticky_ips`` and ``remembered_ips`` for ClientIP
affinity, ``inside_ips`` for those within the cluster whom externalTrafficPolicy ``Local`` does not bind,
``no_endpoint_ips`` for what is refused, ``hairpins`` for pods that reach themselves. All chains are of type ``nat``, which
the kernel asks for the first packet of a connection: the others pass without one rule. Source: the behaviour of kube-proxy's
nftables mode (KEP-3866).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sampan.network.families import FAMILIES, IPV4, Address, Family, Network, of_family
from sampan.network.service_endpoints import Place

TABLE = "sampan-services"
RANGES = ("sources",)
"""The sets whose keys are ranges."""
PLAIN = (
    "service_ips", "node_ports", "inside_ips", "inside_ports", "endpoints", "port_endpoints", "no_endpoint_ips",
    "no_endpoint_ports", "guarded", "sources", "sticky_ips", "sticky_ports", "remembered_ips", "remembered_ports",
    "hairpins", "masquerading_ips", "masquerading_ports",
)  # fmt: skip
"""All maps and sets that Services have elements in."""
INSIDE_OFFSET = 1 << 15
"""Where the numbers begin that those inside the cluster pick from, where they may go elsewhere than others."""
PROTOCOLS = ("tcp", "udp", "sctp")
CARRIED = "meta l4proto { tcp, udp, sctp }"
"""What nft wants to hear before a port is changed."""


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """What the rules of a node's Services depend on, other than Services."""

    node_name: str
    node_ips: tuple[Address, ...]
    """Where node ports answer; endpoints with these addresses are of this node."""
    pod_cidrs: tuple[Network, ...]
    """The ranges of this node's pods."""
    inside: tuple[Network, ...]
    """The ranges of all pods of the cluster."""
    refused: tuple[Network, ...] = ()
    """Ranges of which an address and port that no Service has is refused at once."""
    uplink: str = ""
    """The interface that leads to the host, of a cluster in a network namespace."""
    masquerade: bool = False
    """Whether the answers to outer clients might else take another way: with several nodes."""

    @property
    def families(self) -> tuple[Family, ...]:
        versions = {address.version for address in self.node_ips}
        return tuple(family for family in FAMILIES if family.version in versions)

    def place(self, zone: str = "") -> Place:
        return Place(self.node_name, zone, self.node_ips, self.pod_cidrs)


def destination(family: Family) -> str:
    return f"{family.nft} daddr . meta l4proto . th dport"


def whole(config: ProxyConfig) -> str:
    """Return the text that makes the tables anew, empty; what was in them is gone with the same transaction."""
    return "".join(
        f"table {family.nft} {TABLE}\ndelete table {family.nft} {TABLE}\n"
        + (text(family, config) if family in config.families else "")
        for family in FAMILIES
    )


def removal() -> str:
    """Return the text that deletes the tables, if they are there."""
    return "".join(f"table {family.nft} {TABLE}\ndelete table {family.nft} {TABLE}\n" for family in FAMILIES)


def mark(config: ProxyConfig) -> str:
    """Return what names this very layout of the tables: it stands in their comment."""
    every = "".join(text(family, config, "") for family in config.families)
    return hashlib.sha256(every.encode()).hexdigest()[:16]


def text(family: Family, config: ProxyConfig, named: str | None = None) -> str:
    ip, addr, to = family.nft, family.address_type, destination(family)
    service = f"{addr} . inet_proto . inet_service"
    at_node = f"{ip} daddr @node_addresses meta l4proto . th dport"
    inside = of_family(family, config.inside)
    return f"""table {ip} {TABLE} {{
  comment "sampan {mark(config) if named is None else named}"
  map service_ips {{ type {service} : verdict; }}
  map node_ports {{ type inet_proto . inet_service : verdict; }}
  map inside_ips {{ type {service} : verdict; }}
  map inside_ports {{ type inet_proto . inet_service : verdict; }}
  map endpoints {{ typeof {to} . numgen random mod 65536 : {ip} daddr . th dport; }}
  map port_endpoints {{ typeof meta l4proto . th dport . numgen random mod 65536 : {ip} daddr . th dport; }}
  map no_endpoint_ips {{ type {service} : verdict; }}
  map no_endpoint_ports {{ type inet_proto . inet_service : verdict; }}
  set guarded {{ type {service}; }}
  set sources {{ type {service} . {addr}; flags interval; }}
  map sticky_ips {{ type {service} : verdict; }}
  map sticky_ports {{ type inet_proto . inet_service : verdict; }}
  map remembered_ips {{ type {service} : verdict; }}
  map remembered_ports {{ type inet_proto . inet_service : verdict; }}
  set hairpins {{ type {addr} . {addr}; }}
  map masquerading_ips {{ type {service} : verdict; }}
  map masquerading_ports {{ type inet_proto . inet_service : verdict; }}
  set node_addresses {{ type {addr}; {_elements(of_family(family, config.node_ips))} }}

  chain refuse {{
    # the kernel sends an address only few ICMP messages a second
    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain masquerade-all {{ masquerade fully-random; }}
  chain masquerade-outside {{ {_from_outside(ip, inside)} }}
  chain masquerade-own {{ fib saddr type local masquerade fully-random; }}
  chain inside {{
    {to} vmap @inside_ips
    {at_node} vmap @inside_ports
  }}
  chain services {{
    {to} vmap @sticky_ips
    {to} vmap @service_ips
    {at_node} vmap @sticky_ports
    {at_node} vmap @node_ports
  }}
  chain guard {{ {to} @guarded {to} . {ip} saddr != @sources drop; }}
  chain remember {{
{_remembering(family)}
  }}
  chain unanswered {{
    {to} vmap @no_endpoint_ips
    {at_node} vmap @no_endpoint_ports
{_refusing(family, config)}
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump guard
    {f"{ip} saddr {{ {_joined(inside)} }} jump inside" if inside else "fib saddr type local jump inside"}
    jump services
    jump unanswered
  }}
  chain nat-output {{
    type nat hook output priority -100; policy accept;
    jump guard
    jump inside
    jump services
    jump unanswered
  }}
  chain arriving {{ type nat hook input priority 95; policy accept; ct status dnat jump remember; }}
  chain leaving {{ type nat hook postrouting priority 95; policy accept; ct status dnat jump remember; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat {ip} saddr . {ip} daddr @hairpins oifname != "lo" masquerade
{_leaving(family, config)}
  }}
}}
"""


def _elements(addresses: list[Address]) -> str:
    return f"elements = {{ {_joined(addresses)} }};" if addresses else ""


def _joined(listed: list[Address] | list[Network]) -> str:
    return ", ".join(map(str, listed))


def _from_outside(ip: str, inside: list[Network]) -> str:
    """Return the rule for clients of a ClusterIP from outside; none where nobody knows which are."""
    return f"{ip} saddr != {{ {_joined(inside)} }} masquerade fully-random;" if inside else ""


def _original(family: Family) -> list[tuple[str, str, str]]:
    """Return for each protocol a match of it, and where a packet went before it was led elsewhere: to a Service's address,
    or to a port of the node."""
    port = "meta l4proto . ct original proto-dst"
    address = f"ct original {family.nft} daddr"
    return [
        (f"meta l4proto {protocol}", f"{address} . {port}", f"{address} @node_addresses {port}")
        for protocol in PROTOCOLS
    ]


def _remembering(family: Family) -> str:
    return "\n".join(
        f"    {protocol} {address} vmap @remembered_ips\n    {protocol} {port} vmap @remembered_ports"
        for protocol, address, port in _original(family)
    )


def _leaving(family: Family, config: ProxyConfig) -> str:
    lines = []
    if config.uplink:
        lines.append(f'    ct status dnat iifname "{config.uplink}" oifname "{config.uplink}" masquerade')
    if config.masquerade:
        for protocol, address, port in _original(family):
            lines.append(f"    ct status dnat {protocol} {address} vmap @masquerading_ips")
            lines.append(f"    ct status dnat {protocol} {port} vmap @masquerading_ports")
    return "\n".join(lines)


def _refusing(family: Family, config: ProxyConfig) -> str:
    refused = of_family(family, config.refused)
    return f"    {family.nft} daddr {{ {_joined(refused)} }} goto refuse" if refused else ""


def proto_key(protocol: str) -> bytes:
    return bytes((NUMBERS[protocol], 0, 0, 0))


NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
NAMES = {number: name for name, number in NUMBERS.items()}


def port_key(protocol: str, port: int) -> bytes:
    """Return the key of a node port."""
    return proto_key(protocol) + port.to_bytes(2, "big") + b"\0\0"


def address_key(address: Address, protocol: str, port: int) -> bytes:
    """Return the key of a Service's address and port."""
    return address.packed + port_key(protocol, port)


def readable(family: str, name: str, key: bytes) -> str:
    """Return a key as nft prints it: ``10.96.0.1 . tcp . 443``."""
    size = next(one.size for one in FAMILIES if one.nft == family)
    made = IPV4.size == size
    import ipaddress

    def address(data: bytes) -> str:
        return str(ipaddress.IPv4Address(data) if made else ipaddress.IPv6Address(data))

    if name == "hairpins":
        return f"{address(key[:size])} . {address(key[size:])}"
    words = [] if name.endswith("ports") or name == "port_endpoints" else [address(key[:size])]
    rest = key[size if words else 0 :]
    words += [NAMES[rest[0]], str(int.from_bytes(rest[4:6], "big"))]
    if name in ("endpoints", "port_endpoints"):
        words.append(str(int.from_bytes(rest[8:12], "little")))
    return " . ".join(words)
