"""CPUs of their own for containers: who gets which, what is left to share, and what a node that comes back finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.node import kubelet_config
from sampan.node.cpu_sets import CpuSets, choose, listed, parsed, wanted
from sampan.node.devices.allocation import NotEnough
from sampan.node.resources import linux_resources


def container(name: str, cpu: str, memory: str = "1Mi", **more: Any) -> dict[str, Any]:
    sizes = {"cpu": cpu, "memory": memory}
    return {"name": name, "resources": {"limits": sizes, "requests": sizes}, **more}


def pod(*containers: dict[str, Any], inits: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"metadata": {"uid": "u"}, "spec": {"containers": list(containers), "initContainers": list(inits)}}


def sets(folder: Path, online: range = range(8), reserved: int = 1) -> CpuSets:
    made = CpuSets(folder, reserved, lambda: None, online)
    made._cores = [frozenset({cpu, cpu + 1}) for cpu in online[::2]]  # two threads a core, whatever this machine has
    return made


def test_who_asks_for_whole_cpus() -> None:
    assert wanted(pod(container("a", "2"), container("b", "500m"), inits=(container("i", "1"),))) == {"i": 1, "a": 2}
    burstable = container("a", "2")
    burstable["resources"]["requests"] = {"cpu": "1", "memory": "1Mi"}
    assert wanted(pod(burstable)) == {}


def test_who_has_which_and_what_is_shared(tmp_path: Path) -> None:
    cpus = sets(tmp_path)
    assert cpus.of("x", "any") == "0,1,2,3,4,5,6,7"
    cpus.admit("u", pod(container("a", "2"), container("b", "1"), container("c", "500m")))
    # whole cores first; the single one breaks that whose other half is the system's
    assert (cpus.of("u", "a"), cpus.of("u", "b"), cpus.of("u", "c")) == ("2,3", "1", "0,4,5,6,7")
    with pytest.raises(NotEnough, match="not enough cpus available to satisfy request: requested=5, available=4"):
        cpus.admit("v", pod(container("a", "5")))
    assert not cpus.is_given("v") and cpus.of("x", "any") == "0,4,5,6,7"
    again = sets(tmp_path)
    again.adopt("u")
    assert again.of("u", "a") == "2,3"
    again.release("u")
    assert again.of("x", "any") == "0,1,2,3,4,5,6,7"


def test_what_init_containers_had_is_their_followers(tmp_path: Path) -> None:
    cpus = sets(tmp_path)
    sidecar = container("s", "1", restartPolicy="Always")
    cpus.admit("u", pod(container("a", "2"), container("b", "2"), inits=(sidecar, container("i", "2"))))
    assert cpus.of("u", "i") == cpus.of("u", "a") and cpus.of("u", "s") not in cpus.of("u", "b")


def test_without_the_policy_nobody_has_his_own(tmp_path: Path) -> None:
    cpus = CpuSets(tmp_path, 0, lambda: None)
    cpus.admit("u", pod(container("a", "1")))
    assert cpus.of("u", "a") == "" and not cpus.is_given("u")
    assert linux_resources(container("a", "1")).cpuset_cpus == ""


@given(st.sets(st.integers(0, 15)), st.sets(st.integers(0, 15), max_size=4), st.integers(0, 16))
def test_as_many_as_asked_for_and_none_twice(free: set[int], lent: set[int], count: int) -> None:
    cores = [frozenset({cpu, cpu + 1}) for cpu in range(0, 16, 2)]
    if len(free | lent) < count:
        with pytest.raises(NotEnough):
            choose(count, free, lent, cores)
        return
    chosen = choose(count, free, lent, cores)
    assert len(set(chosen)) == count == len(chosen) and set(chosen) <= free | lent
    assert len(set(chosen) & lent) == min(count, len(lent)), "what was lent goes first"
    assert parsed(listed(chosen)) == set(chosen)


def test_the_policy_needs_a_reservation() -> None:
    head = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "cpuManagerPolicy": "static"}
    with pytest.raises(kubelet_config.ConfigFault, match="the static policy requires"):
        kubelet_config.read(head)
    config = kubelet_config.read({**head, "systemReserved": {"cpu": "1200m"}})
    assert kubelet_config.reserved_cpus(config) == 2
    assert kubelet_config.reserved_cpus(kubelet_config.KubeletConfig()) == 0
