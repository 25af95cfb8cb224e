"""Device plugins over real sockets: they register, tell what they have, are asked for devices; what was given stays given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpclib.exceptions import GRPCError

from sampan.node import cri_pb2 as cri
from sampan.node.devices.allocation import NotEnough
from sampan.node.devices.plugins import Devices
from tests.device_plugin import RESOURCE, Plugin, register, serving


@asynccontextmanager
async def node(folder: Path) -> AsyncIterator[tuple[Devices, asyncio.Event]]:
    changed = asyncio.Event()
    devices = Devices(folder, changed.set)
    task = asyncio.create_task(devices.run())
    while not (folder / "device-plugins" / "kubelet.sock").is_socket():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield devices, changed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def tell(plugin: Plugin, changed: asyncio.Event, **lamps: str) -> None:
    changed.clear()
    plugin.told.put_nowait(lamps)
    await asyncio.wait_for(changed.wait(), 60)


def wants(count: int, name: str = "main") -> dict[str, Any]:
    return {"name": name, "resources": {"limits": {RESOURCE: str(count)}}}


@pytest.mark.parametrize("below", ["", "a-folder-so-deep-that-no-socket-below-it-has-a-path-that-fits/" * 3])
async def test_containers_get_devices_and_keep_them(short_path: Path, below: str) -> None:
    short_path = short_path / below
    async with node(short_path) as (devices, changed), serving(short_path) as plugin:
        plugin.cdi = "example.com/lamp=all"
        await register(short_path)
        await tell(plugin, changed, a="Healthy", b="Healthy", c="Unhealthy")
        assert (devices.capacity, devices.allocatable) == ({RESOURCE: "3"}, {RESOURCE: "2"})
        config = cri.ContainerConfig(envs=[cri.KeyValue(key="OWN", value="container")])
        await devices.give("pod1", wants(1), config)
        assert {entry.key: entry.value for entry in config.envs} == {"OWN": "container", "LAMPS": "a"}
        assert [(m.container_path, m.host_path, m.readonly) for m in config.mounts] == [("/lamp", "/tmp", True)]
        assert [(d.container_path, d.permissions) for d in config.devices] == [("/dev/lamp-a", "rw")]
        assert config.CDI_devices[0].name == "example.com/lamp=all" == config.annotations["cdi.k8s.io/example.com_lamp"]
        assert config.annotations["lamp"] == "on"
        await devices.give("pod1", wants(1), cri.ContainerConfig())  # it starts again
        await devices.give("pod2", wants(1), cri.ContainerConfig())
        assert plugin.asked == [["a"], ["b"]]
        with pytest.raises(NotEnough, match="Requested: 1, Available: 0"):
            await devices.give("pod3", wants(1), cri.ContainerConfig())
        devices.release("pod2")
        await devices.give("pod3", wants(1), cri.ContainerConfig())
    async with node(short_path) as (again, _):
        again.adopt("pod1")
        config = cri.ContainerConfig()
        await again.give("pod1", wants(1), config)  # before its plugin is back
        assert {entry.key: entry.value for entry in config.envs} == {"LAMPS": "a", "OWN": "plugin"}


async def test_a_plugin_says_which_devices_and_is_told_of_starts(short_path: Path) -> None:
    async with node(short_path) as (devices, changed), serving(short_path) as plugin:
        await register(short_path, pre_start_required=True, get_preferred_allocation_available=True)
        await tell(plugin, changed, a="Healthy", b="Healthy", c="Healthy")
        await devices.give("pod1", wants(2), cri.ContainerConfig())
        assert plugin.asked == [["b", "c"], ("start", ["b", "c"])]


async def test_a_pod_is_given_all_its_devices_when_it_is_taken_in(short_path: Path) -> None:
    first = {**wants(2, "first"), "restartPolicy": None}
    side = {**wants(1, "side"), "restartPolicy": "Always"}
    pod = {"spec": {"initContainers": [first, side], "containers": [wants(1, "a"), wants(1, "b")]}}
    async with node(short_path) as (devices, changed), serving(short_path) as plugin:
        await register(short_path)
        await tell(plugin, changed, a="Healthy", b="Healthy", c="Healthy")
        await devices.admit("pod1", pod)
        # the first container's are free for the others when it has ended; the sidecar, the first of them, keeps what it has
        assert plugin.asked == [["a", "b"], ["a"], ["b"], ["c"]]
        await devices.give("pod1", wants(1, "b"), cri.ContainerConfig())
        assert len(plugin.asked) == 4, "what was given at its admission is kept"
        with pytest.raises(NotEnough, match=r"unavailable for example.com/lamp. Requested: 1, Available: 0"):
            await devices.admit("pod2", {"spec": {"containers": [wants(1)]}})
        await tell(plugin, changed, a="Unhealthy", b="Unhealthy", c="Unhealthy")
        with pytest.raises(
            NotEnough, match=r"no healthy devices present; cannot allocate unhealthy devices example.com/l"
        ):
            await devices.admit("pod2", {"spec": {"containers": [wants(1)]}})
    async with node(short_path) as (again, _):
        assert (again.capacity, again.allocatable) == ({RESOURCE: "0"}, {RESOURCE: "0"})
        with pytest.raises(NotEnough, match="no healthy devices present"):  # its plugin is not back yet
            await again.admit("pod3", {"spec": {"containers": [wants(1)]}})


async def test_a_plugin_that_goes_has_nothing_to_give(short_path: Path) -> None:
    async with node(short_path) as (devices, changed):
        async with serving(short_path) as plugin:
            await register(short_path)
            await tell(plugin, changed, a="Healthy")
            changed.clear()
            plugin.told.put_nowait(None)
            await asyncio.wait_for(changed.wait(), 60)
        assert (devices.capacity, devices.allocatable) == ({RESOURCE: "1"}, {RESOURCE: "0"})


@pytest.mark.parametrize(
    ("name", "version"), [(RESOURCE, "v1alpha"), ("lamp", "v1beta1"), ("kubernetes.io/x", "v1beta1")]
)
async def test_registrations_that_are_refused(short_path: Path, name: str, version: str) -> None:
    async with node(short_path):
        with pytest.raises(GRPCError):
            await register(short_path, name, version)
