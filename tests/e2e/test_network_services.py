"""Services answer from everywhere, in both families: real packets through namespaces of the test's own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any

import pytest

from sampan.network import cluster_link
from sampan.network.conntrack import udp_entries
from sampan.network.families import IPV4, IPV6
from sampan.network.service_endpoints import Endpoint
from sampan.network.service_flows import forget_stale
from sampan.network.services import NOTHING, rules_of

from . import netns_sandbox as sandbox
from .eventually import eventually
from .network_world import (
    CONFIG,
    FIRST,
    HOST_IPS,
    NODE_IPS,
    SECOND,
    SERVER,
    World,
    balancer_ips,
    cluster_ips,
    living_world,
    service,
    slices,
)

pytestmark = sandbox.needs_root
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with living_world(tmp_path_factory.mktemp("world")) as made:
        yield made


def rules(made: dict[str, Any], *pieces: dict[str, Any]) -> Any:
    return rules_of(made, pieces, CONFIG)


@FAMILIES
def test_services_answer_from_everywhere(world: World, family: int) -> None:
    web = service("web", 7, balanced=True, node_port=30080, externalIPs=["192.0.2.9", "2001:db8:9::9"])
    world.load(
        {
            "web": rules(web, *slices(FIRST)),
            "empty": rules(service("empty", 8, node_port=30081), *slices()),
        }
    )
    cluster_ip, balancer_ip, node_ip = cluster_ips(7)[family], balancer_ips(7)[family], NODE_IPS[family]
    for address, port in ((cluster_ip, 80), (balancer_ip, 80), (node_ip, 30080), (FIRST[family], 8080)):
        # the client's address is seen by the pod, from the host and from another pod alike
        assert world.ask(world.host, address, port) == f"pod0 {HOST_IPS[family]}"
        assert world.ask(world.pods[1], address, port) == f"pod0 {SECOND[family]}"
        assert world.ask(world.cluster, address, port).startswith("pod0 ")
    assert world.ask(world.pods[1], ("192.0.2.9", "2001:db8:9::9")[family]) == f"pod0 {SECOND[family]}"
    assert world.ask_udp(world.pods[1], cluster_ip) == world.ask_udp(world.host, node_ip, 30080) == "pod0"
    # a pod behind the Service reaches itself by it, whichever of its addresses it asks
    for address, port in ((cluster_ip, 80), (balancer_ip, 80), (node_ip, 30080)):
        assert world.ask(world.pods[0], address, port).startswith("pod0 ")
    for netns in (world.host, world.pods[0], world.cluster):
        assert world.ask(netns, cluster_ips(8)[family]) == "ConnectionRefusedError"
        # the node's own programs are told by the call that sends
        refused = "PermissionError" if netns == world.cluster else "ConnectionRefusedError"
        assert world.ask_udp(netns, cluster_ips(8)[family]) == refused
        assert world.ask(netns, node_ip, 30081) == "ConnectionRefusedError"
        assert world.ask(netns, cluster_ip, 81) == "ConnectionRefusedError"
        assert world.ask(netns, cluster_ips(9)[family]) == "ConnectionRefusedError"

    world.load({"web": rules(web, *slices(FIRST, SECOND))})
    seen = world.seen(world.host, balancer_ip)
    assert seen == {f"pod0 {HOST_IPS[family]}", f"pod1 {HOST_IPS[family]}"}
    world.load({"web": NOTHING, "empty": NOTHING})
    assert world.ask(world.host, balancer_ip) == "ConnectionRefusedError"
    assert "web" not in world.spaces.run(world.cluster, "nft", "list", "ruleset")


@FAMILIES
def test_a_client_stays_with_its_endpoint_until_that_goes(world: World, family: int) -> None:
    sticky = service("sticky", 9, node_port=30090, sessionAffinity="ClientIP")
    world.load({"sticky": rules(sticky, *slices(FIRST, SECOND))})
    address = cluster_ips(9)[family]
    (chosen,) = world.seen(world.host, address)
    # the node's port belongs to the same Service's port: the client is known there, too
    assert world.seen(world.host, NODE_IPS[family], 30090) == {chosen}
    left, gone = (SECOND, FIRST) if chosen.startswith("pod0") else (FIRST, SECOND)
    world.load({"sticky": rules(sticky, *slices(left))})
    (now,) = world.seen(world.host, address)
    assert now != chosen
    world.load({"sticky": rules(sticky, *slices(left, gone))})
    assert world.seen(world.host, address) == {now}
    short = {"clientIP": {"timeoutSeconds": 1}}
    world.load(
        {"sticky": rules({**sticky, "spec": {**sticky["spec"], "sessionAffinityConfig": short}}, *slices(FIRST))}
    )
    assert "timeout 1s" in world.spaces.run(world.cluster, "nft", "list", "ruleset")
    world.load({"sticky": NOTHING})
    assert "affinity" not in world.spaces.run(world.cluster, "nft", "list", "ruleset")


@FAMILIES
def test_a_remembered_client_is_forgotten_after_the_time(world: World, family: int) -> None:
    config = {"clientIP": {"timeoutSeconds": 1}}
    sticky = service("brief", 10, sessionAffinity="ClientIP", sessionAffinityConfig=config)
    world.load({"brief": rules(sticky, *slices(FIRST, SECOND))})
    seen: set[str] = set()

    def asked_again() -> bool:
        """Ask once, and wait until nobody remembers it."""
        seen.update(world.seen(world.host, cluster_ips(10)[family], times=1))
        eventually(
            "nobody remembers", lambda: "expires" not in world.spaces.run(world.cluster, "nft", "list", "ruleset")
        )
        return len(seen) == 2

    eventually("the other endpoint's turn", asked_again, 60)
    world.load({"brief": NOTHING})


@FAMILIES
def test_source_ranges_and_stale_datagrams(world: World, family: int) -> None:
    ranges = [f"{FIRST[0]}/32", f" {FIRST[1]}/128"]
    guarded = service("guarded", 11, balanced=True, loadBalancerSourceRanges=ranges)
    world.load({"guarded": rules(guarded, *slices(SECOND))})
    assert world.ask(world.pods[0], balancer_ips(11)[family]) == f"pod1 {FIRST[family]}"
    assert world.ask(world.host, balancer_ips(11)[family]) == "TimeoutError"
    assert world.ask(world.host, cluster_ips(11)[family]) == f"pod1 {HOST_IPS[family]}"

    assert world.ask_udp(world.host, cluster_ips(11)[family], source=40405) == "pod1"
    world.load({"guarded": rules(guarded, *slices(FIRST))})
    assert world.ask_udp(world.host, cluster_ips(11)[family], source=40405) == "pod1"
    address = ip_address(FIRST[family])
    wanted = {(cluster_ips(11)[family], 53): frozenset({Endpoint(address, 5353)})}

    def forget() -> None:
        of = (IPV4, IPV6)[family]
        ports = {entry.original.destination_port for entry in udp_entries(of, cluster_ips(11)[family], 53)}
        assert ports == {53}, "the kernel tells of no other ports"
        assert not list(udp_entries(of, cluster_ips(11)[family], 54)) and list(udp_entries(of, None, 53))
        assert forget_stale(wanted) == 1 and forget_stale(wanted) == 0

    sandbox.within(world.cluster, forget)
    assert world.ask_udp(world.host, cluster_ips(11)[family], source=40405) == "pod0"
    world.load({"guarded": NOTHING})


@FAMILIES
def test_pods_go_on_by_the_router(world: World, family: int) -> None:
    """Nobody tells them of the way past it, where no policy stands: IPv6 does, unless it is kept from it."""
    for _ in range(2):
        assert world.seen(world.pods[0], SECOND[family], 8080, 4) == {f"pod1 {FIRST[family]}"}
        assert world.seen(world.pods[1], FIRST[family], 8080, 4) == {f"pod0 {SECOND[family]}"}
    for pod in world.pods:
        known = world.spaces.run(pod, "ip", f"-{(4, 6)[family]}", "neigh")
        assert FIRST[family] not in known and SECOND[family] not in known, known


@FAMILIES
def test_policies_keep_traffic_here(world: World, family: int) -> None:
    elsewhere = slices(("192.0.2.55", "2001:db8:55::55"), nodeName="other")
    local = service("local", 12, balanced=True, node_port=30120, externalTrafficPolicy="Local")
    # no endpoint here: those outside are dropped, those inside go to wherever there is one
    world.load({"local": rules(local, *elsewhere)})
    assert world.ask(world.host, balancer_ips(12)[family]) == "TimeoutError"
    assert world.ask(world.host, NODE_IPS[family], 30120) == "TimeoutError"
    # one here: those outside have it alone, with their own address
    here = [*slices(FIRST, nodeName=CONFIG.node_name), *elsewhere]
    world.load({"local": rules(local, *here)})
    assert world.seen(world.host, balancer_ips(12)[family], times=8) == {f"pod0 {HOST_IPS[family]}"}
    assert world.seen(world.host, NODE_IPS[family], 30120, times=8) == {f"pod0 {HOST_IPS[family]}"}
    inside = {**local, "spec": {**local["spec"], "internalTrafficPolicy": "Local"}}
    world.load({"local": rules(inside, *here)})
    assert world.seen(world.pods[1], cluster_ips(12)[family], times=8) == {f"pod0 {SECOND[family]}"}
    world.load({"local": rules(inside, *elsewhere)})
    assert world.ask(world.pods[1], cluster_ips(12)[family]) == "TimeoutError"
    # inside, an outer address is not bound by the policy: both pods answer although but one counts as local
    both = [*slices(FIRST, nodeName="other"), *slices(SECOND, nodeName=CONFIG.node_name)]
    world.load({"local": rules(local, *both)})
    assert world.seen(world.pods[1], balancer_ips(12)[family]) >= {f"pod0 {SECOND[family]}"}
    assert world.seen(world.pods[1], NODE_IPS[family], 30120) >= {f"pod0 {SECOND[family]}"}
    assert world.seen(world.host, balancer_ips(12)[family]) == {f"pod1 {HOST_IPS[family]}"}
    world.load({"local": NOTHING})


@FAMILIES
def test_endpoints_that_end_serve_while_there_is_no_other(world: World, family: int) -> None:
    ending = {"conditions": {"ready": False, "serving": True, "terminating": True}}
    web = service("ending", 13)
    world.load({"ending": rules(web, *slices(FIRST, **ending))})
    assert world.ask(world.host, cluster_ips(13)[family]) == f"pod0 {HOST_IPS[family]}"
    world.load({"ending": rules(web, *slices(FIRST, **ending), *slices(SECOND))})
    assert world.seen(world.host, cluster_ips(13)[family]) == {f"pod1 {HOST_IPS[family]}"}
    world.load({"ending": rules(web, *slices(FIRST, conditions={"ready": False, "serving": False}))})
    assert world.ask(world.host, cluster_ips(13)[family]) == "ConnectionRefusedError"
    world.load({"ending": NOTHING})


SCTP_LISTEN = """
import socket, sys
s = socket.socket(socket.AF_INET6 if sys.argv[1] == "1" else socket.AF_INET, socket.SOCK_RAW, 132)
s.settimeout(10)
print("ready", flush=True)
data, peer = s.recvfrom(2000)
packet = data if sys.argv[1] == "1" else data[(data[0] & 15) * 4:]
print(int.from_bytes(packet[2:4], "big"), peer[0], flush=True)
"""
SCTP_INIT = """
import socket, struct, sys
def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 7)
def packet(checksum):
    return struct.pack("!HHI", 40000, 80, 0) + struct.pack("<I", checksum) + chunk
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_RAW, 132)
s.sendto(packet(crc32c(packet(0))), (sys.argv[1], 0))
"""


@FAMILIES
def test_sctp_is_led_as_tcp_is(world: World, family: int) -> None:
    """The first packet of an association, made by hand: this kernel may have no SCTP sockets, and leads it all the same."""
    made = service("signal", 14)
    made["spec"]["ports"] = [{"name": "http", "port": 80, "protocol": "SCTP"}]
    pieces = slices(FIRST)
    for piece in pieces:
        piece["ports"][0]["protocol"] = "SCTP"
    world.load({"signal": rules(made, *pieces)})
    listener = world.spaces.start(world.pods[0], sys.executable, "-c", SCTP_LISTEN, str(family))
    world.spaces.run(world.host, sys.executable, "-c", SCTP_INIT, str(cluster_ips(14)[family]))
    assert listener.stdout is not None
    assert listener.stdout.readline() == f"8080 {HOST_IPS[family]}\n"
    world.load({"signal": NOTHING})


@FAMILIES
def test_pods_reach_the_world_as_the_host(world: World, family: int) -> None:
    if family == 1 and not Path("/proc/sys/net/ipv6/conf/lo/force_forwarding").exists():
        pytest.skip("this kernel forwards IPv6 for the whole host or not at all (before Linux 6.17)")
    with sandbox.namespaces() as spaces:
        spaces.start(world.world, sys.executable, "-c", SERVER, "world")
        address, host = (("198.51.100.2", "198.51.100.1"), ("2001:db8::2", "2001:db8::1"))[family]
        assert world.ask(world.pods[0], address, 8080) == f"world {host}"


def test_the_link_can_be_made_twice_and_leaves_nothing(world: World) -> None:
    run = world.spaces.run
    sandbox.within(world.host, lambda: cluster_link.connect(world.link))
    sandbox.within(world.host, lambda: cluster_link.disconnect(world.link))
    assert "smp15" not in run(world.host, "ip", "link")
    assert "10.250" not in run(world.host, "ip", "route") and "fd53" not in run(world.host, "ip", "-6", "route")
    assert run(world.host, "nft", "list", "ruleset") == ""
    assert run(world.host, "cat", "/proc/sys/net/ipv4/conf/out0/forwarding").strip() == "0"
    if Path("/proc/sys/net/ipv6/conf/lo/force_forwarding").exists():
        assert run(world.host, "cat", "/proc/sys/net/ipv6/conf/out0/force_forwarding").strip() == "0"
    sandbox.within(world.host, lambda: cluster_link.disconnect(world.link))
    sandbox.within(world.host, lambda: cluster_link.connect(world.link))
    for family in (0, 1):
        assert world.ask(world.host, FIRST[family], 8080) == f"pod0 {HOST_IPS[family]}"


@pytest.mark.skipif(not shutil.which("iptables"), reason="needs iptables")
def test_a_firewall_that_drops_what_is_forwarded_lets_the_cluster_through(world: World) -> None:
    run = world.spaces.run
    run(world.host, "iptables", "-P", "FORWARD", "DROP")
    try:
        with sandbox.namespaces() as spaces:
            spaces.start(world.world, sys.executable, "-c", SERVER, "world")
            assert world.ask(world.pods[0], "198.51.100.2", 8080) == "TimeoutError"
            for _ in range(2):
                sandbox.within(world.host, lambda: cluster_link.connect(world.link))
            assert world.ask(world.pods[0], "198.51.100.2", 8080) == "world 198.51.100.1"
        sandbox.within(world.host, lambda: cluster_link.disconnect(world.link))
        assert "smp15" not in run(world.host, "iptables", "-S")
    finally:
        # the tests of this world come in any order: iptables' own empty tables stay behind it
        sandbox.within(world.host, lambda: cluster_link.disconnect(world.link))
        run(world.host, "iptables", "-P", "FORWARD", "ACCEPT")
        run(world.host, "nft", "flush", "ruleset")
        sandbox.within(world.host, lambda: cluster_link.connect(world.link))


def test_clashing_routes_and_a_link_made_anew(world: World) -> None:
    def work() -> None:
        assert cluster_link.clashing_route(IPv4Network("198.51.0.0/16")) == "198.51.100.0/24"
        assert cluster_link.clashing_route(IPv4Network("10.251.0.0/16")) == ""
        assert cluster_link.clashing_route(IPv6Network("2001:db8::/48")) == "2001:db8::/64"
        assert cluster_link.clashing_route(IPv6Network("fd53:6d70:fb::/48")) == ""
        cluster_link.disconnect(world.link)
        cluster_link.connect(world.link)

    sandbox.within(world.host, work)
    assert world.ask(world.host, IPv4Address(FIRST[0]), 8080) == f"pod0 {HOST_IPS[0]}"
