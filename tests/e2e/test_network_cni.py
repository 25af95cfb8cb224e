"""The CNI plugin through its real shim: pods in namespaces of their own reach each other and the node."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

spec = importlib.util.spec_from_file_location("netns_sandbox", Path(__file__).with_name("netns_sandbox.py"))
assert spec is not None and spec.loader is not None
sandbox = sys.modules.setdefault("netns_sandbox", importlib.util.module_from_spec(spec))
spec.loader.exec_module(sandbox)

pytestmark = sandbox.needs_root
POD_CIDR = IPv4Network("10.99.0.0/18")

AGENT = """
import asyncio, sys
from ipaddress import IPv4Network
from pathlib import Path
from sampan.network.cni import Plugin, serve_cni
from sampan.network.node_network import switch

async def main():
    switch()
    plugin = Plugin([IPv4Network(sys.argv[2])])
    plugin.prepare()
    path = Path(sys.argv[1])
    async with asyncio.TaskGroup() as group:
        group.create_task(serve_cni(plugin, path))
        while not path.exists():
            await asyncio.sleep(0.005)
        print("ready", flush=True)

asyncio.run(main())
"""
PING = (
    "import socket,sys; s=socket.create_connection((sys.argv[1], 7000), 3); s.sendall(b'x'); print(s.recv(64).decode())"
)
SERVER = """
import socket
s = socket.create_server(("0.0.0.0", 7000))
print("ready", flush=True)
while True:
    c, peer = s.accept()
    c.recv(16)
    c.sendall(peer[0].encode())
    c.close()
"""


FORGE = """
import json, socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
mac = lambda text: bytes.fromhex(text.replace(":", ""))
ip = socket.inet_aton
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
for kind, to_mac, from_mac, sender, target, text in json.loads(sys.argv[1]):
    if kind == "arp":
        body = struct.pack("!HHBBH", 1, 0x800, 6, 4, 2) + mac(text) + ip(sender) + mac(to_mac) + ip(target)
        s.send(mac(to_mac) + mac(from_mac) + bytes.fromhex("0806") + body)
        continue
    udp = struct.pack("!HHHH", 7777, 7777, 8 + len(text), 0) + text.encode()
    head = lambda sum: struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, sum) + ip(sender) + ip(target)
    s.send(mac(to_mac) + mac(from_mac) + bytes.fromhex("0800") + head(checksum(head(0))) + udp)
"""
"""Sends frames as they are given: their hardware addresses, IP addresses and text; of ARP, whose address it tells of."""
HEAR = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 7777))
print("ready", flush=True)
while True:
    print(s.recv(100).decode(), flush=True)
"""


class Cluster:
    def __init__(self, spaces: Any, directory: Path) -> None:
        from sampan.network.cni_shim import install

        self.spaces, self.directory = spaces, directory
        self.netns = spaces.new()
        self.socket = directory / "cni.sock"
        install(directory, self.socket)
        self.start()

    def start(self) -> None:
        command = (sys.executable, "-c", AGENT, str(self.socket), str(POD_CIDR))
        self.agent = self.spaces.start(self.netns, *command)

    def cni(
        self, command: str, container: str, netns: str = "", *, plugin: str = "sampan", **config: object
    ) -> tuple[int, dict[str, Any]]:
        environment = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": "eth0", "CNI_NETNS": netns}
        text = json.dumps({"cniVersion": "1.0.0", "name": "sampan", "type": plugin, **config})
        shim = str(self.directory / "bin" / plugin)
        done = subprocess.run([shim], input=text, capture_output=True, text=True, env=environment, timeout=20)
        assert not done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout or "{}")


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with sandbox.namespaces() as spaces:
        yield Cluster(spaces, tmp_path_factory.mktemp("cni"))


def address_of(result: dict[str, Any]) -> str:
    return result["ips"][0]["address"].removesuffix("/32")


def test_pods_reach_each_other_and_themselves_through_the_router(cluster: Cluster) -> None:
    pods = []
    for number in range(2):
        netns = cluster.spaces.new()
        code, result = cluster.cni("ADD", f"pod{number}", netns)
        assert code == 0, result
        pods.append((netns, address_of(result)))
    (first, first_ip), (second, second_ip) = pods
    assert (first_ip, second_ip) == ("10.99.0.2", "10.99.0.3")
    cluster.spaces.start(second, sys.executable, "-c", SERVER)
    run = cluster.spaces.run
    assert run(first, sys.executable, "-c", PING, second_ip).strip() == first_ip
    assert run(second, sys.executable, "-c", PING, second_ip).strip() == second_ip
    assert run(cluster.netns, sys.executable, "-c", PING, second_ip).strip() == "10.99.0.1"
    assert cluster.cni("CHECK", "pod0", first)[0] == 0
    run(first, "ip", "route", "del", "default")
    code, error = cluster.cni("CHECK", "pod0", first)
    assert code == 1 and "default route" in str(error["msg"])


def test_a_pod_sends_from_its_own_addresses_and_to_the_router_alone(cluster: Cluster) -> None:
    """Whatever a container with CAP_NET_RAW writes: policies go by addresses, and stand where packets are routed."""
    liar, victim = (cluster.spaces.new() for _ in range(2))
    mine, other = (address_of(cluster.cni("ADD", name, at)[1]) for name, at in (("liar", liar), ("victim", victim)))
    run = cluster.spaces.run

    def mac_in(netns: str, link: str) -> str:
        return str(json.loads(run(netns, "ip", "-j", "link", "show", link))[0]["address"])

    own, theirs, router = mac_in(liar, "eth0"), mac_in(victim, "eth0"), mac_in(cluster.netns, "sampan0")
    heard = cluster.spaces.start(victim, sys.executable, "-c", HEAR)
    frames = [
        ("ip", router, own, mine, other, "honest"),
        ("ip", router, own, "10.99.0.9", other, "another address"),
        ("ip", router, own, "10.99.0.1", other, "the router's address"),
        ("ip", router, theirs, other, other, "the other pod's addresses"),
        ("ip", router, theirs, mine, other, "another hardware address"),
        ("ip", theirs, own, mine, other, "not routed"),
        ("ip", "ff:ff:ff:ff:ff:ff", own, mine, other, "to all"),
        ("arp", router, own, other, "10.99.0.1", own),
        ("arp", router, own, mine, "10.99.0.1", theirs),
    ]
    run(liar, sys.executable, "-c", FORGE, json.dumps([*frames, ("ip", router, own, mine, other, "last")]))
    assert [heard.stdout.readline(), heard.stdout.readline()] == ["honest\n", "last\n"]
    known = {
        each["dst"]: each["lladdr"]
        for each in json.loads(run(cluster.netns, "ip", "-j", "neigh", "show", "nud", "all"))
        if "lladdr" in each
    }
    assert known[other] == theirs and known.get(mine, own) == own
    # the kernel keeps it while the agent is away; what is gone is forgotten
    cluster.agent.kill()
    cluster.agent.wait()
    cluster.start()
    run(liar, sys.executable, "-c", FORGE, json.dumps([*frames[1:], ("ip", router, own, mine, other, "again")]))
    assert heard.stdout.readline() == "again\n"
    held = ("nft", "list", "set", "bridge", "sampan-sources", "held-4")
    assert run(cluster.netns, *held).count("10.99.0.") == 2
    cluster.cni("DEL", "liar", liar)
    assert mine not in run(cluster.netns, *held) and other in run(cluster.netns, *held)


def test_del_is_idempotent_and_add_after_a_restart_doubles_no_address(cluster: Cluster) -> None:
    netns = cluster.spaces.new()
    first = cluster.cni("ADD", "a", netns)[1]
    cluster.agent.kill()
    cluster.agent.wait()
    code, error = cluster.cni("ADD", "b", netns)
    assert code == 1 and error["code"] == 11
    cluster.start()
    other = cluster.spaces.new()
    assert address_of(cluster.cni("ADD", "b", other)[1]) != address_of(first)
    assert cluster.cni("DEL", "a", netns)[0] == 0
    assert cluster.cni("DEL", "a")[0] == 0
    shown = cluster.spaces.run(cluster.netns, "ip", "-o", "link", "show", "master", "sampan0")
    assert len(shown.splitlines()) == 1


def test_loopback_version_gc_and_errors(cluster: Cluster) -> None:
    netns = cluster.spaces.new()
    assert cluster.cni("ADD", "x", netns, plugin="loopback")[0] == 0
    assert "UP" in cluster.spaces.run(netns, "ip", "link", "show", "lo")
    assert "1.0.0" in cluster.cni("VERSION", "x")[1]["supportedVersions"]
    assert cluster.cni("ADD", "x", "/nowhere")[1]["code"] == 4
    assert cluster.cni("ADD", "x", netns, cniVersion="9.0.0")[1]["code"] == 1
    assert cluster.cni("ADD", "x", netns)[0] == 0
    kept = {"cni.dev/valid-attachments": [{"containerID": "x", "ifname": "eth0"}]}
    assert cluster.cni("GC", "", cniVersion="1.1.0", **kept)[0] == 0
    assert cluster.cni("CHECK", "x", netns)[0] == 0
    assert cluster.cni("GC", "", cniVersion="1.1.0", **{"cni.dev/valid-attachments": []})[0] == 0
    assert cluster.cni("CHECK", "x", netns)[0] == 1


def test_adds_follow_each_other(cluster: Cluster) -> None:
    spent = []
    for number in range(5):
        netns = cluster.spaces.new()
        begun = time.perf_counter()
        assert cluster.cni("ADD", f"quick{number}", netns)[0] == 0
        spent.append(time.perf_counter() - begun)
    print(f"ADD through the shim: {min(spent) * 1000:.1f} ms at best")
