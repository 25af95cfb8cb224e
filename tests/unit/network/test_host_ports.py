"""Ports of the node that lead to pods: what CNI says, and the elements of the maps."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from sampan.network.cni_call import CniError
from sampan.network.families import FAMILIES
from sampan.network.host_ports import PortMapping, base_table, hairpin, mappings_of, pod_of

WEB = PortMapping("tcp", 8080, 80)
LOCAL = PortMapping("udp", 53, 5353, IPv4Address("127.0.0.1"))
OTHER = PortMapping("tcp", 8080, 80, IPv6Address("fd00::1"))
POD, POD6 = IPv4Address("10.240.0.5"), IPv6Address("fd53::5")


def test_what_cni_says() -> None:
    said = [
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "0.0.0.0"},
        {"HostPort": 53, "ContainerPort": 5353, "Protocol": "UDP", "HostIP": "127.0.0.1"},
        {"hostPort": 0, "containerPort": 80},
        {"hostPort": 8080, "containerPort": 80, "hostIP": "fd00::1"},
    ]
    assert mappings_of({"portMappings": said}) == [WEB, LOCAL, OTHER] and mappings_of({}) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hostPort": 70000}, r"portMappings\[1\].hostPort: '70000' is no port"),
        ({"containerPort": "http"}, r"portMappings\[1\].containerPort: 'http' is no port"),
        ({"hostIP": "10.0.0"}, r"portMappings\[1\].hostIP: '10.0.0' is no IP address"),
    ],
)
def test_what_cni_cannot_mean(wrong: dict[str, object], said: str) -> None:
    """An address that is none stood for every address of the node."""
    whole = {"hostPort": 8080, "containerPort": 80}
    with pytest.raises(CniError, match=said):
        mappings_of({"portMappings": [whole, {**whole, **wrong}]})


def test_a_port_is_an_element_that_tells_whose_it_is() -> None:
    ((element, value),) = WEB.elements(POD).items()
    assert element[:2] == ("ip", "ports") and element[2].hex(" ", 4) == "06000000 1f900000"
    assert value is not None and value == POD.packed + b"\0\x50\0\0"
    assert pod_of(element, value) == pod_of(hairpin(POD), None) == POD.packed
    ((element, value),) = OTHER.elements(POD6).items()
    assert element[:2] == ("ip6", "address_ports") and pod_of(element, value) == POD6.packed
    assert WEB.elements(POD6).keys() != WEB.elements(POD).keys()
    assert LOCAL.elements(POD6) == {} and OTHER.elements(POD) == {}


def test_loopback_is_led_to_pods_where_the_kernel_can() -> None:
    four, six = (base_table(family, "sampan0") for family in FAMILIES)
    assert "127.0.0.0/8" in four and "masquerade" in six and "127.0.0.0/8" not in six
