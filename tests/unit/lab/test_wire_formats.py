"""Bytes: netlink requests as iproute2 sends them (recorded), pcapng as its specification has it, ICMP."""

from __future__ import annotations

import struct
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from sampan.lab import echo, graph, pcapng
from sampan.lab.faults import Cut, Loss, Partition, Pause, nft_text, rules_of
from sampan.lab.planning import plan
from sampan.lab.reading import read
from sampan.lab.requests import link_local
from sampan.network import links, qdiscs
from sampan.network.netlink import attributes

from .topologies import topologies

NETEM_20MS_5MS = bytes.fromhex("b4c40400 e8030000 00000000 00000000 00000000 2d310100".replace(" ", ""))
"""TCA_OPTIONS of `tc qdisc add … netem delay 20ms 5ms` (iproute2 6.1), but for its limit of 1,000 packets."""
VLAN_10 = bytes.fromhex("060001000a000000")
"""IFLA_INFO_DATA of `ip link add … type vlan id 10` (iproute2 6.1)."""


def test_netem_is_asked_for_as_tc_does() -> None:
    body = qdiscs.emulate(7, 0.020, 0.005)[16:]
    assert struct.unpack_from("=BxxxiIII", body) == (0, 7, 0, qdiscs.ROOT, 0)
    parts = attributes(body[20:])
    assert parts[qdiscs.KIND] == b"netem\0"
    limit = struct.pack("=I", qdiscs.NETEM_PACKETS)
    assert parts[qdiscs.OPTIONS][:24] == NETEM_20MS_5MS[:4] + limit + NETEM_20MS_5MS[8:]
    exact = attributes(parts[qdiscs.OPTIONS][24:])
    assert int.from_bytes(exact[qdiscs.NETEM_LATENCY_64], "little") == 20_000_000


def test_a_vlan_is_asked_for_as_ip_does() -> None:
    parts = attributes(links.add_vlan("eth0.10", 3, 2, 10, "02:00:00:00:00:01")[32:])
    assert parts[links.IFLA_LINK] == struct.pack("=I", 2)
    information = attributes(parts[18])
    assert information[1] == b"vlan"
    assert information[2] == VLAN_10


def test_link_local_addresses_follow_from_hardware_addresses() -> None:
    assert str(link_local("02:42:4f:5b:19:2e")) == "fe80::42:4fff:fe5b:192e"


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        kind, size = struct.unpack_from("=II", data)
        assert size % 4 == 0
        assert struct.unpack_from("=I", data, size - 4)[0] == size, "the length stands at both ends"
        found.append((kind, data[8 : size - 4]))
        data = data[size:]
    return found


@given(st.lists(st.tuples(st.binary(max_size=80), st.booleans()), max_size=5))
def test_a_capture_is_read_as_it_was_written(packets: list[tuple[bytes, bool]]) -> None:
    data = pcapng.section("test") + pcapng.interface("a-b", "somewhere", "02:00:00:00:00:01", 65535)
    data += b"".join(
        pcapng.packet(0, 10**18 + number, packet, len(packet), outbound=outbound)
        for number, (packet, outbound) in enumerate(packets)
    )
    read_back = blocks(data + pcapng.statistics(0, 10**18, len(packets), 0))
    assert [kind for kind, _ in read_back] == [0x0A0D0D0A, 1, *[6] * len(packets), 5]
    for number, ((packet, _), (_, body)) in enumerate(zip(packets, read_back[2:], strict=False)):
        interface, high, low, kept, length = struct.unpack_from("=IIIII", body)
        assert (interface, (high << 32) + low, kept, length) == (0, 10**18 + number, len(packet), len(packet))
        assert body[20 : 20 + kept] == packet


@given(st.binary(max_size=64))
def test_a_checksum_of_what_it_is_in_is_zero(payload: bytes) -> None:
    message = echo.request(4, 1, 2, payload)
    assert echo.checksum(message) == 0
    assert echo.answered(4, b"\x45" + bytes(19) + b"\0" + message[1:]) == (1, 2)
    assert echo.answered(4, b"\x45" + bytes(19) + message) is None, "a request is no answer"


@given(topologies())
def test_pictures_are_xml_and_show_every_node(topology: dict[str, object]) -> None:
    made = plan(read(topology))
    inflicted = [Cut(next(iter(made.cables)))] if made.cables else []
    drawn = graph.svg(made, inflicted)
    shown = {element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")}
    assert set(made.nodes) <= shown
    assert set(made.subnets) <= shown
    text = graph.text(made, inflicted)
    assert all(f"[{name}]" in text for name in made.cables)
    assert all(name in text for name in made.nodes)


def test_faults_are_filters_where_frames_arrive() -> None:
    topology = {
        "subnets": ["lan"],
        "nodes": [{"name": "a", "interfaces": ["lan"]}, {"name": "b", "interfaces": ["lan"]}],
    }
    made = plan(read(topology))
    assert rules_of([Loss("a-lan", 25, "a")], made, shaping=True) == {
        "": {"a.eth0": ["numgen random mod 100000 < 25000 counter drop"]}
    }
    assert set(rules_of([Pause("a")], made, shaping=True)) == {"", "a"}
    parted = rules_of([Partition((("a",), ("b",)))], made, shaping=True)
    assert parted["a"]["eth0"] == [
        f"ether saddr {{ {made.nodes['b'].interfaces[0].mac} }} counter drop",
        "ip saddr { 10.64.0.2 } counter drop",
    ]
    assert nft_text({}).endswith("delete table netdev sampan-lab-faults\n")
    seeded = rules_of([Loss("a-lan", 1, seed=5)], made, shaping=True)
    assert seeded == rules_of([Loss("a-lan", 1, seed=5)], made, shaping=True)
    assert seeded != rules_of([Loss("a-lan", 1, seed=6)], made, shaping=True)
