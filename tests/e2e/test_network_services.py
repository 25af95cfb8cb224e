"""A host, a cluster's namespace and pods, all namespaces of the test's own: Services answer from everywhere."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from sampan.network import cluster_link
from sampan.network.cni import Plugin
from sampan.network.cni_call import Call
from sampan.network.conntrack import forget_stale
from sampan.network.node_network import switch
from sampan.network.rule_table import RuleTable
from sampan.network.service_proxy import apply
from sampan.network.services import NOTHING, Endpoint, ProxyConfig, rules_of

spec = importlib.util.spec_from_file_location("netns_sandbox", Path(__file__).with_name("netns_sandbox.py"))
assert spec is not None and spec.loader is not None
sandbox = sys.modules.setdefault("netns_sandbox", importlib.util.module_from_spec(spec))
spec.loader.exec_module(sandbox)

pytestmark = sandbox.needs_root
CLUSTER, PODS = IPv4Network("10.250.0.0/16"), IPv4Network("10.250.0.0/18")
NODE_IP, HOST_IP = IPv4Address("10.250.255.2"), IPv4Address("10.250.255.1")
CLUSTER_IP, BALANCER_IP, EMPTY_IP, STICKY_IP = "10.250.64.7", "10.250.128.1", "10.250.64.8", "10.250.64.9"
CONFIG = ProxyConfig(NODE_IP, CLUSTER, PODS, cluster_link.NODE_INTERFACE)

SERVER = """
import socket, sys
s = socket.create_server(("0.0.0.0", 8080))
print("ready", flush=True)
while True:
    c, peer = s.accept()
    c.sendall((sys.argv[1] + " " + peer[0]).encode())
    c.close()
"""
UDP_SERVER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 5353))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(100)
    s.sendto(sys.argv[1].encode(), peer)
"""
ASK = """
import socket, sys
try:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)
    print(s.recv(64).decode())
except OSError as error:
    print(type(error).__name__)
"""
ASK_UDP = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 40404)); s.settimeout(3)
s.sendto(b"x", (sys.argv[1], int(sys.argv[2])))
try:
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
        run(
            self.host, "ip", "link", "add", "out0", "type", "veth", "peer", "name", "in0", "netns", self.pid(self.world)
        )
        for netns, device, address in ((self.host, "out0", "198.51.100.1/24"), (self.world, "in0", "198.51.100.2/24")):
            run(netns, "ip", "address", "add", address, "dev", device)
            run(netns, "ip", "link", "set", device, "up")
            run(netns, "ip", "link", "set", "lo", "up")
        run(self.host, "ip", "route", "add", "default", "via", "198.51.100.2")
        self.link = cluster_link.LinkConfig("test", 15, Path(self.cluster), directory, CLUSTER, HOST_IP, NODE_IP)
        self.table = RuleTable(CONFIG)
        sandbox.within(self.host, lambda: cluster_link.connect(self.link))
        self.pods = [spaces.new(), spaces.new()]
        sandbox.within(self.cluster, self._add_pods)
        for number, pod in enumerate(self.pods):
            spaces.start(pod, sys.executable, "-c", SERVER, f"pod{number}")
            spaces.start(pod, sys.executable, "-c", UDP_SERVER, f"pod{number}")

    def pid(self, netns: str) -> str:
        return netns.split("/")[2]

    def _add_pods(self) -> None:
        switch()
        plugin = Plugin([PODS])
        plugin.prepare()
        for number, pod in enumerate(self.pods):
            variables = {"CONTAINERID": f"pod{number}", "IFNAME": "eth0", "NETNS": pod, "COMMAND": "ADD"}
            plugin.add(Call("sampan", variables, {"cniVersion": "1.0.0"}))

    def load(self, **rules: Any) -> None:
        text = self.table.update(rules)
        whole = self.table.whole() if len(self.table.services) == len(rules) else text

        def work() -> None:
            asyncio.run(apply(whole))

        sandbox.within(self.cluster, work)

    def ask(self, netns: str, address: str, port: int = 80) -> str:
        return str(self.spaces.run(netns, sys.executable, "-c", ASK, address, str(port))).strip()

    def ask_udp(self, netns: str, address: str, port: int = 53) -> str:
        return str(self.spaces.run(netns, sys.executable, "-c", ASK_UDP, address, str(port))).strip()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with sandbox.namespaces() as spaces, ExitStack() as stack:
        made = World(spaces, tmp_path)
        stack.callback(lambda: sandbox.within(made.host, lambda: cluster_link.disconnect(made.link)))
        yield made


def service(name: str, cluster_ip: str, **spec: Any) -> dict[str, Any]:
    ports = [
        {"name": "http", "port": 80, "protocol": "TCP", "nodePort": spec.pop("node_port", None)},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]
    status = {"loadBalancer": {"ingress": [{"ip": ip}]}} if (ip := spec.pop("ip", "")) else {}
    body = {"type": "LoadBalancer" if ip else "ClusterIP", "clusterIP": cluster_ip, "ports": ports, **spec}
    return {"metadata": {"namespace": "shop", "name": name}, "spec": body, "status": status}


def slices(*addresses: str) -> list[dict[str, Any]]:
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 5353, "protocol": "UDP"}]
    made = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    return [{"metadata": {"name": "x"}, "addressType": "IPv4", "ports": ports, "endpoints": made}]


FIRST, SECOND = "10.250.0.2", "10.250.0.3"


def test_services_answer_from_everywhere(world: World) -> None:
    web = service("web", CLUSTER_IP, ip=BALANCER_IP, node_port=30080)
    world.load(
        web=rules_of(web, slices(FIRST), CONFIG),
        empty=rules_of(service("empty", EMPTY_IP), [], CONFIG),
    )
    for address, port in ((CLUSTER_IP, 80), (BALANCER_IP, 80), (str(NODE_IP), 30080), (FIRST, 8080)):
        # the client's address is seen by the pod, from the host and from another pod alike
        assert world.ask(world.host, address, port) == f"pod0 {HOST_IP}"
        assert world.ask(world.pods[1], address, port) == f"pod0 {SECOND}"
        assert world.ask(world.cluster, address, port).startswith("pod0 ")
    # a pod behind the Service reaches itself by it
    assert world.ask(world.pods[0], CLUSTER_IP).startswith("pod0 ")
    for netns in (world.host, world.pods[0], world.cluster):
        assert world.ask(netns, EMPTY_IP) == "ConnectionRefusedError"
        assert world.ask(netns, CLUSTER_IP, 81) == "ConnectionRefusedError"

    world.load(web=rules_of(web, slices(FIRST, SECOND), CONFIG))
    seen = {world.ask(world.host, BALANCER_IP) for _ in range(20)}
    assert seen == {f"pod0 {HOST_IP}", f"pod1 {HOST_IP}"}
    world.load(web=NOTHING)
    assert world.ask(world.host, BALANCER_IP) == "ConnectionRefusedError"
    rules = world.spaces.run(world.cluster, "nft", "list", "ruleset")
    assert "shop/web" not in rules


def test_affinity_udp_and_source_ranges(world: World) -> None:
    sticky = service("sticky", STICKY_IP, sessionAffinity="ClientIP")
    guarded = service("guarded", CLUSTER_IP, ip=BALANCER_IP, loadBalancerSourceRanges=[f"{FIRST}/32"])
    both = slices(FIRST, SECOND)
    world.load(sticky=rules_of(sticky, both, CONFIG), guarded=rules_of(guarded, slices(SECOND), CONFIG))
    assert len({world.ask(world.host, STICKY_IP) for _ in range(8)}) == 1
    assert world.ask(world.pods[0], BALANCER_IP) == f"pod1 {FIRST}"
    assert world.ask(world.host, BALANCER_IP) == "TimeoutError"

    assert world.ask_udp(world.host, CLUSTER_IP) == "pod1"
    world.load(guarded=rules_of(guarded, slices(FIRST), CONFIG))
    wanted = {(CLUSTER_IP, 53): frozenset({Endpoint(IPv4Address(FIRST), 5353)})}

    def forget() -> None:
        assert forget_stale(wanted) == 1

    sandbox.within(world.cluster, forget)
    assert world.ask_udp(world.host, CLUSTER_IP) == "pod0"


def test_pods_reach_the_world_as_the_host(world: World) -> None:
    world.spaces.start(world.world, sys.executable, "-c", SERVER, "world")
    assert world.ask(world.pods[0], "198.51.100.2", 8080) == "world 198.51.100.1"


def test_the_link_can_be_made_twice_and_leaves_nothing(world: World) -> None:
    run = world.spaces.run
    sandbox.within(world.host, lambda: cluster_link.connect(world.link))
    sandbox.within(world.host, lambda: cluster_link.disconnect(world.link))
    assert "smp15" not in run(world.host, "ip", "link")
    assert "10.250" not in run(world.host, "ip", "route")
    assert run(world.host, "nft", "list", "ruleset") == ""
    assert run(world.host, "cat", "/proc/sys/net/ipv4/conf/out0/forwarding").strip() == "0"
    sandbox.within(world.host, lambda: cluster_link.disconnect(world.link))
    sandbox.within(world.host, lambda: cluster_link.connect(world.link))
    assert world.ask(world.host, FIRST, 8080) == f"pod0 {HOST_IP}"


@pytest.mark.skipif(not shutil.which("iptables"), reason="needs iptables")
def test_a_firewall_that_drops_what_is_forwarded_lets_the_cluster_through(world: World) -> None:
    run = world.spaces.run
    run(world.host, "iptables", "-P", "FORWARD", "DROP")
    world.spaces.start(world.world, sys.executable, "-c", SERVER, "world")
    assert world.ask(world.pods[0], "198.51.100.2", 8080) == "TimeoutError"
    for _ in range(2):
        sandbox.within(world.host, lambda: cluster_link.connect(world.link))
    assert world.ask(world.pods[0], "198.51.100.2", 8080) == "world 198.51.100.1"
    sandbox.within(world.host, lambda: cluster_link.disconnect(world.link))
    assert "smp15" not in run(world.host, "iptables", "-S")


def test_clashing_routes_and_a_link_made_anew(world: World) -> None:
    def work() -> None:
        assert cluster_link.clashing_route(IPv4Network("198.51.0.0/16")) == "198.51.100.0/24"
        assert cluster_link.clashing_route(IPv4Network("10.251.0.0/16")) == ""
        begun = time.perf_counter()
        cluster_link.disconnect(world.link)
        between = time.perf_counter()
        cluster_link.connect(world.link)
        spent = time.perf_counter() - between
        print(f"connect {spent * 1000:.0f} ms, disconnect {(between - begun) * 1000:.0f} ms")

    sandbox.within(world.host, work)
    assert world.ask(world.host, FIRST, 8080) == f"pod0 {HOST_IP}"
