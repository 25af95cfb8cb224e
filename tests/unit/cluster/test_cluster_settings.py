"""Ranges and paths of clusters: every index has ranges of its own, and they do not overlap each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

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
    one = replace(of(3), ip_family="dual")
    assert list(map(str, one.cluster_cidrs)) == ["10.243.0.0/16", "fd53:6d70:f3::/48"]
    for family, cluster in enumerate(one.cluster_cidrs):
        ranges = [one.pod_cidrs[family], one.service_cidrs[family], one.load_balancer_cidrs[family]]
        for at, first in enumerate(ranges):
            assert first[0] in cluster and first[-1] in cluster
            assert not any(first[0] in other or other[0] in first for other in ranges[at + 1 :])
            assert one.node_ips[family] not in first and one.host_ips[family] not in first
        assert one.node_ips[family] in cluster and one.dns_service_ips[family] in one.service_cidrs[family]
    assert one.kubernetes_service_ip in one.service_cidr and one.dns_service_ip in one.service_cidr
    assert list(map(str, one.service_cidrs)) == ["10.243.64.0/18", "fd53:6d70:f3:1::/112"]
    assert list(map(str, one.node_ips)) == ["10.243.255.2", "fd53:6d70:f3:ff::2"]


def test_a_cluster_has_the_families_it_was_made_with() -> None:
    assert [network.version for network in of(0).cluster_cidrs] == [4]
    assert [network.version for network in replace(of(0), ip_family="ipv6").pod_cidrs] == [6]


def test_no_two_clusters_share_an_address() -> None:
    ranges = [network for index in range(16) for network in replace(of(index), ip_family="dual").cluster_cidrs]
    assert len(set(ranges)) == 32
    assert list(map(str, ranges[-2:])) == ["10.255.0.0/16", "fd53:6d70:ff::/48"]


@pytest.mark.parametrize("ip_family, host", [("ipv4", "10.245.255.2"), ("ipv6", "[fd53:6d70:f5:ff::2]")])
def test_a_cluster_whose_file_is_spoilt_is_known_by_its_kubeconfigs(home: Path, ip_family: Any, host: str) -> None:
    folder = settings_module.state_root() / "lost" / "kubeconfig"
    folder.mkdir(parents=True)
    (folder / "admin.kubeconfig").write_text("    server: https://127.0.0.1:4567\n")
    (folder / "node.kubeconfig").write_text(f"    server: https://{host}:4567\n")
    (folder.parent / "cluster.json").write_text("{")
    with patch.object(lifecycle, "state_root", settings_module.state_root):
        found = lifecycle.recover("lost")
    assert (found.index, found.pods, found.api_port) == (5, "real", 4567)
    assert set(replace(of(5), ip_family=ip_family).cluster_cidrs) <= set(found.cluster_cidrs)


def test_settings_come_back_as_they_were_saved(home: Path) -> None:
    made = Settings("shop", 2, "simulated", "1.30", 1234)
    made.save()
    assert Settings.load("shop") == made
    with pytest.raises(FileNotFoundError):
        Settings.load("other")


def test_a_cluster_of_a_newer_version_keeps_its_range(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "state_root", settings_module.state_root)
    of(7).save()
    file = of(7).state_dir / "cluster.json"
    file.write_text(file.read_text().replace('"index": 7', '"index": 7, "warp": 9'))
    assert lifecycle.index_of("c7") == 7
    with pytest.raises(lifecycle.ClusterError, match="cannot be read"):
        lifecycle.load("c7")
    (of(7).state_dir / "kubeconfig").mkdir()
    for user in ("admin", "node"):
        of(7).kubeconfig(user).touch()
    file.write_text("{")
    with pytest.raises(lifecycle.ClusterError, match="cannot be read"):
        lifecycle.index_of("c7")


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
