"""Ports of the node lead to pods, in both families, and are known after a restart of the agent."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from sampan.network.cni import BRIDGE
from sampan.network.families import FAMILIES
from sampan.network.host_ports import HostPorts, PortMapping, mappings_of
from sampan.network.nft import listed

from . import netns_sandbox as sandbox
from .network_world import FIRST, HOST_IPS, NODE_IPS, SECOND, World, living_world

pytestmark = sandbox.needs_root
PODS = [[ip_address(address) for address in pod] for pod in (FIRST, SECOND)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with living_world(tmp_path_factory.mktemp("world")) as made:
        yield made


def mappings(*given: dict[str, Any]) -> list[PortMapping]:
    return mappings_of({"portMappings": [{"containerPort": 8080, "protocol": "tcp", **one} for one in given]})


def test_host_ports_lead_to_pods_and_survive_the_agent(world: World) -> None:
    def begin() -> None:
        ports = HostPorts(BRIDGE, FAMILIES)
        ports.prepare([])
        ports.add(PODS[0], mappings({"hostPort": 8000}, {"hostPort": 8001, "hostIP": str(NODE_IPS[1])}))
        ports.add(PODS[1], mappings({"hostPort": 8002, "protocol": "udp", "containerPort": 5353}))

    sandbox.within(world.cluster, begin)
    for family in (0, 1):
        assert world.ask(world.host, NODE_IPS[family], 8000) == f"pod0 {HOST_IPS[family]}"
        assert world.ask(world.pods[1], NODE_IPS[family], 8000) == f"pod0 {SECOND[family]}"
        assert world.ask(world.pods[0], NODE_IPS[family], 8000).startswith("pod0 "), "a pod reaches itself"
        assert world.ask_udp(world.host, NODE_IPS[family], 8002) == "pod1"
    assert world.ask(world.host, NODE_IPS[1], 8001) == f"pod0 {HOST_IPS[1]}"
    assert world.ask(world.host, NODE_IPS[0], 8001) == "ConnectionRefusedError"
    assert world.ask(world.cluster, "127.0.0.1", 8000).startswith("pod0 ")

    def again() -> None:
        ports = HostPorts(BRIDGE, FAMILIES)
        ports.prepare(PODS[0])  # the other pod has gone while nobody looked
        assert len(ports._held(ports._ready())) == 5  # a port and a hairpin in each family, and the port of an address
        ports.add(PODS[1], mappings({"hostPort": 8003}))
        ports.remove(PODS[0])
        ports.remove(PODS[0])

    sandbox.within(world.cluster, again)
    for family in (0, 1):
        assert world.ask(world.host, NODE_IPS[family], 8003) == f"pod1 {HOST_IPS[family]}"
        assert world.ask(world.host, NODE_IPS[family], 8000) == "ConnectionRefusedError"

    def end() -> None:
        ports = HostPorts(BRIDGE, FAMILIES)
        ports.prepare([])
        assert ports._held(ports._ready()) == {} and listed("table", "ip6", "sampan-hostports")

    sandbox.within(world.cluster, end)
