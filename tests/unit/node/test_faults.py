"""Faults without a machine: clocks that jump, a runtime that is silent, events that are no ends, servers that say nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.resources import NODES
from sampan.node import cri_pb2 as cri
from sampan.node.kubelet_config import KubeletConfig
from sampan.node.node_status import RUNTIME_GRACE_SECONDS, NodeReporter
from sampan.node.pod_config import CONTAINER
from sampan.node.pod_observer import UNTIL_RUNTIME_KNOWS_SECONDS, PodObserver
from sampan.node.probes import Target, ask
from sampan.node.restart_backoff import RestartBackoff
from sampan.node.runtime import RuntimeFailure
from sampan.node.volumes.material import File
from sampan.node.volumes.written import write_material

NANO = 1_000_000_000
CONTAINER_SPEC: dict[str, Any] = {"name": "main", "image": "x:1"}


class Clocks:
    """The clock on the wall, which jumps, and the one that only goes on."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_000_000.0, 50.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def backoff(self) -> RestartBackoff:
        return RestartBackoff(300, lambda: self.wall, lambda: self.steady)

    def ended(self, attempt: int, *, ago: float = 0.0, ran: float | None = 1.0) -> cri.ContainerStatus:
        finished = int((self.wall - ago) * NANO)
        started = 0 if ran is None else finished - int(ran * NANO)
        metadata = cri.ContainerMetadata(attempt=attempt)
        return cri.ContainerStatus(metadata=metadata, started_at=started, finished_at=finished)


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_a_clock_that_jumps_neither_prolongs_nor_forgives_a_pause(jump: float) -> None:
    clocks = Clocks()
    backoff = clocks.backoff()
    backoff.left("main", clocks.ended(0))
    end = clocks.ended(1)
    assert backoff.left("main", end) == 10
    clocks.passes(4)
    clocks.wall += jump
    assert backoff.left("main", end) == 6
    clocks.passes(6)
    assert backoff.left("main", end) <= 0


def test_an_end_that_lies_ahead_of_the_clock_waits_its_pause_and_no_longer() -> None:
    clocks = Clocks()
    end = clocks.ended(3, ago=-3600)  # it ended, then the clock was set back by an hour, and the node began anew
    backoff = clocks.backoff()
    assert backoff.left("main", end) == 10
    clocks.passes(10)
    assert backoff.left("main", end) <= 0


def test_what_could_not_be_started_has_not_run_for_ages() -> None:
    clocks = Clocks()
    backoff = clocks.backoff()
    assert [backoff.left("main", clocks.ended(attempt, ran=None)) for attempt in range(4)] == [0, 10, 20, 40]


class SilentRuntime:
    """A runtime that can be away."""

    def __init__(self) -> None:
        self.away = False

    async def _answer(self, answer: Any) -> Any:
        if self.away:
            raise RuntimeFailure("connection refused")
        return answer

    async def version(self) -> Any:
        return await self._answer(cri.VersionResponse(runtime_name="containerd", runtime_version="1"))

    async def list_images(self) -> Any:
        return await self._answer([])

    async def status(self) -> Any:
        old = cri.RuntimeCondition(
            type="ContainerdHasNoDeprecationWarnings", status=False
        )  # what 2.x says of our settings
        well = cri.RuntimeStatus(conditions=[cri.RuntimeCondition(type="RuntimeReady", status=True), old])
        return await self._answer(cri.StatusResponse(status=well))


async def test_a_node_says_that_its_runtime_is_down_when_it_stays_away(tmp_path: Path) -> None:
    runtime, clocks = SilentRuntime(), Clocks()
    reporter = NodeReporter(
        None,  # type: ignore[arg-type]
        runtime,  # type: ignore[arg-type]
        name="n",
        ips=("10.0.0.1",),
        pod_cidrs=("10.1.0.0/24",),
        kubernetes_version="1.37.0",
        kubelet_dir=tmp_path,
        kubelet=KubeletConfig(),
    )
    reporter.steady = lambda: clocks.steady
    status: dict[str, Any] = {}

    async def ready() -> tuple[str, str]:
        nonlocal status
        status = await reporter.status(status)
        condition = next(c for c in status["conditions"] if c["type"] == "Ready")
        return condition["status"], condition["message"]

    assert (await ready())[0] == "True"
    runtime.away = True
    clocks.wall += 86400  # the clock on the wall does not matter
    assert (await ready())[0] == "True", "a runtime that is begun anew does not make the node unready"
    clocks.passes(RUNTIME_GRACE_SECONDS)
    assert await ready() == ("False", "container runtime is down: connection refused")
    assert status["nodeInfo"]["containerRuntimeVersion"] == "containerd://1"
    runtime.away = False
    assert (await ready())[0] == "True"


async def test_a_node_that_comes_back_has_its_labels_again(tmp_path: Path, local_api: Api) -> None:
    client = LocalClient(local_api, User("admin", ("system:masters", "system:authenticated")))

    def reporter() -> NodeReporter:
        return NodeReporter(
            client,
            SilentRuntime(),  # type: ignore[arg-type]
            name="n",
            ips=("10.0.0.1",),
            pod_cidrs=("10.1.0.0/24",),
            kubernetes_version="1.37.0",
            kubelet_dir=tmp_path,
            kubelet=KubeletConfig(),
        )

    first = reporter()
    await first.register()
    change = {"metadata": {"labels": {"kubernetes.io/os": "solaris", "kubernetes.io/hostname": None, "own": "kept"}}}
    await client.patch(NODES, "n", change)
    await first.register()
    assert "kubernetes.io/hostname" not in (await client.get(NODES, "n"))["metadata"]["labels"], (
        "while it runs: as said"
    )
    await reporter().register()
    labels = (await client.get(NODES, "n"))["metadata"]["labels"]
    assert labels.items() >= {**first.labels(), "own": "kept"}.items()


async def test_an_event_of_a_container_that_goes_on_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks()
    monkeypatch.setattr("sampan.node.pod_observer.time.monotonic", lambda: clocks.steady)
    observer = PodObserver(None, "u", tmp_path)  # type: ignore[arg-type]
    observer.view.of("main").current = cri.ContainerStatus(id="c", state=cri.CONTAINER_RUNNING)
    observer.on_exit("c")  # a process of it ran out of memory
    assert observer.still_ending()
    clocks.passes(UNTIL_RUNTIME_KNOWS_SECONDS)
    assert not observer.still_ending()


class DyingSandboxes:
    """A runtime in which a pod had several sandboxes; the last one is ready."""

    def __init__(self) -> None:
        self.sandboxes = {f"s{number}": number for number in range(3)}
        self.containers = {"c1": "s1", "c2": "s2"}
        self.stopped: list[str] = []

    async def list_pod_sandboxes(self, labels: dict[str, str]) -> list[cri.PodSandbox]:
        return [
            cri.PodSandbox(
                id=name,
                created_at=number,
                state=cri.SANDBOX_READY if name == "s2" else cri.SANDBOX_NOTREADY,
                metadata=cri.PodSandboxMetadata(attempt=number),
            )
            for name, number in self.sandboxes.items()
        ]

    async def list_containers(self, labels: dict[str, str]) -> list[cri.Container]:
        return [
            cri.Container(
                id=name,
                pod_sandbox_id=sandbox,
                labels={CONTAINER: "main"},
                metadata=cri.ContainerMetadata(attempt=int(name[1:])),
            )
            for name, sandbox in self.containers.items()
        ]

    async def pod_sandbox_status(self, sandbox_id: str) -> cri.PodSandboxStatus:
        return cri.PodSandboxStatus(id=sandbox_id)

    async def container_status(self, container_id: str, *, verbose: bool = False) -> cri.ContainerStatusResponse:
        state = cri.CONTAINER_RUNNING if container_id == "c2" else cri.CONTAINER_EXITED
        return cri.ContainerStatusResponse(status=cri.ContainerStatus(id=container_id, state=state))

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        self.stopped.append(sandbox_id)

    async def kill_pod_sandbox(self, sandbox_id: str) -> None:
        await self.stop_pod_sandbox(sandbox_id)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        del self.sandboxes[sandbox_id]


async def test_sandboxes_that_died_are_stopped_once_and_go_when_nothing_is_told_of_them(tmp_path: Path) -> None:
    runtime = DyingSandboxes()
    context: Any = SimpleNamespace(runtime=runtime, owners={})
    observer = PodObserver(context, "u", tmp_path)
    for _ in range(3):
        await observer.look()
    assert sorted(runtime.stopped) == ["s0", "s1"]
    assert list(runtime.sandboxes) == ["s1", "s2"], "the instance before is still told of"
    assert observer.view.sandbox_id == "s2" and observer.view.of("main").running


async def test_a_server_that_says_nothing_is_not_waited_for_beyond_the_timeout() -> None:
    silence = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silence.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    probe = {"httpGet": {"port": server.sockets[0].getsockname()[1]}, "timeoutSeconds": 0.05}
    target = Target(CONTAINER_SPEC, "c", "127.0.0.1")
    answer = await asyncio.wait_for(ask(None, probe, target), 60)  # type: ignore[arg-type]
    assert not answer.well and "0.05 s" in answer.message
    silence.set()
    server.close()


def test_a_disk_that_is_full_does_not_become_fuller_with_each_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = {"a": File(b"1", 0o644)}, {"a": File(b"2", 0o644)}
    write_material(tmp_path, old)
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                write_material(tmp_path, new)
    assert sorted(path.name for path in tmp_path.iterdir()) == before and (tmp_path / "a").read_bytes() == b"1"
    write_material(tmp_path, new)
    assert (tmp_path / "a").read_bytes() == b"2"
