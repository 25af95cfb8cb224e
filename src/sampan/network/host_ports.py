"""Ports of the node that lead to pods (``hostPort``): what the CNI plugin is told as ``portMappings``, as nftables rules.

Each port is a chain of its own, named after the pod's link, and an element of a map that leads there; the kernel's table is
the only state, so a restarted agent reads off it what it holds. Connections of the node itself to 127.0.0.1 are led there,
too, from the bridge's address. Source: the convention ``portMappings`` of CNI, core/v1 ContainerPort.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

TABLE = "sampan-hostports"
ANY_ADDRESS = ("", "0.0.0.0", "::")
PROTOCOLS = ("tcp", "udp", "sctp")


class HostPortError(Exception):
    """nft refused a port; the message is its own."""


@dataclass(frozen=True, slots=True)
class PortMapping:
    protocol: str
    host_port: int
    container_port: int
    host_ip: str = ""
    """Empty: every address of the node."""

    @property
    def element(self) -> tuple[str, str]:
        """Return the map and the key in it."""
        key = f"{self.protocol} . {self.host_port}"
        return ("ports", key) if not self.host_ip else ("address_ports", f"{self.host_ip} . {key}")

    def chain(self, link: str) -> str:
        return f"{link}-{self.protocol}-{self.host_port}-{self.host_ip or 'any'}"


def mappings_of(runtime_config: Mapping[str, Any]) -> list[PortMapping]:
    """Return the ports of a CNI call; those of IPv6 addresses are not this network's."""
    found = []
    for given in runtime_config.get("portMappings") or ():
        entry = {name.lower(): value for name, value in given.items()}  # containerd writes HostPort, others hostPort
        host_ip = str(entry.get("hostip") or "")
        host_ip = "" if host_ip in ANY_ADDRESS else host_ip
        protocol = str(entry.get("protocol") or "tcp").lower()
        if not entry.get("hostport") or protocol not in PROTOCOLS or (host_ip and ip_address(host_ip).version != 4):
            continue
        found.append(PortMapping(protocol, int(entry["hostport"]), int(entry["containerport"]), host_ip))
    return found


def base_table(bridge: str) -> str:
    """Return the table without any port, as nft text; what is there already stays."""
    return f"""table ip {TABLE} {{
  map ports {{ type inet_proto . inet_service : verdict; }}
  map address_ports {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  set pods {{ type ipv4_addr . ipv4_addr; }}
  chain lookup {{ }}
  chain prerouting {{ type nat hook prerouting priority -101; policy accept; }}
  chain nat-output {{ type nat hook output priority -101; policy accept; }}
  chain postrouting {{ type nat hook postrouting priority 99; policy accept; }}
}}
flush chain ip {TABLE} lookup
flush chain ip {TABLE} prerouting
flush chain ip {TABLE} nat-output
flush chain ip {TABLE} postrouting
add rule ip {TABLE} lookup ip daddr . meta l4proto . th dport vmap @address_ports
add rule ip {TABLE} lookup fib daddr type local meta l4proto . th dport vmap @ports
add rule ip {TABLE} prerouting jump lookup
add rule ip {TABLE} nat-output jump lookup
add rule ip {TABLE} postrouting ct status dnat ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade
add rule ip {TABLE} postrouting ct status dnat ip saddr . ip daddr @pods masquerade
"""


def additions(link: str, address: IPv4Address, mappings: Iterable[PortMapping]) -> str:
    """Return the transaction that leads the ports to a pod."""
    lines = [f"add element ip {TABLE} pods {{ {address} . {address} }}"]
    for mapping in mappings:
        chain, (where, key) = mapping.chain(link), mapping.element
        to = f"{address}:{mapping.container_port}"
        lines += [
            f"add chain ip {TABLE} {chain}",
            f"flush chain ip {TABLE} {chain}",
            f"add rule ip {TABLE} {chain} meta l4proto {mapping.protocol} dnat to {to}",
            f"add element ip {TABLE} {where} {{ {key} : goto {chain} }}",
        ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Held:
    """What the kernel has of one pod: its elements (map, key) and chains, and its address."""

    elements: tuple[tuple[str, str], ...] = ()
    chains: tuple[str, ...] = ()
    address: str = ""


def removals(held: Held) -> str:
    """Return the transaction that forgets a pod's ports."""
    lines = [f"delete element ip {TABLE} {where} {{ {key} }}" for where, key in held.elements]
    if held.address:
        lines.append(f"delete element ip {TABLE} pods {{ {held.address} . {held.address} }}")
    for chain in held.chains:
        lines += [f"flush chain ip {TABLE} {chain}", f"delete chain ip {TABLE} {chain}"]
    return "\n".join(lines) + "\n"


def read_table(document: Mapping[str, Any]) -> dict[str, Held]:
    """Return what ``nft -j list table`` says, by the pods' links."""
    elements: dict[str, list[tuple[str, str]]] = {}
    chains: dict[str, list[str]] = {}
    addresses: dict[str, str] = {}
    for entry in document.get("nftables") or ():
        if chain := (entry.get("chain") or {}).get("name"):
            if "-" in chain and chain != "nat-output":
                chains.setdefault(chain.partition("-")[0], []).append(chain)
        elif (rule := entry.get("rule")) and rule["chain"].partition("-")[0] in chains:
            for expression in rule.get("expr") or ():
                if "dnat" in expression:
                    addresses[rule["chain"].partition("-")[0]] = str(expression["dnat"]["addr"])
        for key, verdict in (entry.get("map") or {}).get("elem") or ():
            name = verdict["goto"]["target"]
            text = " . ".join(str(part) for part in key["concat"])
            elements.setdefault(name.partition("-")[0], []).append((entry["map"]["name"], text))
    return {
        link: Held(tuple(elements.get(link, ())), tuple(names), addresses.get(link, ""))
        for link, names in chains.items()
    }


class HostPorts:
    """The ports of this node's pods. Every method blocks."""

    def __init__(self, bridge: str) -> None:
        self._bridge = bridge
        self._made = False
        self._links: set[str] = set()

    def prepare(self, links: Iterable[str]) -> None:
        """Read off the kernel what there is, and forget the ports of pods whose links are gone."""
        held = self._held()
        known = set(links)
        self._links = set(held) & known
        if stale := "".join(removals(what) for link, what in held.items() if link not in known):
            _nft(stale)

    def add(self, link: str, address: IPv4Address, mappings: list[PortMapping]) -> None:
        """Lead ports to a pod. Raises ``HostPortError``."""
        if not mappings:
            return
        if not self._made:
            _nft(base_table(self._bridge))
            # packets to 127.0.0.1 may leave the node for its own pods
            Path(f"/proc/sys/net/ipv4/conf/{self._bridge}/route_localnet").write_text("1")
            self._made = True
        self.remove(link)
        _nft(additions(link, address, mappings))
        self._links.add(link)

    def remove(self, link: str) -> None:
        """Forget a pod's ports; one that has none is no error."""
        if link not in self._links:
            return
        self._links.discard(link)
        held = self._held().get(link)
        if held is not None:
            _nft(removals(held))

    def _held(self) -> dict[str, Held]:
        done = subprocess.run(["nft", "-j", "list", "table", "ip", TABLE], capture_output=True, text=True)
        return read_table(json.loads(done.stdout)) if done.returncode == 0 else {}


def _nft(text: str) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True)
    if done.returncode:
        raise HostPortError(done.stderr.strip()[:500])
