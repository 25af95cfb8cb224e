"""What a pod may send over IPv6: its own addresses, in packets and in neighbour discovery, whatever headers stand between."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from . import netns_sandbox as sandbox
from .eventually import eventually

pytestmark = [
    sandbox.needs_root,
    pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="the kernel has no IPv6"),
]
RANGES = ("10.98.0.0/24", "fd00:98::/64")
ROUTER = "fd00:98::1"
FORGE = """
import json, socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
mac = lambda text: bytes.fromhex(text.replace(":", ""))
ip = lambda text: socket.inet_pton(socket.AF_INET6, text)
def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
for kind, to_mac, from_mac, sender, target, what in json.loads(sys.argv[1]):
    number, between = 58, b""
    make = {
        "udp": lambda sum: struct.pack("!HHHH", 7777, 7777, 8 + len(what), sum) + what.encode(),
        # overriding what is known, and telling of the sender's hardware address
        "advert": lambda sum: struct.pack("!BBHI", 136, 0, sum, 0x60000000) + ip(what) + b"\\2\\1" + mac(from_mac),
    }
    if kind == "udp":
        number, make = 17, make["udp"]
    else:
        make = make["advert"]
    pseudo = ip(sender) + ip(target) + struct.pack("!II", len(make(0)), number)
    body = make(checksum(pseudo + make(0)))
    if kind == "behind":
        # an option that receivers skip, with the sender's own address where that of an advertisement would be
        between = struct.pack("!BBBB", number, 2, 0x1E, 20) + bytes(4) + ip(sender)
        number = 0
    head = struct.pack("!IHBB", 6 << 28, len(between + body), number, 255) + ip(sender) + ip(target)
    s.send(mac(to_mac) + mac(from_mac) + bytes.fromhex("86dd") + head + between + body)
"""
"""Sends frames as they are given: kind, hardware addresses, addresses; text, or whose address they tell of."""
HEAR = """
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 7777))
s.settimeout(30)
print("ready", flush=True)
while True:
    print(s.recv(100).decode(), flush=True)
"""
"""Ends when nothing comes for long: who reads what it prints does not wait for ever."""


class World(NamedTuple):
    spaces: Any
    node: str
    liar: str
    victim: str

    def mac(self, netns: str, link: str) -> str:
        return str(json.loads(self.spaces.run(netns, "ip", "-j", "link", "show", link))[0]["address"])

    def send(self, *frames: tuple[str, ...]) -> None:
        self.spaces.run(self.liar, sys.executable, "-c", FORGE, json.dumps(frames))


@pytest.fixture
def world() -> Iterator[World]:
    with sandbox.namespaces() as spaces:
        node, liar, victim = (spaces.new() for _ in range(3))

        def attach() -> None:
            from sampan.network.cni import Plugin
            from sampan.network.cni_call import Call
            from sampan.network.families import FAMILIES
            from sampan.network.node_network import switch

            switch(FAMILIES)
            plugin = Plugin([ip_network(each) for each in RANGES])
            plugin.prepare()
            for name, netns in (("liar", liar), ("victim", victim)):
                variables = {"CONTAINERID": name, "IFNAME": "eth0", "NETNS": netns, "COMMAND": "ADD"}
                plugin.add(Call("sampan", variables, {"cniVersion": "1.0.0"}))

        sandbox.within(node, attach)
        yield World(spaces, node, liar, victim)


def test_ipv6_senders_are_the_pods_own(world: World) -> None:
    own, theirs = (world.mac(each, "eth0") for each in (world.liar, world.victim))
    router = world.mac(world.node, "sampan0")
    mine, other = "fd00:98::2", "fd00:98::3"
    heard = world.spaces.start(world.victim, sys.executable, "-c", HEAR)

    def known() -> dict[str, str]:
        shown = json.loads(world.spaces.run(world.node, "ip", "-6", "-j", "neigh", "show", "nud", "all"))
        return {each["dst"]: each["lladdr"] for each in shown if "lladdr" in each}

    world.send(("udp", router, own, mine, other, "honest"))
    assert heard.stdout.readline() == "honest\n"
    assert known()[other] == theirs
    world.send(
        ("udp", router, own, "fd00:98::9", other, "another address"),
        ("udp", router, own, ROUTER, other, "the router's address"),
        ("udp", router, theirs, other, other, "the other pod's addresses"),
        ("udp", router, theirs, mine, other, "another hardware address"),
        ("udp", theirs, own, mine, other, "not routed"),
        ("advert", router, own, mine, ROUTER, other),
        ("behind", router, own, mine, ROUTER, other),
        ("udp", router, own, mine, other, "last"),
    )
    assert heard.stdout.readline() == "last\n"
    assert known()[other] == theirs
    # of itself a pod may tell, behind other headers, too: the router believes it
    stale = ("lladdr", "02:00:00:00:00:99", "dev", "sampan0", "nud", "stale")
    world.spaces.run(world.node, "ip", "-6", "neigh", "replace", mine, *stale)
    world.send(("behind", router, own, mine, ROUTER, mine), ("udp", router, own, mine, other, "told"))
    assert heard.stdout.readline() == "told\n"
    eventually("what it tells is known", lambda: known().get(mine) == own)


def test_the_router_tells_pods_of_no_way_past_it(world: World) -> None:
    """It does when a packet leaves by the link that it came by, which is how pods of a node reach each other."""
    own, router = world.mac(world.liar, "eth0"), world.mac(world.node, "sampan0")
    heard = world.spaces.start(world.victim, sys.executable, "-c", HEAR)
    world.send(("udp", router, own, "fd00:98::2", "fd00:98::3", "one"))
    assert heard.stdout.readline() == "one\n"
    rules = json.loads(world.spaces.run(world.node, "nft", "-j", "list", "chain", "inet", "sampan-sources", "output"))
    counted = [
        part["counter"]["packets"]
        for each in rules["nftables"]
        for part in each.get("rule", {}).get("expr", [])
        if "counter" in part
    ]
    assert sum(counted) >= 1
    assert "fd00:98::3" not in world.spaces.run(world.liar, "ip", "-6", "route", "show", "cache")
