"""A host, a cluster's namespace and pods, all of them network namespaces of a test's own, in both families of IP."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any

from sampan.network import cluster_link
from sampan.network.agent import NetworkConfig, proxy_of
from sampan.network.cni import Call, Plugin
from sampan.network.families import FAMILIES
from sampan.network.node_network import switch
from sampan.network.rule_table import RuleTable
from sampan.network.service_kernel import ServiceKernel
from sampan.network.services import ServiceRules

from . import netns_sandbox as sandbox

CLUSTER = (IPv4Network("10.250.0.0/16"), IPv6Network("fd53:6d70:fa::/48"))
PODS = (IPv4Network("10.250.0.0/18"), IPv6Network("fd53:6d70:fa::/64"))
HOST_IPS = (IPv4Address("10.250.255.1"), IPv6Address("fd53:6d70:fa:ff::1"))
NODE_IPS = (IPv4Address("10.250.255.2"), IPv6Address("fd53:6d70:fa:ff::2"))
BALANCERS = (IPv4Network("10.250.128.0/20"), IPv6Network("fd53:6d70:fa:2::/112"))
FIRST = ("10.250.0.2", "fd53:6d70:fa::2")
SECOND = ("10.250.0.3", "fd53:6d70:fa::3")
NODE = "test-node"
NETWORK = NetworkConfig(NODE, Path(), Path(), Path(), Path(), PODS, NODE_IPS, CLUSTER, BALANCERS)
CONFIG = proxy_of(NETWORK)

SERVER = """
import socket, sys
s = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
print("ready", flush=True)
while True:
    c, peer = s.accept()
    try:
        c.sendall((sys.argv[1] + " " + peer[0].removeprefix("::ffff:")).encode())
    except OSError:
        pass
    c.close()
"""
UDP_SERVER = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", 5353))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(100)
    s.sendto(sys.argv[1].encode(), peer)
"""
ASK = """
import socket, sys
for _ in range(int(sys.argv[3])):
    try:
        s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
        print(s.recv(64).decode())
        s.close()
    except OSError as error:
        print(type(error).__name__)
"""
ASK_UDP = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[3]))); s.settimeout(2)
s.connect((sys.argv[1], int(sys.argv[2])))
try:
    s.send(b"x")
    print(s.recv(64).decode())
except OSError as error:
    print(type(error).__name__)
"""


class World:
    """A host with an uplink to an outer world, a cluster linked to it, two pods that serve."""

    def __init__(self, spaces: Any, directory: Path) -> None:
        self.spaces = spaces
        self.host, self.world, self.cluster = spaces.new(), spaces.new(), spaces.new()
        run = spaces.run
        # a new namespace takes over what the machine has, where Docker may have switched it on
        run(self.host, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
        peer = ("type", "veth", "peer", "name", "in0", "netns", self.world.split("/")[2])
        run(self.host, "ip", "link", "add", "out0", *peer)
        for netns, device, number in ((self.host, "out0", 1), (self.world, "in0", 2)):
            run(netns, "ip", "address", "add", f"198.51.100.{number}/24", "dev", device)
            run(netns, "ip", "address", "add", f"2001:db8::{number}/64", "dev", device, "nodad")
            run(netns, "ip", "link", "set", device, "up")
            run(netns, "ip", "link", "set", "lo", "up")
        run(self.host, "ip", "route", "add", "default", "via", "198.51.100.2")
        run(self.host, "ip", "route", "add", "default", "via", "2001:db8::2")
        self.link = cluster_link.LinkConfig("test", 15, Path(self.cluster), directory, CLUSTER, HOST_IPS, NODE_IPS)
        self.table = RuleTable(CONFIG)
        self.begun = False
        sandbox.within(self.host, lambda: cluster_link.connect(self.link))
        self.pods = [spaces.new(), spaces.new()]
        sandbox.within(self.cluster, self._add_pods)
        for number, pod in enumerate(self.pods):
            self.serve(pod, f"pod{number}")

    def serve(self, netns: str, name: str) -> None:
        self.spaces.start(netns, sys.executable, "-c", SERVER, name)
        self.spaces.start(netns, sys.executable, "-c", UDP_SERVER, name)

    def _add_pods(self) -> None:
        switch(FAMILIES)
        plugin = Plugin(PODS)
        plugin.prepare()
        for number, pod in enumerate(self.pods):
            variables = {"CONTAINERID": f"pod{number}", "IFNAME": "eth0", "NETNS": pod, "COMMAND": "ADD"}
            plugin.add(Call("sampan", variables, {"cniVersion": "1.0.0"}))

    def load(self, rules: Mapping[str, ServiceRules]) -> None:
        """Bring the rules of some Services into the kernel."""
        change = self.table.update(rules)

        def work() -> None:
            kernel = ServiceKernel(CONFIG)
            if self.begun:
                kernel.apply(change)
            else:
                kernel.adopt(self.table)

        sandbox.within(self.cluster, work)
        self.begun = True

    def ask(self, netns: str, address: object, port: int = 80, times: int = 1) -> str:
        return str(self.spaces.run(netns, sys.executable, "-c", ASK, str(address), str(port), str(times))).strip()

    def seen(self, netns: str, address: object, port: int = 80, times: int = 24) -> set[str]:
        return set(self.ask(netns, address, port, times).splitlines())

    def ask_udp(self, netns: str, address: object, port: int = 53, source: int = 40404) -> str:
        return str(
            self.spaces.run(netns, sys.executable, "-c", ASK_UDP, str(address), str(port), str(source))
        ).strip()  # fmt: skip


@contextmanager
def living_world(directory: Path) -> Iterator[World]:
    """A world until the block ends: nothing of it remains."""
    with sandbox.namespaces() as spaces, ExitStack() as stack:
        made = World(spaces, directory)
        stack.callback(lambda: sandbox.within(made.host, lambda: cluster_link.disconnect(made.link)))
        yield made


def service(name: str, number: int, *, node_port: int = 0, balanced: bool = False, **spec: Any) -> dict[str, Any]:
    """Return a Service ``shop/NAME`` of both families: its addresses end with a number."""
    ports = [
        {"name": "http", "port": 80, "protocol": "TCP", "nodePort": node_port},
        {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": node_port},
    ]
    ingress = [{"ip": str(address)} for address in balancer_ips(number)] if balanced else []
    addresses = [str(address) for address in cluster_ips(number)]
    kind = "LoadBalancer" if balanced else "NodePort" if node_port else "ClusterIP"
    body = {"type": kind, "clusterIP": addresses[0], "clusterIPs": addresses, "ports": ports, **spec}
    metadata = {"namespace": "shop", "name": name}
    return {"metadata": metadata, "spec": body, "status": {"loadBalancer": {"ingress": ingress}}}


def cluster_ips(number: int) -> tuple[IPv4Address, IPv6Address]:
    return IPv4Address("10.250.64.0") + number, IPv6Address("fd53:6d70:fa:1::") + number


def balancer_ips(number: int) -> tuple[IPv4Address, IPv6Address]:
    return IPv4Address("10.250.128.0") + number, IPv6Address("fd53:6d70:fa:2::") + number


def slices(*endpoints: tuple[str, ...], **entry: Any) -> list[dict[str, Any]]:
    """Return the EndpointSlices of some endpoints, each given by its addresses."""
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 5353, "protocol": "UDP"}]
    found: dict[str, list[dict[str, Any]]] = {"IPv4": [], "IPv6": []}
    for addresses in endpoints:
        for address in addresses:
            made = {"addresses": [address], "conditions": {"ready": True}, **entry}
            found[f"IPv{ip_address(address).version}"].append(made)
    return [
        {"metadata": {"name": kind}, "addressType": kind, "ports": ports, "endpoints": listed}
        for kind, listed in found.items()
        if listed
    ]
