"""Ranges and paths of clusters: every index has ranges of its own, and they do not overlap each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.cluster import lifecycle
from sampan.cluster import settings as settings_module
from sampan.cluster.api_part import identity
from sampan.cluster.settings import Settings


def of(index: int) -> Settings:
    return Settings(f"c{index}", index, "none", "1.37", 6443)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings_module, "state_root", lambda: tmp_path / "state")
    monkeypatch.setattr(settings_module, "run_root", lambda: tmp_path / "run")
    return tmp_path


def test_ranges_of_a_cluster_are_inside_its_own_and_apart() -> None:
    one = of(3)
    assert str(one.cluster_cidr) == "10.243.0.0/16"
    ranges = [one.pod_cidr, one.service_cidr, one.load_balancer_cidr]
    for at, first in enumerate(ranges):
        assert first.subnet_of(one.cluster_cidr)
        assert not any(first.overlaps(other) for other in ranges[at + 1 :])
        assert one.node_ip not in first and one.host_ip not in first
    assert one.kubernetes_service_ip in one.service_cidr and one.dns_service_ip in one.service_cidr


def test_no_two_clusters_share_an_address() -> None:
    ranges = [of(index).cluster_cidr for index in range(16)]
    assert len(set(ranges)) == 16
    assert str(ranges[15]) == "10.255.0.0/16"


def test_settings_come_back_as_they_were_saved(home: Path) -> None:
    made = Settings("shop", 2, "simulated", "1.30", 1234)
    made.save()
    assert Settings.load("shop") == made
    with pytest.raises(FileNotFoundError):
        Settings.load("other")


def test_a_name_too_long_for_the_kernel_is_refused_before_anything_is_made(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_module, "run_root", lambda: Path("/run") / ("deep" * 17) / "sampan")
    monkeypatch.setattr(lifecycle, "state_root", settings_module.state_root)
    lifecycle.check_sockets(of(0))
    with pytest.raises(
        lifecycle.ClusterError, match=r"has at most 107 bytes, and /run/deepdeep.*supervisor.sock has 123"
    ):
        lifecycle.choose("a-cluster-with-a-long-name", "none", None, None)
    assert lifecycle.names() == []


def test_servers_of_one_name_on_machines_of_one_name_are_two(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would lead at the same time; one that starts again is the same."""
    who = []
    for machine in ("one", "two"):
        monkeypatch.setattr(settings_module, "state_root", lambda machine=machine: home / machine)
        of(0).state_dir.mkdir(parents=True)
        who.append(identity(of(0)))
        assert identity(of(0)) == who[-1]
    assert who[0] != who[1]
