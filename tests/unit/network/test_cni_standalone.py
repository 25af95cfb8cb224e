"""What the plugin without an agent says of wrong configurations, and its leases; without touching the kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.network import cni_ipam
from sampan.network.cni_bandwidth import bandwidth_of
from sampan.network.cni_call import CniError
from sampan.network.cni_install import NetworkChoice, conflist, install
from sampan.network.cni_leases import Leases, ranges_of
from sampan.network.cni_standalone import run

CONFIG = {"cniVersion": "1.1.0", "name": "net", "type": "sampan", "ipam": {"subnet": "10.0.0.0/24"}}


@pytest.fixture(autouse=True, scope="module")
def leases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The machine's own leases are not touched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cni_ipam, "LEASES", tmp_path_factory.mktemp("leases"))
        yield


def answer(command: str = "ADD", variables: dict[str, str] | None = None, **changed: Any) -> dict[str, Any]:
    here = {"COMMAND": command, "CONTAINERID": "c", "IFNAME": "eth0", "NETNS": "/proc/self/ns/net", **(variables or {})}
    document, code = run(here, json.dumps({**CONFIG, **changed}).encode())
    assert code == 1 and document is not None
    return document


@pytest.mark.parametrize(
    ("ipam", "word"),
    [
        ({}, "ipam.ranges"),
        ({"ranges": [[]]}, "list of lists"),
        ({"subnet": "10.0.0.0/31"}, "too small"),
        ({"subnet": "10.0.0.1/24"}, "host bits"),
        ({"subnet": "nonsense"}, "nonsense"),
        ({"subnet": "10.0.0.0/24", "gateway": "10.0.1.1"}, "gateway"),
        ({"subnet": "10.0.0.0/24", "rangeStart": "10.0.1.1"}, "rangeStart"),
        ({"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": "10.0.0.2"}, "behind"),
        ({"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.0.128/25"}]]}, "overlaps"),
        ({"ranges": [[{"subnet": "10.0.0.0/24"}, {"subnet": "fd00::/64"}]]}, "both families"),
        ({"ranges": ["10.0.0.0/24"]}, "list of lists"),
    ],
)
def test_ranges_that_cannot_be_are_refused_before_anything_is_made(ipam: dict[str, Any], word: str) -> None:
    said = answer(ipam=ipam)
    assert said["code"] == 7 and word in said["msg"], said


def test_other_errors_are_cni_s_own() -> None:
    assert answer(cniVersion="0.2.0")["code"] == 1
    assert answer("DANCE")["code"] == 4
    assert answer(variables={"NETNS": "/nowhere"})["code"] == 4
    for name in ("CONTAINERID", "IFNAME", "NETNS", "COMMAND"):
        said = answer(variables={name: ""})
        assert said["code"] == 4 and f"CNI_{name}" in said["msg"]
    assert answer(variables={"IFNAME": "a/b"})["code"] == 4
    assert answer(variables={"IFNAME": "sixteen-letters-"})["code"] == 4
    assert answer(bridge="a-name-that-is-too-long")["code"] == 7
    assert answer(mtu=1)["code"] == 7
    for name in ("../etc", "a/b", "", None, 7, ["a"], "-a"):
        assert answer(name=name)["code"] == 7
    assert answer(runtimeConfig={"ips": ["192.0.2.1/24"]})["code"] == 7
    assert answer(runtimeConfig={"ips": ["nonsense"]})["code"] == 7
    assert answer(runtimeConfig={"mac": "01:00:00:00:00:00"})["code"] == 7
    assert answer(runtimeConfig={"portMappings": [{"hostPort": 80}]})["code"] == 2
    assert answer(runtimeConfig={"bandwidth": {"ingressRate": -1}})["code"] == 7
    assert answer(runtimeConfig={"magic": 1})["code"] == 2
    assert answer("GC")["code"] == 7
    assert answer(ipam={"type": "nowhere"}, variables={"PATH": "/none"})["code"] == 4
    document, code = run({"COMMAND": "ADD"}, b"not json")
    assert code == 1 and document is not None and document["code"] == 6


names = st.sampled_from(["ranges", "subnet", "type", "ips", "mac", "bandwidth", "cni"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["name", "ipam", "bridge", "mtu", "runtimeConfig", "cniVersion", "args"])


@given(st.dictionaries(fields, anything))
@settings(deadline=None)
def test_no_configuration_is_a_traceback(changed: dict[str, Any]) -> None:
    given_ipam = changed.get("ipam")
    if isinstance(given_ipam, dict) and not given_ipam.get("type"):
        given_ipam.pop("subnet", None)
    answer(variables={"NETNS": "/nowhere"}, **changed)
    document, code = run({"COMMAND": "STATUS"}, json.dumps({**CONFIG, "ipam": {}, **changed}).encode())
    assert code == 1 and document is not None and document["msg"]


def test_addresses_go_round_and_are_nobody_s_twice(tmp_path: Path) -> None:
    [choices] = ranges_of({"subnet": "10.0.0.0/29", "rangeEnd": "10.0.0.4"})
    with Leases(tmp_path / "net") as leases:
        assert str(leases.take("a", choices, [])[0]) == "10.0.0.2"
        assert str(leases.take("a", choices, [])[0]) == "10.0.0.2", "who asks again gets the same"
        assert str(leases.take("b", choices, [])[0]) == "10.0.0.3"
        leases.release("a")
        assert str(leases.take("c", choices, [])[0]) == "10.0.0.4"
        assert str(leases.take("d", choices, [])[0]) == "10.0.0.2"
        with pytest.raises(CniError, match="is lent"):
            leases.take("e", choices, [])
        with pytest.raises(CniError, match="not free"):
            leases.take("e", choices, [ip_address("10.0.0.3")])
        with pytest.raises(CniError, match="not free"):
            leases.take("e", choices, [ip_address("10.0.0.1")])


def test_limits() -> None:
    asked = {"ingressRate": 8000, "ingressBurst": (1 << 32) - 1, "egressRate": 8_000_000, "egressBurst": 80_000}
    found = bandwidth_of({"bandwidth": asked})
    assert found.ingress is not None and found.ingress.burst_bytes == 1000
    assert found.egress is not None and found.egress.burst_bytes == 10_000
    for wrong in ({"ingressBurst": 1}, {"ingressRate": 7}, {"ingressRate": True}, {"egressRate": "1M"}):
        with pytest.raises(CniError):
            bandwidth_of({"bandwidth": wrong})


def test_what_is_installed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "loopback").write_text("another's")
    choice = NetworkChoice("own", [ip_network("10.1.0.0/16")], "br1", False, ["portmap", "tuning"])
    written = install(tmp_path / "bin", tmp_path / "net.d", choice)
    assert [path.name for path in written] == ["sampan", "10-own.conflist"]
    assert written[0].stat().st_mode & 0o111
    found = json.loads(written[1].read_text())
    assert found == conflist(choice) and [plugin["type"] for plugin in found["plugins"]] == [
        "sampan",
        "portmap",
        "tuning",
    ]
    assert "portMappings" not in found["plugins"][0]["capabilities"]
    with pytest.raises(CniError):
        conflist(NetworkChoice("own", [ip_network("10.1.0.0/31")]))
