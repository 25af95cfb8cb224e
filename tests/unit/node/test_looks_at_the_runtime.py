"""When the runtime is asked what it has of a pod, and when what is known of it is enough."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sampan.node import cri_pb2 as cri
from sampan.node import pod_cgroups
from sampan.node.local_pod import LocalPod
from sampan.node.node import Node
from sampan.node.pod_config import UID
from sampan.node.pod_ending import PodEnding
from sampan.node.pod_probes import PodProbes
from sampan.node.runtime import RuntimeFailure

POD: dict[str, Any] = {
    "metadata": {"namespace": "n", "name": "p", "uid": "u", "deletionGracePeriodSeconds": 0},
    "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
}


class RecordingRuntime:
    """Has one sandbox of the pod; ``calls`` are those that were made."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails = False

    async def list_pod_sandboxes(self, labels: dict[str, str] | None = None) -> list[cri.PodSandbox]:
        self.calls.append("list sandboxes")
        if self.fails:
            raise RuntimeFailure("it is not there")
        return [cri.PodSandbox(id="s", state=cri.SANDBOX_READY, labels={UID: "u"})]

    async def list_containers(self, labels: dict[str, str] | None = None) -> list[cri.Container]:
        self.calls.append("list containers")
        return []

    async def pod_sandbox_status(self, sandbox_id: str) -> cri.PodSandboxStatus:
        return cri.PodSandboxStatus()

    async def stop_container(self, container_id: str, seconds: int) -> None:
        self.calls.append(f"stop {container_id}")

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        self.calls.append("stop sandbox")

    async def kill_pod_sandbox(self, sandbox_id: str) -> None:
        await self.stop_pod_sandbox(sandbox_id)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        self.calls.append("remove sandbox")


def local_pod(folder: Path, *, fresh: bool = False) -> tuple[LocalPod, RecordingRuntime]:
    runtime = RecordingRuntime()
    context: Any = SimpleNamespace(
        runtime=runtime,
        runtime_name="containerd",
        allocations=SimpleNamespace(applied=lambda pod: pod, release=lambda uid: None),
        devices=SimpleNamespace(release=lambda uid: None),
        cpus=SimpleNamespace(release=lambda uid: None),
        release=lambda uid: None,
        events=SimpleNamespace(record=lambda *_: None),
        pod_dir=lambda pod: folder / "pod",
        pod_log_dir=folder,
        owners={},
        remove_pod_cgroup=lambda pod: None,
    )
    return LocalPod(context, POD, fresh=fresh), runtime


def run_containers(local: LocalPod, *names: str) -> None:
    for name in names:
        status = cri.ContainerStatus(id=name, state=cri.CONTAINER_RUNNING, metadata=cri.ContainerMetadata(name=name))
        local.view.of(name).current = status


def ending_of(local: LocalPod) -> PodEnding:
    nothing: Any = SimpleNamespace(volumes={})
    probes = PodProbes(nothing, lambda: None, nothing, nothing)
    return PodEnding(local, nothing, probes, nothing)


async def test_a_pod_that_is_gone_ends_with_its_sandbox(tmp_path: Path) -> None:
    local, runtime = local_pod(tmp_path, fresh=True)
    local.gone = True
    run_containers(local, "a")
    await ending_of(local).terminate()
    assert runtime.calls == ["list sandboxes", "stop sandbox", "remove sandbox"]


async def test_several_containers_of_a_pod_that_is_gone_are_stopped_side_by_side(tmp_path: Path) -> None:
    local, runtime = local_pod(tmp_path, fresh=True)
    local.gone = True
    run_containers(local, "a", "b")
    await ending_of(local).terminate()
    assert sorted(runtime.calls[:2]) == ["stop a", "stop b"] and runtime.calls[-1] == "remove sandbox"


async def test_a_failed_look_is_made_again_and_an_exit_asks_for_one(tmp_path: Path) -> None:
    local, runtime = local_pod(tmp_path)
    assert local.unseen
    runtime.fails = True
    with pytest.raises(RuntimeFailure):
        await local.look()
    assert local.unseen
    runtime.fails = False
    await local.look()
    assert not local.unseen and local.view.sandbox_id == "s" and "s" in local.context.owners
    local.nudge()
    assert not local.unseen
    local.on_exit("s")
    assert local.unseen


async def test_only_pods_that_the_runtime_has_never_had_are_fresh(tmp_path: Path) -> None:
    local, _ = local_pod(tmp_path)
    context: Any = local.context
    context.logger = context.images = context.tokens = context.materials = SimpleNamespace()
    context.kubelet = SimpleNamespace(crash_loop_back_off_max=300.0)
    context.own_runtime, context.cgroup, context.kubelet_dir = True, "/none", tmp_path
    context.allocations.is_kept = lambda uid: False
    group: Any = SimpleNamespace(create_task=lambda work, name: work.close())
    known: Any = [POD]
    node = Node(context, known, group, lambda: None)

    def unseen(uid: str) -> bool:
        node.on_pod("ADDED", None, {**POD, "metadata": {**POD["metadata"], "uid": uid}})
        return node.workers[uid].local.unseen

    assert unseen("before the runtime was asked")
    await node.remove_strangers()
    assert unseen("u")
    assert not unseen("new")
    del node.workers["new"]
    assert unseen("new")


def test_a_cpuset_is_filled_from_the_nearest_that_has_something(tmp_path: Path) -> None:
    leaf = tmp_path / "a" / "b" / "c"
    leaf.mkdir(parents=True)
    for folder, text in ((tmp_path, "0-3"), (tmp_path / "a", "1\n"), (tmp_path / "a" / "b", "\n"), (leaf, "")):
        for name in ("cpuset.cpus", "cpuset.mems"):
            (folder / name).write_text(text)
    pod_cgroups.fill_cpuset(tmp_path, "/a/b/c")
    assert {(folder / "cpuset.cpus").read_text() for folder in (leaf, leaf.parent, leaf.parent.parent)} == {"1\n"}
    assert (tmp_path / "cpuset.cpus").read_text() == "0-3"
