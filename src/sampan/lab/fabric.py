"""A plan made real: namespaces, bridges, cables, addresses, routes, NAT; and its change to another plan while it runs.

One netlink conversation a namespace and one for all cables, each a single send. Everything is held by this process's
descriptors: ``close``, or the end of the process in any way, and the kernel removes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from sampan.lab import requests
from sampan.lab.errors import LabError
from sampan.lab.namespaces import Place, new_places
from sampan.lab.plan import FABRIC, Plan, PlannedInterface, PlannedNode
from sampan.network import links
from sampan.network.netlink import NetlinkError

FABRIC_SETTINGS = {
    # bridges carry frames and nothing else: no addresses of their own, no packet filter between ports
    "ipv6/conf/default/disable_ipv6": "1",
    "bridge/bridge-nf-call-iptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
    "bridge/bridge-nf-call-arptables": "0",
}
NAT_TABLE = "sampan-lab-nat"


class Fabric:
    """The namespaces of a laboratory; ``places`` by the node's name, ``FABRIC`` for the bridges."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}

    def build(self, plan: Plan) -> None:
        """Make a plan real in nothing. Raises ``LabError``; ``close`` removes what was made."""
        for place in _namespaces([FABRIC, *plan.nodes]):
            self.places[place.name] = place
        fabric = self.places[FABRIC]
        _configure_fabric(fabric)
        descriptors = self.descriptors()
        self.ask(
            FABRIC, [*requests.bridges(plan.bridges, fabric.netns), *requests.cables(plan.cables, plan, descriptors)]
        )
        for node in plan.nodes.values():
            self.new_node(node)

    def new_node(self, node: PlannedNode) -> None:
        self.forward_ipv6(node)
        if _read("/proc/sys/net/ipv4/conf/all/rp_filter") != "0":
            # a new namespace has this one from the machine, and answers may come another way than they are asked for
            self.places[node.name].write("ipv4/conf/all/rp_filter", "0")
        self.ask(node.name, requests.node(node))
        if node.nat:
            self.nft(node.name, nat_rules(node.nat))

    def forward_ipv6(self, node: PlannedNode) -> None:
        """IPv6 is forwarded by a namespace, not by a link, and netlink has no word for it."""
        if node.router and any(address.version == 6 for one in node.interfaces for address in one.addresses):
            self.places[node.name].write("ipv6/conf/all/forwarding", "1")

    def change(self, before: Plan, after: Plan) -> None:
        """Make a running plan another; what is the same in both is not touched. Raises ``LabError``."""
        gone = [cable for name, cable in before.cables.items() if after.cables.get(name) != cable]
        new = {name: cable for name, cable in after.cables.items() if before.cables.get(name) != cable}
        for cable in gone:
            plug = cable.ends[0]
            self.ask(plug.place, [requests.Request(links.delete(plug.number), f"link {cable.name}")])
        for name, bridge in before.bridges.items():
            if after.bridges.get(name) != bridge:
                self.ask(FABRIC, [requests.Request(links.delete(bridge.number), f"bridge {name}")])
        for name in before.nodes.keys() - after.nodes.keys():
            self.places.pop(name).close()
        for place in _namespaces([name for name in after.nodes if name not in before.nodes]):
            self.places[place.name] = place
        added = {name: bridge for name, bridge in after.bridges.items() if before.bridges.get(name) != bridge}
        fabric = self.places[FABRIC]
        self.ask(FABRIC, [*requests.bridges(added, fabric.netns), *requests.cables(new, after, self.descriptors())])
        unplugged = {(plug.place, plug.name) for cable in gone for plug in cable.ends}

        def went(one: PlannedInterface) -> bool:
            return (one.node, one.parent or one.name) in unplugged

        for name, node in after.nodes.items():
            if name not in before.nodes:
                self.new_node(node)
                continue
            self.change_node(before.nodes[name], node, list(requests.changed_node(before.nodes[name], node, went)))

        self.forget_moved(before, after)

    def forget_moved(self, before: Plan, after: Plan) -> None:
        """Have nodes forget whom they knew by an address that somebody else has now."""
        owners = {address.ip: one.mac for one in before.interfaces() for address in one.addresses}
        for subnet in after.subnets.values():
            members = [after.nodes[node].interface(name) for node, name in subnet.members]
            moved = [
                address.ip for one in members for address in one.addresses if owners.get(address.ip, one.mac) != one.mac
            ]
            for one in members if moved else ():
                forgotten = [links.forget_neighbour(one.number, address) for address in moved]
                with contextlib.suppress(NetlinkError):  # it did not know it
                    self.places[one.node].netlink.batch(forgotten)

    def change_node(self, before: PlannedNode, after: PlannedNode, asked: list[requests.Request]) -> None:
        if before.router and not after.router:
            self.places[after.name].write("ipv6/conf/all/forwarding", "0")
        else:
            self.forward_ipv6(after)
        self.ask(after.name, asked)
        if before.nat != after.nat:
            self.nft(after.name, nat_rules(after.nat))

    def renew(self, plan: Plan, name: str) -> None:
        """Give a node a new namespace with its old interfaces, as a machine that was switched off and on again."""
        old, (place,) = self.places[name], _namespaces([name])
        node = plan.nodes[name]
        moved = [links.move(one.number, place.netns) for one in node.interfaces if not one.parent]
        old.netlink.batch(moved)
        self.places[name] = place
        old.close()
        self.new_node(node)

    def descriptors(self) -> dict[str, int]:
        return {name: place.netns for name, place in self.places.items()}

    def ask(self, place: str, asked: Iterable[requests.Request]) -> None:
        """Have requests carried out in a place. Raises ``LabError`` with what was refused."""
        wanted = list(asked)
        if not wanted:
            return
        try:
            self.places[place].netlink.batch([request.message for request in wanted])
        except NetlinkError as error:
            raise LabError(f"{wanted[error.request].what}: the kernel refuses: {error.strerror}") from error

    def nft(self, place: str, text: str) -> None:
        """Have nft rules taken over in a place, all or none. Raises ``LabError``."""
        # Debian has it where only root's shells look
        program = shutil.which("nft", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if program is None:
            raise LabError("nft is not installed", "apt-get install -y nftables")
        done = self.places[place].run(
            lambda: subprocess.run([program, "-f", "-"], input=text, capture_output=True, text=True)
        )
        if done.returncode != 0:
            said = " ".join(done.stderr.split())[:300]
            raise LabError(f"packet filter of {place or 'the bridges'}: nft refuses: {said}")

    def close(self) -> None:
        """Let go of everything. The kernel removes it within some hundredths of a second."""
        for place in self.places.values():
            place.close()
        self.places.clear()


def _read(path: str) -> str:
    return Path(path).read_text().strip()


def _namespaces(names: list[str]) -> list[Place]:
    try:
        return new_places(names)
    except OSError as error:
        hint = "/proc/sys/user/max_net_namespaces limits them" if error.errno == 28 else ""
        raise LabError(f"a network namespace cannot be made: {error.strerror}", hint) from error


def _configure_fabric(fabric: Place) -> None:
    for setting, value in FABRIC_SETTINGS.items():
        try:
            fabric.write(setting, value)
        except FileNotFoundError:
            continue  # a kernel without IPv6 or br_netfilter


def nat_rules(interfaces: Iterable[str]) -> str:
    """Return nft text: what leaves by these interfaces leaves with their address."""
    names = ", ".join(f'"{name}"' for name in interfaces)
    table = f"table inet {NAT_TABLE}"
    if not names:
        return f"{table}\ndelete {table}\n"
    return f"""{table}
delete {table}
{table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname {{ {names} }} masquerade
  }}
}}
"""
