"""Ports of the node that lead to pods: what CNI says, the rules, and what is read back of them."""

from __future__ import annotations

from ipaddress import IPv4Address

from sampan.network.host_ports import Held, PortMapping, additions, mappings_of, read_table, removals

WEB = PortMapping("tcp", 8080, 80)
LOCAL = PortMapping("udp", 53, 5353, "127.0.0.1")


def test_what_cni_says() -> None:
    said = [
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "0.0.0.0"},
        {"HostPort": 53, "ContainerPort": 5353, "Protocol": "UDP", "HostIP": "127.0.0.1"},
        {"hostPort": 0, "containerPort": 80},
        {"hostPort": 8080, "containerPort": 80, "hostIP": "fd00::1"},
    ]
    assert mappings_of({"portMappings": said}) == [WEB, LOCAL] and mappings_of({}) == []


def test_a_port_is_a_chain_and_an_element() -> None:
    text = additions("pod1", IPv4Address("10.240.0.5"), [WEB, LOCAL])
    assert "rule ip sampan-hostports pod1-tcp-8080-any meta l4proto tcp dnat to 10.240.0.5:80\n" in text
    assert "ports { tcp . 8080 : goto pod1-tcp-8080-any }" in text
    assert "address_ports { 127.0.0.1 . udp . 53 : goto pod1-udp-53-127.0.0.1 }" in text


def test_the_kernel_says_what_it_holds() -> None:
    chain = "pod1-tcp-8080-any"
    listed = [
        {"metainfo": {}},
        {"table": {"name": "sampan-hostports"}},
        {"map": {"name": "ports", "elem": [[{"concat": ["tcp", 8080]}, {"goto": {"target": chain}}]]}},
        {"map": {"name": "address_ports"}},
        {"chain": {"name": "prerouting"}},
        {"chain": {"name": "nat-output"}},
        {"chain": {"name": chain}},
        {"rule": {"chain": "lookup", "expr": []}},
        {"rule": {"chain": chain, "expr": [{"match": {}}, {"dnat": {"addr": "10.240.0.5", "port": 80}}]}},
    ]
    held = {"pod1": Held((("ports", "tcp . 8080"),), (chain,), "10.240.0.5")}
    assert read_table({"nftables": listed}) == held
    assert removals(held["pod1"]).splitlines() == [
        "delete element ip sampan-hostports ports { tcp . 8080 }",
        "delete element ip sampan-hostports pods { 10.240.0.5 . 10.240.0.5 }",
        f"flush chain ip sampan-hostports {chain}",
        f"delete chain ip sampan-hostports {chain}",
    ]
