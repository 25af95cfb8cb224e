"""Who switches the host's forwarding off again, when several clusters go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampan.network import host_forwarding
from sampan.network.families import IPV4, IPV6


class Machine:
    """Clusters in a folder, and the switches of interfaces that look like the kernel's."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.states, self.interfaces = root / "states", root / "conf"
        (self.interfaces / "eth0").mkdir(parents=True)
        (self.interfaces / "eth0" / "forwarding").write_text("0")
        monkeypatch.setattr(host_forwarding, "SWITCHES", ((IPV4, self.interfaces, "forwarding"),))

    def cluster(self, name: str, pods: str = "real", *, up: bool = True) -> Path:
        state = self.states / name
        state.mkdir(parents=True)
        (state / "cluster.json").write_text(json.dumps({"name": name, "pods": pods}))
        if up:
            host_forwarding.switch_on(state, (IPV4,), "smp0", ["eth0"])
        return state

    @property
    def forwards(self) -> bool:
        return (self.interfaces / "eth0" / "forwarding").read_text() == "1"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_last_cluster_switches_it_off(machine: Machine) -> None:
    one, other = machine.cluster("one"), machine.cluster("other")
    host_forwarding.restore(one)
    assert machine.forwards
    host_forwarding.restore(other)
    assert not machine.forwards
    assert not (other / "forwarding").exists()


def test_a_cluster_that_leaves_is_handed_nothing(machine: Machine) -> None:
    """Two went at once: what the one handed to the other came into the folder that was being removed, stayed there (``cannot
    be removed``), and nobody switched the host's forwarding off."""
    one, leaving = machine.cluster("one"), machine.cluster("leaving")
    host_forwarding.restore(leaving)
    host_forwarding.restore(one)
    assert not machine.forwards
    assert not (leaving / "forwarding").exists()


def test_a_cluster_without_pods_is_handed_nothing(machine: Machine) -> None:
    """It has no link, so it would never look at the note."""
    one, simulated = machine.cluster("one"), machine.cluster("simulated", "simulated", up=False)
    host_forwarding.restore(one)
    assert not machine.forwards
    assert not (simulated / "forwarding").exists()


def test_a_cluster_that_comes_back_is_an_heir_again(machine: Machine) -> None:
    one, back = machine.cluster("one"), machine.cluster("back")
    host_forwarding.restore(back)
    host_forwarding.switch_on(back, (IPV4,), "smp1", ["eth0"])
    host_forwarding.restore(one)
    assert machine.forwards
    assert (back / "forwarding").read_text() == "eth0"


@pytest.mark.parametrize(
    "text, four, six",
    [
        (json.dumps({"name": "a"}), True, False),
        (json.dumps({"ip_family": "dual"}), True, True),
        (json.dumps({"ip_family": "ipv6"}), False, True),
        (json.dumps({"ip_family": "dual", "pods": "simulated"}), False, False),
        ("{", True, True),
    ],
)
def test_which_clusters_need_what_is_forwarded(tmp_path: Path, text: str, four: bool, six: bool) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(text)
    assert (host_forwarding.is_heir(path, IPV4), host_forwarding.is_heir(path, IPV6)) == (four, six)
