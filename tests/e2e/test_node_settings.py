"""A node with settings of its own: static pods, logs that are rotated, a node that is short of memory."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.node.cpu_sets import parsed
from sampan.node.numa import numa_nodes

from .conftest import busybox_archive
from .eventually import eventually
from .space import Space, pod
from .up_down_cluster import Cluster, new_cluster, unable

SETTINGS = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: {folder}
maxPods: 20
containerLogMaxSize: 1Ki
containerLogMaxFiles: 3
evictionHard: {{memory.available: 99%}}
registerWithTaints: [{{key: example.com/own, value: "yes", effect: PreferNoSchedule}}]
"""


@pytest.fixture
def short_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster whose node says that it is short of memory, and reads static pods from ``manifests``."""
    if unable() or not Path("/usr/bin/busybox").exists():
        pytest.skip(unable() or "busybox-static is not installed")
    cluster = new_cluster(tmp_path)
    (tmp_path / "kubelet.yaml").write_text(SETTINGS.format(folder=tmp_path / "manifests"))
    try:
        gates = ("--feature-gates", "PodLogsQuerySplitStreams=true")
        cluster.up("--kubelet-config", str(tmp_path / "kubelet.yaml"), *gates)
        busybox_archive(tmp_path / "busybox.tar")
        cluster.sampan("image", "load", "--name", cluster.name, str(tmp_path / "busybox.tar"))
        yield cluster
    finally:
        cluster.sampan("down", "--name", cluster.name, check=False)


def test_static_pods_rotated_logs_and_evictions(short_cluster: Cluster, tmp_path: Path) -> None:
    space, node = Space(short_cluster), short_cluster.settings.node_name
    static = pod("static", "i=0; while true; do i=$((i+1)); echo line $i; echo err $i >&2; sleep 0.01; done")
    file = tmp_path / "manifests" / "static.json"
    file.write_text(json.dumps(static | {"metadata": {"name": "static", "namespace": space.name}}))
    name = f"static-{node}"
    eventually("its mirror is there", lambda: space.run("get", "pod", name).returncode == 0)
    space("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    followed = tmp_path / "followed"
    follow = space.command("logs", "-f", name)
    with followed.open("w") as into, subprocess.Popen(follow, stdout=into) as following:
        try:
            judge(short_cluster, space, node, name, file, followed)
        finally:
            following.terminate()


def judge(cluster: Cluster, space: Space, node: str, name: str, file: Path, followed: Path) -> None:
    mirror = space.pod(name)
    assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
    assert mirror["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
    uid = mirror["metadata"]["annotations"]["kubernetes.io/config.hash"]

    found = cluster.get("node", node)
    assert found["status"]["capacity"]["pods"] == "20"
    condition = next(c for c in found["status"]["conditions"] if c["type"] == "MemoryPressure")
    assert (condition["status"], condition["reason"]) == ("True", "KubeletHasInsufficientMemory")
    taints = lambda: {taint["key"] for taint in cluster.get("node", node)["spec"]["taints"]}  # noqa: E731
    both = {"example.com/own", "node.kubernetes.io/memory-pressure"}
    eventually("it is tainted for that", lambda: taints() == both)
    asks = {"resources": {"requests": {"memory": "1Ki"}}}
    here = {"nodeName": node}
    space.apply(pod("burstable", "sleep 1000", here, **asks), pod("best-effort", "sleep 1000", here))
    for evicted in ("burstable", "best-effort"):
        eventually(f"{evicted} goes", lambda of=evicted: space.pod(of).get("status", {}).get("reason") == "Evicted")  # type: ignore[misc]
    message = space.pod("burstable")["status"]["message"]
    assert message.startswith("The node was low on resource: memory. Threshold quantity: ")
    refused = space.pod("best-effort")["status"]["message"]
    assert refused == "Pod was rejected: The node had condition: [MemoryPressure]. "

    logs = cluster.settings.pod_log_dir / f"{space.name}_{name}_{uid}" / "main"
    eventually("its log was rotated", lambda: len(list(logs.iterdir())) >= 2)
    last = numbers_of(space("logs", name, "--tail=40"))
    eventually("who follows is over the rotation, too", lambda: last[-1] in numbers_of(followed.read_text()))
    for numbers in (last, numbers_of(followed.read_text())):
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    path = f"/api/v1/namespaces/{space.name}/pods/{name}/log"
    said = space("get", "--raw", f"{path}?stream=Stderr&sinceSeconds=2").split("\n")
    assert said[0] and all(line.startswith("err ") for line in said if line)
    refused = space.run("get", "--raw", f"{path}?stream=Stderr&tailLines=2")
    assert "`tailLines` and specific `stream` are mutually exclusive" in refused.stderr
    space("delete", "pod", name, "--wait=false")
    eventually("a mirror that is deleted comes again", lambda: again(space, name, mirror["metadata"]["uid"]))
    file.unlink()
    eventually("its mirror goes with the file", lambda: space.run("get", "pod", name).returncode == 1)
    eventually("and so does the pod", lambda: not logs.exists())


def numbers_of(log: str) -> list[int]:
    """Return the numbers of the lines of stdout; an unfinished last one is left out."""
    return [int(line.removeprefix("line ")) for line in log.split("\n")[:-1] if line.startswith("line ")]


def again(space: Space, name: str, uid: str) -> bool:
    found = space.run("get", "pod", name, "-o", "jsonpath={.metadata.uid}").stdout
    return found not in ("", uid)


def memory_nodes(space: Space, name: str) -> str | None:
    """Return the NUMA nodes of a container's memory, as its runtime was told."""
    cluster = space.cluster.name
    told = json.loads(
        space.cluster.sampan("oci", "explain", name, "-n", space.name, "--name", cluster, "-o", "json").stdout
    )
    (container,) = told["containers"]
    found: str | None = container["oci"]["linux"]["resources"]["cpu"].get("mems")
    return found


def refused(space: Space, name: str) -> tuple[str, str]:
    """Return why the node does not take a pod in."""
    eventually(f"{name} is refused", lambda: space.pod(name)["status"].get("reason"))
    status = space.pod(name)["status"]
    return status["reason"], status["message"]


STATIC = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cpuManagerPolicy: static
systemReserved: {cpu: "1"}
memoryManagerPolicy: Static
reservedMemory: [{numaNode: 0, limits: {memory: 256Mi}}]
topologyManagerPolicy: restricted
"""
"""256Mi: what the node keeps for itself (156Mi) and what eviction keeps free (100Mi)."""


def test_cpus_of_ones_own(tmp_path: Path) -> None:
    """The policy ``static``: who asks for whole CPUs has them, all others are moved away while he runs; so with memory, and
    a strict topology manager refuses what cannot be had locally."""
    if unable() or not Path("/usr/bin/busybox").exists() or len(os.sched_getaffinity(0)) < 2 or len(numa_nodes()) > 1:
        pytest.skip(unable() or "busybox-static is not installed, or this machine has one CPU, or two NUMA nodes")
    cluster, everybody = new_cluster(tmp_path), {str(cpu) for cpu in os.sched_getaffinity(0)}
    (tmp_path / "kubelet.yaml").write_text(STATIC)
    try:
        cluster.up("--kubelet-config", str(tmp_path / "kubelet.yaml"))
        busybox_archive(tmp_path / "busybox.tar")
        cluster.sampan("image", "load", "--name", cluster.name, str(tmp_path / "busybox.tar"))
        space, own = Space(cluster), {"limits": {"cpu": "1", "memory": "32Mi"}}

        def cpus(name: str) -> set[str]:
            status = space("exec", name, "--", "grep", "Cpus_allowed_list", "/proc/1/status")
            return {str(cpu) for cpu in parsed(status.split()[1])}

        space.apply(pod("common", "sleep 1000"))
        space.ready("common")
        assert cpus("common") == everybody
        space.apply(pod("own", "sleep 1000", resources=own))
        space.ready("own")
        (mine,) = cpus("own")
        eventually("the other is moved", lambda: cpus("common") == everybody - {mine})
        assert (memory_nodes(space, "own"), memory_nodes(space, "common")) == ("0", None)
        here = {"nodeName": space.pod("own")["spec"]["nodeName"]}  # the scheduler would refuse them before
        for name, cpu, memory in (("wide", str(len(everybody)), "1Mi"), ("large", "1m", "9Ti")):
            space.apply(pod(name, "sleep 1000", here, resources={"limits": {"cpu": cpu, "memory": memory}}))
        wide, large = (refused(space, name) for name in ("wide", "large"))
        assert wide == (
            "TopologyAffinityError",
            "Pod was rejected: Resources cannot be allocated with Topology locality",
        )
        assert large[0] == "UnexpectedAdmissionError" and "no NUMA nodes with enough memory" in large[1]
        cluster.kill("node")
        eventually("the node is back", lambda: cluster.parts()["node"]["state"] == "ready", 60)
        more = {
            "spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}}]}
        }
        space("patch", "pod", "own", "--subresource", "resize", "-p", json.dumps(more))
        eventually("it is told", lambda: "alongside CPU Manager policy" in json.dumps(space.pod("own")["status"]))
        assert (cpus("own"), cpus("common")) == ({mine}, everybody - {mine})
        space("delete", "pod", "own", "--grace-period=0", "--force")
        eventually("the other may use all again", lambda: cpus("common") == everybody)
    finally:
        cluster.sampan("down", "--name", cluster.name, check=False)
