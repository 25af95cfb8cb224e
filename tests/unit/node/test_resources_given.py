"""What pods and containers are given of the node: limits of cgroups, scores for the kernel, admission, resizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.node import cgroup_limits
from sampan.node.allocations import Allocations
from sampan.node.cgroup_limits import Limits, files_of, number
from sampan.node.kubelet_config import ConfigFault, KubeletConfig, read, shown
from sampan.node.node_status import allocatable
from sampan.node.pod_resize import larger, needs_restart
from sampan.node.resources import linux_resources, oom_score, pod_limits, qos_class


def container(name: str = "main", **amounts: str) -> dict[str, Any]:
    """``cpu_limit="1"``, ``memory_request="1Gi"`` …"""
    resources: dict[str, dict[str, str]] = {}
    for key, value in amounts.items():
        resource, _, kind = key.rpartition("_")
        resources.setdefault(f"{kind}s", {})[resource.replace("_", "-")] = value
    return {"name": name, "image": "x", "resources": resources}


def pod(*containers: dict[str, Any], uid: str = "u", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "name": uid}, "spec": {"containers": list(containers), **spec}}


def test_a_pod_is_limited_where_each_of_its_containers_is() -> None:
    both = pod(
        container("a", cpu_limit="500m", memory_limit="64Mi"), container("b", cpu_limit="1", memory_limit="32Mi")
    )
    assert pod_limits(both) == Limits(shares=1536, quota=150_000, memory=96 << 20)
    one = pod(container("a", cpu_limit="500m", memory_limit="64Mi"), container("b", memory_limit="32Mi"))
    assert (pod_limits(one).quota, pod_limits(one).memory) == (0, 96 << 20)
    init = container("i", cpu_limit="3", memory_limit="1Mi")
    assert pod_limits(pod(container(cpu_limit="1"), initContainers=[init])).quota == 300_000
    overhead = pod(container(memory_limit="64Mi"), overhead={"memory": "16Mi", "cpu": "250m"})
    assert pod_limits(overhead).memory == 80 << 20 and pod_limits(overhead).shares == 256


def test_what_a_pod_says_of_itself_goes_first() -> None:
    own = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
    whole = pod(container(), resources=own)
    assert pod_limits(whole, 100) == Limits(1024, 200_000, memory=2 << 30, pids=100)
    assert qos_class(whole) == "Burstable"
    same = pod(container(), resources={"limits": own["limits"]})
    assert qos_class(same) == "Guaranteed"


def test_limits_in_the_words_of_both_versions() -> None:
    limits = Limits(1024, 50_000, memory=1 << 20, pids=10, hugepages={"2MB": 4 << 20})
    first = files_of(limits, v2=False)
    assert first["cpu/cpu.shares"] == "1024" and first["cpu/cpu.cfs_quota_us"] == "50000"
    assert first["memory/memory.limit_in_bytes"] == "1048576" and first["pids/pids.max"] == "10"
    assert first["hugetlb/hugetlb.2MB.limit_in_bytes"] == "4194304"
    second = files_of(limits, v2=True)
    assert (
        second["cpu.max"] == "50000 100000" and second["cpu.weight"] == "39" and second["hugetlb.2MB.max"] == "4194304"
    )
    assert files_of(Limits(2), v2=True)["cpu.max"] == "max 100000" and files_of(Limits(2), v2=True)["cpu.weight"] == "1"
    assert [number(text) for text in ("max\n", "-1", "9223372036854771712", "4096\n")] == [0, 0, 0, 4096]


def test_a_cgroup_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup_limits, "ROOT", tmp_path)
    (tmp_path / "cgroup.controllers").touch()
    folder = tmp_path / "pods" / "p"
    folder.mkdir(parents=True)
    for name in ("cpu.max", "cpu.weight", "memory.max", "pids.max"):
        (folder / name).touch()
    limits = Limits(1024, 50_000, memory=100 << 20)
    cgroup_limits.write("/pods/p", limits)
    assert cgroup_limits.holds("/pods/p", limits)
    assert not cgroup_limits.holds("/pods/p", Limits(512, 50_000, memory=100 << 20))
    (folder / "cpu.weight").write_text("100")  # what newer runtimes make of 1024 shares
    assert cgroup_limits.holds("/pods/p", limits)


@pytest.mark.parametrize(
    ("manifest", "score"),
    [
        (pod(container(cpu_limit="1", memory_limit="1Gi")), -997),
        (pod(container()), 1000),
        (pod(container(memory_request="1Gi")), 900),
        (pod(container(cpu_request="1")), 999),
        (pod(container(memory_request="11Gi")), 3),
        (pod(container(), priority=2_000_001_000), -997),
    ],
)
def test_scores_for_the_kernel(manifest: dict[str, Any], score: int) -> None:
    assert oom_score(manifest, manifest["spec"]["containers"][0], 10 << 30) == score


def test_a_node_without_the_capability_lowers_no_score() -> None:
    manifest = pod(container(cpu_limit="1", memory_limit="1Gi"))
    assert oom_score(manifest, manifest["spec"]["containers"][0], 10 << 30, 0) == 0


def test_a_sidecar_is_not_killed_before_those_it_serves() -> None:
    side = {**container("side", memory_request="1Gi"), "restartPolicy": "Always"}
    manifest = pod(container(memory_request="5Gi"), initContainers=[side])
    assert oom_score(manifest, side, 10 << 30) == 500


def test_huge_pages_reach_the_runtime() -> None:
    resources = linux_resources(container(hugepages_2Mi_limit="4Mi", memory_limit="1Gi"))
    assert [(page.page_size, page.limit) for page in resources.hugepage_limits] == [("2MB", 4 << 20)]


NODE = {"cpu": "2", "memory": "4Gi", "pods": "3", "ephemeral-storage": "10Gi"}


def allocations(folder: Path, calls: list[int] | None = None) -> Allocations:
    return Allocations(folder, lambda: NODE, lambda: (calls if calls is not None else []).append(1))


def test_a_resize_is_given_put_off_or_impossible(tmp_path: Path) -> None:
    given = allocations(tmp_path)
    small, other = pod(container(cpu_request="500m"), uid="a"), pod(container(cpu_request="1"), uid="b")
    given.admit(small)
    given.admit(other)
    larger_one = pod(container(cpu_request="900m"), uid="a")
    assert given.resize(larger_one) is None and given.applied(small) == larger_one
    put_off = given.resize(pod(container(cpu_request="1500m"), uid="a"))
    assert put_off is not None and put_off.reason == "Deferred"
    never = given.resize(pod(container(cpu_request="3"), uid="a"))
    assert never == ("Infeasible", "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000")
    assert given.applied(pod(container(cpu_request="3"), uid="a")) == larger_one, "it keeps what it has"
    given.release("b")
    assert given.resize(pod(container(cpu_request="1500m"), uid="a")) is None


def test_what_was_given_outlives_the_node(tmp_path: Path) -> None:
    allocations(tmp_path).admit(pod(container(cpu_request="500m"), uid="a"))
    wanted = pod(container(cpu_request="3"), uid="a")  # asked while the node was away
    back = allocations(tmp_path)
    assert back.is_kept("a")
    back.admit(wanted)
    assert back.applied(wanted) == pod(container(cpu_request="500m"), uid="a")
    assert back.resize(wanted) is not None


def test_restarts_for_a_resize() -> None:
    policies = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    wanted = {**container(cpu_limit="2", memory_limit="2Gi"), "resizePolicy": policies}
    assert not needs_restart(wanted, container(cpu_limit="1", memory_limit="2Gi")["resources"])
    assert needs_restart(wanted, container(cpu_limit="2", memory_limit="1Gi")["resources"])


def test_a_pod_grows_before_its_containers_and_shrinks_after_them() -> None:
    assert larger(Limits(10, 100, memory=5), Limits(20, 50, memory=9)) == Limits(20, 100, memory=9)
    assert larger(Limits(10, 0, memory=5), Limits(20, 50, memory=0)) == Limits(20, 0, memory=0)


def test_what_is_allocatable() -> None:
    whole = {"cpu": "4", "memory": "8388608Ki", "ephemeral-storage": "1048576Ki", "pods": "5", "hugepages-2Mi": "1Gi"}
    config = read({"kubeReserved": {"cpu": "100m", "memory": "1Gi"}, "evictionHard": {"nodefs.available": "10%"}})
    left = allocatable(whole, config)
    assert (left["cpu"], left["memory"], left["pods"]) == ("3900m", f"{6 << 20}Ki", "5")
    assert left["ephemeral-storage"] == str((1 << 30) - (1 << 30) // 10)
    assert allocatable(whole, KubeletConfig())["cpu"] == "4"


def test_settings_of_the_kubelet_are_read_and_shown() -> None:
    given = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "maxPods": 20,
        "imageMinimumGCAge": "1h30m",
        "crashLoopBackOff": {"maxContainerRestartPeriod": "10s"},
        "evictionSoft": {"memory.available": "10%"},
        "evictionSoftGracePeriod": {"memory.available": "1m30s"},
        "containerLogMaxSize": "1Mi",
        "cpuManagerPolicy": "none",
        "memorySwap": {"swapBehavior": "NoSwap"},
        "shutdownGracePeriodByPodPriority": [{"priority": 10, "shutdownGracePeriodSeconds": 3}],
    }
    config = read(given)
    assert (config.max_pods, config.image_minimum_gc_age, config.crash_loop_back_off_max) == (20, 5400.0, 10.0)
    again = shown(config)
    assert read(again) == config and again["imageMinimumGCAge"] == "1h30m0s"
    assert (
        again["evictionSoftGracePeriod"] == {"memory.available": "1m30s"} and again["containerLogMaxSize"] == "1048576"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"featureGates": {}}, "featureGates is no field that this node honours"),
        ({"maxPods": "many"}, "maxPods must be a whole number; not 'many'"),
        ({"kind": "Pod"}, "kind is 'Pod', not KubeletConfiguration"),
        ({"evictionHard": {"moon.phase": "1"}}, "not moon.phase"),
        ({"evictionSoft": {"pid.available": "10%"}}, "evictionSoftGracePeriod has not"),
        ({"imageGCHighThresholdPercent": 50}, "must be less than"),
        ({"containerLogMaxFiles": 1}, "at least 2"),
        ({"crashLoopBackOff": {"maxContainerRestartPeriod": "10m"}}, "from 1s to 5m"),
        ({"staticPodPath": "manifests"}, "an absolute path"),
        ({"cpuManagerPolicy": "dynamic"}, "cpuManagerPolicy must be one of none, static"),
        ({"memorySwap": {"swapBehavior": "LimitedSwap"}}, "this node has nothing else"),
        ({"shutdownGracePeriod": "500ms"}, "either zero or otherwise >= 1 sec"),
        ({"shutdownGracePeriodCriticalPods": "5s"}, "must be <= shutdownGracePeriod"),
        ({"shutdownGracePeriodByPodPriority": [{"priority": 1}]}, "a list of priority and shutdownGracePeriodSeconds"),
    ],
)
def test_settings_that_are_wrong_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigFault, match=message):
        read(given)
