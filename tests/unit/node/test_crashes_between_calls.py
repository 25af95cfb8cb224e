"""A node that dies before or after any call to the runtime comes, begun anew, to the same pod.

That is: one sandbox that is ready, each container running once in it, and nothing left that nobody is told of.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sampan.node import cri_pb2 as cri
from sampan.node.pod_config import CONTAINER
from sampan.node.pod_observer import PodObserver
from sampan.node.pod_plan import next_attempt, next_step
from sampan.node.pod_status import phase_of

MANIFEST: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u"},
    "spec": {
        "restartPolicy": "Always",
        "initContainers": [
            {"name": "init", "image": "x:1"},
            {"name": "side", "image": "x:1", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "x:1"}],
    },
}


class NodeDied(Exception):
    """What the node holds in memory is gone."""


class FakeRuntime:
    """Keeps what is made, as a runtime does; ``dies(call)`` says whether the node dies before (1) or after (2) a call."""

    def __init__(self, dies: Any) -> None:
        self.dies = dies
        self.sandboxes: dict[str, cri.PodSandbox] = {}
        self.containers: dict[str, cri.ContainerStatus] = {}
        self.within: dict[str, str] = {}
        self.made = 0

    async def _call(self, work: Any) -> Any:
        when = self.dies()
        if when == 1:
            raise NodeDied
        answer = work()
        if when == 2:
            raise NodeDied
        return answer

    def _id(self) -> str:
        self.made += 1
        return f"id{self.made}"

    async def run_pod_sandbox(self, attempt: int) -> str:
        def make() -> str:
            assert attempt not in {s.metadata.attempt for s in self.sandboxes.values()}, "its name is reserved"
            new = self._id()
            metadata = cri.PodSandboxMetadata(attempt=attempt)
            self.sandboxes[new] = cri.PodSandbox(
                id=new, state=cri.SANDBOX_READY, created_at=self.made, metadata=metadata
            )
            return new

        return str(await self._call(make))

    async def create_container(self, sandbox: str, name: str, attempt: int) -> str:
        def make() -> str:
            taken = {(c.metadata.name, c.metadata.attempt) for c in self.containers.values()}
            assert (name, attempt) not in taken, "its name is reserved"
            new = self._id()
            metadata = cri.ContainerMetadata(name=name, attempt=attempt)
            self.containers[new] = cri.ContainerStatus(id=new, state=cri.CONTAINER_CREATED, metadata=metadata)
            self.within[new] = sandbox
            return new

        return str(await self._call(make))

    async def start_container(self, container_id: str) -> None:
        def start() -> None:
            found = self.containers[container_id]
            assert self.sandboxes[self.within[container_id]].state == cri.SANDBOX_READY
            twice = [c for c in self.containers.values() if c.metadata.name == found.metadata.name]
            assert not any(c.state == cri.CONTAINER_RUNNING for c in twice), "nothing runs twice"
            found.state = cri.CONTAINER_EXITED if found.metadata.name == "init" else cri.CONTAINER_RUNNING

        await self._call(start)

    async def remove_container(self, container_id: str) -> None:
        await self._call(lambda: self.containers.pop(container_id))

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        await self._call(lambda: self.break_sandbox(sandbox_id))

    async def kill_pod_sandbox(self, sandbox_id: str) -> None:
        await self.stop_pod_sandbox(sandbox_id)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        def remove() -> None:
            del self.sandboxes[sandbox_id]
            for gone in [c for c, sandbox in self.within.items() if sandbox == sandbox_id]:
                self.containers.pop(gone, None)

        await self._call(remove)

    async def list_pod_sandboxes(self, labels: dict[str, str]) -> list[cri.PodSandbox]:
        return list(self.sandboxes.values())

    async def list_containers(self, labels: dict[str, str]) -> list[cri.Container]:
        return [
            cri.Container(
                id=name,
                pod_sandbox_id=self.within[name],
                state=one.state,
                metadata=one.metadata,
                labels={CONTAINER: one.metadata.name},
            )
            for name, one in self.containers.items()
        ]

    async def pod_sandbox_status(self, sandbox_id: str) -> cri.PodSandboxStatus:
        return cri.PodSandboxStatus(id=sandbox_id)

    async def container_status(self, container_id: str, *, verbose: bool = False) -> cri.ContainerStatusResponse:
        answer = cri.ContainerStatusResponse()
        answer.status.CopyFrom(self.containers[container_id])
        return answer

    # what breaks by itself

    def break_sandbox(self, sandbox_id: str) -> None:
        self.sandboxes[sandbox_id].state = cri.SANDBOX_NOTREADY
        for container_id, sandbox in self.within.items():
            if sandbox == sandbox_id and container_id in self.containers:
                self.break_container(container_id)

    def break_container(self, container_id: str) -> None:
        found = self.containers[container_id]
        if found.state == cri.CONTAINER_RUNNING:
            found.state, found.exit_code = cri.CONTAINER_EXITED, 137


async def live(runtime: FakeRuntime, directory: Path) -> PodObserver:
    """One life of a node: look, make the sandbox, do what the planner says until there is nothing to do."""
    context: Any = SimpleNamespace(runtime=runtime, owners={}, pod_log_dir=directory)
    observer = PodObserver(context, "u", directory)
    await observer.look()
    if not observer.view.sandbox_ready:
        await runtime.run_pod_sandbox(observer.attempt)
        await observer.look()
    while True:
        for seen in observer.view.containers.values():
            seen.started = seen.running
        step = next_step(MANIFEST, observer.view)
        if not step.starts:
            return observer
        for container in step.starts:
            name, seen = container["name"], observer.view.of(container["name"])
            attempt = next_attempt(MANIFEST, name, seen)
            if seen.current is not None and seen.current.state == cri.CONTAINER_CREATED:
                await runtime.remove_container(seen.current.id)
            made = await runtime.create_container(observer.view.sandbox_id, name, attempt)
            await runtime.start_container(made)
        await observer.look()


@given(data=st.data())
def test_a_node_that_dies_between_any_two_calls_comes_to_the_same_pod(data: st.DataObject) -> None:
    trouble = 8

    def dies() -> int:
        nonlocal trouble
        if not trouble:
            return 0
        when = data.draw(st.sampled_from((0, 0, 0, 1, 2)))
        trouble -= when > 0
        return when

    async def lives() -> None:
        nonlocal trouble
        runtime = FakeRuntime(dies)
        with tempfile.TemporaryDirectory() as directory:
            for _ in range(20):
                try:
                    observer = await live(runtime, Path(directory))
                except NodeDied:
                    continue
                if not trouble:
                    break
                trouble -= 1  # it stands; now something else breaks
                victim = data.draw(st.sampled_from([*runtime.sandboxes, *runtime.containers]))
                (runtime.break_sandbox if victim in runtime.sandboxes else runtime.break_container)(victim)
            observer = await live(runtime, Path(directory))
        ready = [name for name, one in runtime.sandboxes.items() if one.state == cri.SANDBOX_READY]
        assert [observer.view.sandbox_id] == ready
        assert phase_of(MANIFEST, observer.view) == "Running"
        for name in ("side", "a", "b"):
            instances = [c for c in runtime.containers.values() if c.metadata.name == name]
            running = [c.id for c in instances if c.state == cri.CONTAINER_RUNNING]
            assert len(running) == 1 and runtime.within[running[0]] == ready[0]
            assert len(instances) <= 2, "an instance, and the one before it"
        used = {runtime.within[name] for name in runtime.containers}
        assert set(runtime.sandboxes) == used, "no sandbox is kept that nothing is told of"

    asyncio.run(lives())
