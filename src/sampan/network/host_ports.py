"""Ports of the node that lead to pods (``hostPort``): what the CNI plugin is told as ``portMappings``, in nftables maps.

A port is an element of a map that leads to a pod's address and port; the kernel's tables, one for each family of IP, are
the only state, so a restarted agent reads off them what there is. Connections of the node itself to 127.0.0.1 are led
there, too, from the bridge's address (the kernel has no such way for ::1). Source: the convention ``portMappings`` of CNI,
core/v1 ContainerPort.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.network import nft
from sampan.network.cni_call import INVALID_CONFIG, CniError
from sampan.network.families import Address, Family, family_of, parse_address
from sampan.network.nft_elements import Element, Elements, Value
from sampan.network.service_endpoints import Endpoint, endpoint_data
from sampan.network.service_table import CARRIED, address_key, port_key

TABLE = "sampan-hostports"
ANY_ADDRESS = ("", "0.0.0.0", "::")
PROTOCOLS = ("tcp", "udp", "sctp")
MAPS = ("ports", "address_ports")


@dataclass(frozen=True, slots=True)
class PortMapping:
    protocol: str
    host_port: int
    container_port: int
    host_ip: Address | None = None
    """None: every address of the node."""

    def elements(self, address: Address) -> dict[Element, Value]:
        """Return what leads the port to a pod's address: nothing when it is of the other family."""
        family = family_of(address).nft
        to = endpoint_data(Endpoint(address, self.container_port))
        if self.host_ip is None:
            return {(family, "ports", port_key(self.protocol, self.host_port)): to}
        if self.host_ip.version != address.version:
            return {}
        return {(family, "address_ports", address_key(self.host_ip, self.protocol, self.host_port)): to}


def mappings_of(runtime_config: Mapping[str, Any]) -> list[PortMapping]:
    """Return the ports of a CNI call. Raises ``CniError`` with the field that is wrong."""
    found = []
    for number, given in enumerate(runtime_config.get("portMappings") or ()):
        entry = {name.lower(): value for name, value in given.items()}  # containerd writes HostPort, others hostPort
        host_ip = str(entry.get("hostip") or "")
        protocol = str(entry.get("protocol") or "tcp").lower()
        if not entry.get("hostport") or protocol not in PROTOCOLS:
            continue
        address = None if host_ip in ANY_ADDRESS else parse_address(host_ip)
        where = f"runtimeConfig.portMappings[{number}]"
        if address is None and host_ip not in ANY_ADDRESS:
            raise CniError(INVALID_CONFIG, f"{where}.hostIP: {host_ip!r} is no IP address")
        ports = []
        for field in ("hostPort", "containerPort"):
            text = str(entry.get(field.lower(), ""))
            if not text.isdecimal() or not 0 < int(text) < 65536:
                raise CniError(INVALID_CONFIG, f"{where}.{field}: {text!r} is no port")
            ports.append(int(text))
        found.append(PortMapping(protocol, ports[0], ports[1], address))
    return found


def base_table(family: Family, bridge: str) -> str:
    """Return the text that makes the table of a family anew, without any port."""
    ip, addr, name = family.nft, family.address_type, f"{family.nft} {TABLE}"
    to = f"{ip} daddr . th dport"
    own = f'ct status dnat ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade' if family.version == 4 else ""
    return f"""table {name}
delete table {name}
table {name} {{
  comment "sampan 2"
  map ports {{ typeof meta l4proto . th dport : {to}; }}
  map address_ports {{ typeof {ip} daddr . meta l4proto . th dport : {to}; }}
  set pods {{ type {addr} . {addr}; }}
  chain lookup {{
    {CARRIED} dnat {ip} to {ip} daddr . meta l4proto . th dport map @address_ports
    fib daddr type local {CARRIED} dnat {ip} to meta l4proto . th dport map @ports
  }}
  chain prerouting {{ type nat hook prerouting priority -101; policy accept; jump lookup; }}
  chain nat-output {{ type nat hook output priority -101; policy accept; jump lookup; }}
  chain postrouting {{
    type nat hook postrouting priority 99; policy accept;
    {own}
    ct status dnat {ip} saddr . {ip} daddr @pods masquerade
  }}
}}
"""


def is_ours(listed: str) -> bool:
    """Whether a table that is there has the layout of ``base_table``: nft (1.0.6) cannot add rules to it later on."""
    return 'comment "sampan 2"' in listed


def hairpin(address: Address) -> Element:
    """Return the element for a pod that reaches itself by a port of the node."""
    return family_of(address).nft, "pods", address.packed * 2


class HostPorts:
    """The ports of this node's pods. Every method blocks, and raises ``NftError``."""

    def __init__(self, bridge: str, families: Sequence[Family]) -> None:
        self._bridge, self._families = bridge, families
        self._elements: Elements | None = None
        self._pods: set[bytes] = set()
        """Who has ports, by the address."""

    def prepare(self, addresses: Iterable[Address]) -> None:
        """Read off the kernel what there is, and forget the ports of pods that are gone."""
        if not all(is_ours(nft.listed("table", family.nft, TABLE)) for family in self._families):
            return
        elements = self._ready()
        known = {address.packed for address in addresses}
        held = self._held(elements)
        self._pods = {pod_of(element, value) for element, value in held.items()} & known
        elements.change([element for element, value in held.items() if pod_of(element, value) not in known], {})

    def add(self, addresses: Sequence[Address], mappings: Sequence[PortMapping]) -> None:
        """Lead ports to a pod."""
        if not mappings:
            return
        elements = self._ready()
        self.remove(addresses)
        wanted: dict[Element, Value] = {}
        for address in addresses:
            wanted[hairpin(address)] = None
            for mapping in mappings:
                wanted.update(mapping.elements(address))
        # another pod that is on its way out may hold a port still: the newer one has it
        taken = [element for element in self._held(elements) if element in wanted]
        elements.change(taken, wanted)
        self._pods.update(address.packed for address in addresses)

    def remove(self, addresses: Iterable[Address]) -> None:
        """Forget a pod's ports; one that has none is no error."""
        packed = {address.packed for address in addresses} & self._pods
        if not packed:
            return
        elements = self._ready()
        held = self._held(elements)
        elements.change([element for element, value in held.items() if pod_of(element, value) in packed], {})
        self._pods -= packed

    def _ready(self) -> Elements:
        if self._elements is None:
            for family in self._families:
                if not is_ours(nft.listed("table", family.nft, TABLE)):
                    nft.run(base_table(family, self._bridge))
                if family.version == 4:
                    # packets to 127.0.0.1 may leave the node for its own pods
                    Path(f"/proc/sys/net/ipv4/conf/{self._bridge}/route_localnet").write_text("1")
            self._elements = Elements(TABLE)
        return self._elements

    def _held(self, elements: Elements) -> dict[Element, Value]:
        found: dict[Element, Value] = {}
        for family in self._families:
            for name in (*MAPS, "pods"):
                found.update(elements.held(family.nft, name))
        return found


def pod_of(element: Element, value: Value) -> bytes:
    """Return the address of the pod that an element is of."""
    family, name, key = element
    size = 4 if family == "ip" else 16
    return key[:size] if name == "pods" else value[:size] if isinstance(value, bytes) else b""
