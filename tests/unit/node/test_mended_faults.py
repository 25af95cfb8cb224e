"""Faults that were found by reading, each with the story of what it did."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sampan.client.errors import ApiError
from sampan.node import cri_pb2 as cri
from sampan.node.eviction import Eviction
from sampan.node.eviction_plan import PodUse
from sampan.node.local_pod import LocalPod
from sampan.node.node import Node
from sampan.node.pod_config import CONTAINER, NAME, NAMESPACE, UID
from sampan.node.pod_observer import PodObserver
from sampan.node.probes import ContainerProbes, Target
from sampan.node.runtime import Runtime, RuntimeFailure
from sampan.node.volumes import VolumeError, empty_dir
from sampan.node.volumes.kinds import set_up, volume_of
from sampan.node.volumes.material import File
from sampan.node.volumes.written import write_material

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u"},
    "spec": {"serviceAccountName": "gone", "containers": [{"name": "main"}]},
}


async def test_a_pod_whose_service_account_is_gone_waits(tmp_path: Path) -> None:
    """A 404 of anything that a pod names was taken for the pod's own: its worker ended, and it was pending for ever."""

    async def token(*_: object) -> str:
        raise ApiError(404, {"reason": "NotFound", "message": 'serviceaccounts "gone" not found'})

    context: Any = SimpleNamespace(
        tokens=SimpleNamespace(token=token), lookup=lambda _: lambda *_: None, facts=lambda _: {}, own_runtime=False
    )
    sources = [{"serviceAccountToken": {"path": "token"}}]
    volume = volume_of({"name": "v", "projected": {"sources": sources}}, POD, context, tmp_path, "")
    text = r'MountVolume.SetUp failed for volume "v" : failed to fetch token: serviceaccounts "gone" not found'
    with pytest.raises(VolumeError, match=text):
        await set_up(volume)


def test_links_that_a_crash_left_out_are_made_at_the_next_look(tmp_path: Path) -> None:
    """A node that died between the swap and the links saw nothing to do when it was back: the new key had no file."""
    files = {"a": File(b"1", 0o644), "b/c": File(b"2", 0o644)}
    write_material(tmp_path, files)
    (tmp_path / "a").unlink()
    (tmp_path / "b").unlink()
    (tmp_path / "old").symlink_to("..data/old")
    assert not write_material(tmp_path, files)
    assert (tmp_path / "a").read_text() == "1" and (tmp_path / "b" / "c").read_text() == "2"
    assert not (tmp_path / "old").is_symlink()


async def test_an_empty_dir_is_open_to_all_from_its_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that died between the making of the folder and its mode left one that only root could write into."""
    context: Any = SimpleNamespace(own_runtime=True)
    volume = volume_of({"name": "v", "emptyDir": {}}, POD, context, tmp_path, "")
    with monkeypatch.context() as patched:
        patched.setattr(empty_dir, "_open_up", lambda *_: (_ for _ in ()).throw(OSError("the node dies")))
        with pytest.raises(VolumeError):
            await set_up(volume)
    assert not volume.folder.exists()
    await set_up(volume)
    assert stat.S_IMODE(volume.folder.stat().st_mode) == 0o777
    volume.folder.chmod(0o700)
    await set_up(volume)
    assert stat.S_IMODE(volume.folder.stat().st_mode) == 0o700, "what a container made of it stays"


async def test_a_sandbox_that_cannot_be_removed_keeps_no_node_from_starting(tmp_path: Path) -> None:
    """Its failure ended the node part, again and again: no pod ran because of one that was gone."""
    fails, left = {"s1"}, ["s1", "s2"]
    removed = asyncio.Event()

    class Stubborn:
        async def list_pod_sandboxes(self) -> list[cri.PodSandbox]:
            return [cri.PodSandbox(id=name, labels={UID: f"of-{name}"}) for name in left]

        async def kill_pod_sandbox(self, name: str) -> None:
            if name in fails:
                fails.discard(name)
                raise RuntimeFailure("its network cannot be taken down")

        async def remove_pod_sandbox(self, name: str) -> None:
            left.remove(name)
            if not left:
                removed.set()

    context: Any = SimpleNamespace(
        runtime=Stubborn(), own_runtime=True, node_name="n", kubelet_dir=tmp_path, pod_log_dir=tmp_path, cgroup="/none"
    )
    async with asyncio.TaskGroup() as group:
        node = Node(context, cast("Any", []), group, lambda: None)
        await node.remove_strangers()
        assert "s2" not in left
        async with asyncio.timeout(60):
            await removed.wait()


async def test_logs_and_messages_of_instances_that_are_told_of_no_more_go(tmp_path: Path) -> None:
    """A pod in a crash loop for weeks filled the disk with small files."""
    logs, messages = tmp_path / "logs" / "n_p_u" / "main", tmp_path / "pod" / "containers" / "main"
    for folder in (logs, messages):
        folder.mkdir(parents=True)
    for attempt in range(3):
        for file in (logs / f"{attempt}.log", logs / f"{attempt}.log.20260101-000000.gz", messages / str(attempt)):
            file.touch()
    (logs / "10.log").touch()
    labels = {CONTAINER: "main", NAME: "p", NAMESPACE: "n"}

    class Crashing:
        async def list_pod_sandboxes(self, labels: object) -> list[cri.PodSandbox]:
            return [cri.PodSandbox(id="s", state=cri.SANDBOX_READY)]

        async def list_containers(self, _: object) -> list[cri.Container]:
            exited = [cri.ContainerMetadata(name="main", attempt=attempt) for attempt in range(3)]
            return [
                cri.Container(id=f"c{one.attempt}", pod_sandbox_id="s", metadata=one, labels=labels) for one in exited
            ]

        async def pod_sandbox_status(self, _: str) -> cri.PodSandboxStatus:
            return cri.PodSandboxStatus()

        async def container_status(self, name: str, *, verbose: bool = False) -> cri.ContainerStatusResponse:
            return cri.ContainerStatusResponse(status=cri.ContainerStatus(id=name, state=cri.CONTAINER_EXITED))

        async def remove_container(self, name: str) -> None:
            assert name == "c0"

    context: Any = SimpleNamespace(runtime=Crashing(), owners={}, pod_log_dir=tmp_path / "logs")
    await PodObserver(context, "u", tmp_path / "pod").look()
    assert not list(logs.glob("0.log*")) and not (messages / "0").exists()
    assert len(list(logs.iterdir())) == 5 and len(list(messages.iterdir())) == 2


async def test_a_pod_is_as_ready_as_it_was_until_a_probe_says_otherwise() -> None:
    """Each restart of the node part took every pod with a readiness probe out of its Services for a moment."""
    closed = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = closed.sockets[0].getsockname()[1]
    probe = {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 1}
    container: dict[str, Any] = {"name": "c", "startupProbe": probe, "readinessProbe": probe}
    changed = asyncio.Event()
    probes = ContainerProbes(
        cast("Runtime", None), Target(container, "id", "127.0.0.1"), changed.set, lambda *_: None, lambda *_: None,
        started=True, ready=True,
    )  # fmt: skip
    assert probes.started and probes.ready
    closed.close()
    await closed.wait_closed()
    task = asyncio.create_task(probes.run())
    async with asyncio.timeout(60):
        await changed.wait()
    assert probes.started and not probes.ready
    task.cancel()


def test_what_was_told_is_of_one_instance(tmp_path: Path) -> None:
    entry = {"name": "main", "containerID": "containerd://abc", "ready": True, "started": True}
    context: Any = SimpleNamespace(
        allocations=SimpleNamespace(applied=lambda pod: pod), pod_dir=lambda _: tmp_path, runtime_name="containerd"
    )
    local = LocalPod(context, {**POD, "status": {"containerStatuses": [entry]}})
    assert local.told("main", "abc") == entry
    assert local.told("main", "def") == {} == local.told("other", "abc")


async def test_a_pod_that_goes_while_it_is_measured_is_not_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was looked up by its uid after it had gone: the KeyError ended the node part."""
    pod = {**POD, "spec": {"containers": [{"name": "main", "resources": {"limits": {"ephemeral-storage": "1"}}}]}}
    workers: dict[str, Any] = {"u": SimpleNamespace(pod=pod)}
    config = SimpleNamespace(
        eviction_hard={}, eviction_soft={}, eviction_minimum_reclaim={}, eviction_pressure_transition_period=1.0
    )
    nothing: Any = SimpleNamespace()
    eviction = Eviction(nothing, nothing, workers, nothing, cast("Any", config), lambda: None, lambda *_: None)

    async def levels() -> dict[str, Any]:
        return {}

    async def uses(*, whole: bool) -> list[PodUse]:
        workers.clear()
        return [PodUse(pod, storage=100, container_storage={"main": 100})]

    monkeypatch.setattr(eviction, "_levels", levels)
    monkeypatch.setattr(eviction, "_uses", uses)
    assert await eviction.look()
