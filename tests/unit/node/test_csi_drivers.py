"""CSI drivers make themselves known to a node, are asked for volumes, and give them back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType
from sampan.client.resources import CSI_DRIVERS, CSI_NODES, NODES
from sampan.node.csi.attaching import Attaching, attachment_name, unique_name
from sampan.node.csi.driver import Capability
from sampan.node.csi.driver import CsiDriver as Driver
from sampan.node.csi.paths import here, seen
from sampan.node.csi.registration import CsiPlugins
from sampan.node.volumes import Mounted, VolumeError, csi
from sampan.node.volumes.usage import volume_stats
from sampan.node.volumes.volume import Volume
from sampan.schema.objects import Object
from tests.csi_driver import CsiDriver, serve

NAME = "folders.example"


@contextlib.asynccontextmanager
async def running(plugins: CsiPlugins) -> AsyncIterator[None]:
    task = asyncio.create_task(plugins.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Changes:
    """Waits until a condition holds after a change of the drivers."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def __call__(self) -> None:
        self.event.set()

    async def next(self) -> None:
        async with asyncio.timeout(60):
            await self.event.wait()
        self.event.clear()


@pytest.fixture
def client(local_api: Api) -> LocalClient:
    return LocalClient(local_api, User("admin", ("system:masters", "system:authenticated")))


@pytest.mark.parametrize("below", ["", "a-folder-so-deep-that-no-socket-below-it-has-a-path-that-fits/" * 3])
async def test_a_driver_registers_and_goes(client: LocalClient, short_path: Path, below: str) -> None:
    short_path = short_path / below
    await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    changes = Changes()
    plugins = CsiPlugins(client, "n", short_path, changes)
    driver = CsiDriver(NAME, short_path / "data", topology={"example.com/rack": "7"})
    async with running(plugins):
        servers = await serve(driver, short_path)
        await changes.next()
        node = await client.get(CSI_NODES, "n")
        entry = {"name": NAME, "nodeID": "the-node", "topologyKeys": ["example.com/rack"], "allocatable": {"count": 7}}
        assert node["spec"]["drivers"] == [entry]
        assert node["metadata"]["ownerReferences"][0]["kind"] == "Node"
        metadata = (await client.get(NODES, "n"))["metadata"]
        assert json.loads(metadata["annotations"]["csi.volume.kubernetes.io/nodeid"]) == {NAME: "the-node"}
        assert metadata["labels"]["example.com/rack"] == "7"
        for server in servers:
            server.close()
            await server.wait_closed()
        (short_path / "plugins_registry" / f"{NAME}-reg.sock").unlink(missing_ok=True)
        await changes.next()
        assert (await client.get(CSI_NODES, "n"))["spec"]["drivers"] == []
        assert not ((await client.get(NODES, "n"))["metadata"].get("annotations") or {})
    told = driver.told.get_nowait()
    assert told.plugin_registered and not told.error


async def test_a_driver_that_fails_is_told_so_and_asked_again(client: LocalClient, short_path: Path) -> None:
    await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    changes = Changes()
    plugins = CsiPlugins(client, "n", short_path, changes)
    driver = CsiDriver(NAME, short_path / "data")
    driver.failing["NodeGetInfo"] = "no idea yet"
    await serve(driver, short_path)
    async with running(plugins):
        async with asyncio.timeout(60):
            told = await driver.told.get()
        assert "no idea yet" in told.error and not told.plugin_registered
        driver.failing.clear()
        await changes.next()
        async with asyncio.timeout(60):
            while not (await driver.told.get()).plugin_registered:
                continue


# volumes; nothing is mounted here: tests/e2e has the real thing


class Cluster:
    """What of the API a volume needs."""

    def __init__(self, spec: Object | None) -> None:
        self.spec = spec

    async def get(self, resource: ResourceType, name: str, namespace: str = "") -> Object:
        if resource is CSI_DRIVERS and self.spec is not None:
            return {"spec": self.spec}
        if resource.plural == "secrets":
            return {"data": {"key": "dmFsdWU="}}
        raise ApiError(404, {"reason": "NotFound", "message": f"{name} not found"})


@pytest.fixture
async def world(short_path: Path) -> AsyncIterator[Any]:
    driver = CsiDriver(NAME, short_path / "data", mounting=False)
    servers = await serve(driver, short_path)
    cluster: Any = Cluster({"attachRequired": False, "podInfoOnMount": True, "volumeLifecycleModes": ["Ephemeral"]})
    plugins = CsiPlugins(cluster, "n", short_path)
    plugins.drivers[NAME] = Driver(NAME, short_path / "plugins" / NAME / "csi.sock", short_path)
    await plugins.drivers[NAME].learn()
    context: Any = SimpleNamespace(
        csi=plugins,
        client=cluster,
        kubelet_dir=short_path,
        node_name="n",
        attaching=Attaching(cluster, "n"),
        runtime=SimpleNamespace(socket=""),
    )
    driver.calls.clear()
    yield SimpleNamespace(driver=driver, cluster=cluster, context=context, dir=short_path)
    plugins.drivers[NAME].close()
    for server in servers:
        server.close()
        await server.wait_closed()


def persistent(world: Any, uid: str = "u1", modes: tuple[str, ...] = ("ReadWriteOnce",), **source: Any) -> Volume:
    source = {"driver": NAME, "volumeHandle": "disk/1", "volumeAttributes": {"a": "b"}, **source}
    pv = {"metadata": {"name": "pv"}, "spec": {"csi": source, "accessModes": list(modes), "mountOptions": ["noatime"]}}
    pod = {"metadata": {"name": "p", "namespace": "ns", "uid": uid}, "spec": {}}
    return Volume("pv", "csi", source, pod, world.context, world.dir / "pods" / uid, persistent=pv)


def calls(world: Any) -> list[str]:
    found = [name for name, _ in world.driver.calls]
    world.driver.calls.clear()
    return found


async def test_a_volume_is_staged_once_and_published_for_each_pod(world: Any) -> None:
    volume = persistent(world, nodeStageSecretRef={"name": "s", "namespace": "x"})
    ready = await csi.set_up(volume)
    assert isinstance(ready, Mounted) and ready.path == world.dir / "pods/u1/volumes/kubernetes.io~csi/pv/mount"
    (_, stage), (_, publish) = world.driver.calls
    assert dict(stage.secrets) == {"key": "value"} and list(stage.volume_capability.mount.mount_flags) == ["noatime"]
    assert publish.staging_target_path == stage.staging_target_path and stage.staging_target_path.endswith(
        "/globalmount"
    )
    told = dict(publish.volume_context)
    assert told["a"] == "b" and told["csi.storage.k8s.io/pod.name"] == "p"
    assert told["csi.storage.k8s.io/ephemeral"] == "false"
    entry = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    (stats,) = await volume_stats(world.context, {**volume.pod, "spec": {"volumes": [entry]}}, {"v": ready})
    assert (stats["capacityBytes"], stats["availableBytes"], stats["usedBytes"]) == (10, 6, 4)
    await csi.set_up(persistent(world, "u2"))
    calls(world)
    await csi.tear_down(world.context, world.dir / "pods" / "u1")
    assert calls(world) == ["NodeUnpublishVolume"], "another pod has it"
    await csi.tear_down(world.context, world.dir / "pods" / "u2")
    assert calls(world) == ["NodeUnpublishVolume", "NodeUnstageVolume"]
    assert not list(world.dir.glob("plugins/kubernetes.io/csi/*/*"))
    await csi.tear_down(world.context, world.dir / "pods" / "u2")
    assert calls(world) == []


async def test_a_volume_that_a_pod_describes_is_only_published(world: Any) -> None:
    pod = {"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {}}
    volume = Volume("own", "csi", {"driver": NAME}, pod, world.context, world.dir / "pods" / "u")
    await csi.set_up(volume)
    assert calls(world) == ["NodePublishVolume"]
    world.cluster.spec["volumeLifecycleModes"] = ["Persistent"]
    with pytest.raises(VolumeError, match="volume mode Ephemeral not supported by driver"):
        await csi.set_up(volume)


async def test_what_fails_is_told_and_what_was_noted_is_given_back(world: Any) -> None:
    world.driver.failing["NodePublishVolume"] = "disk is on fire"
    with pytest.raises(VolumeError, match="code = INTERNAL desc = disk is on fire"):
        await csi.set_up(persistent(world))
    calls(world)
    await csi.tear_down(world.context, world.dir / "pods" / "u1")
    assert calls(world) == ["NodeUnpublishVolume", "NodeUnstageVolume"]
    with pytest.raises(VolumeError, match=r"driver name gone\.example not found in the list of registered CSI drivers"):
        await csi.set_up(persistent(world, driver="gone.example"))


async def test_what_a_dead_node_left_staged_is_unstaged(world: Any) -> None:
    await csi.set_up(persistent(world))
    shutil.rmtree(world.dir / "pods")
    calls(world)
    await csi.clean_staged(world.context)
    assert calls(world) == ["NodeUnstageVolume"]


async def test_pods_wait_until_their_volume_is_attached(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.node.csi.attaching.SECONDS", 0.01)
    world.cluster.spec["attachRequired"] = True
    name = unique_name(NAME, "disk/1")
    node = {"metadata": {"name": "n", "resourceVersion": "1"}, "status": {}}
    attachment = {"status": {"attached": True, "attachmentMetadata": {"lun": "3"}}}
    plain = world.cluster.get

    async def get(resource: ResourceType, which: str, namespace: str = "") -> Object:
        if resource is NODES:
            return node
        if resource.plural == "volumeattachments":
            assert which == attachment_name(NAME, "disk/1", "n")
            return attachment
        found: Object = await plain(resource, which, namespace)
        return found

    async def watch(resource: ResourceType, **options: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(3600)
        yield None

    world.cluster.get, world.cluster.watch = get, watch
    with pytest.raises(VolumeError, match="timed out waiting for external-attacher"):
        await csi.set_up(persistent(world))
    assert list(world.context.attaching.in_use) == [name]
    node["status"] = {"volumesAttached": [{"name": name, "devicePath": ""}]}
    await csi.set_up(persistent(world))
    assert dict(world.driver.calls[0][1].publish_context) == {"lun": "3"}
    world.context.attaching.release("u1")
    assert not world.context.attaching.in_use


def test_drivers_in_pods_have_the_usual_folder(short_path: Path) -> None:
    assert here(Path("/var/lib/kubelet/plugins/x"), short_path) == short_path / "plugins" / "x"
    assert here(Path("/etc/x"), short_path) == Path("/etc/x")
    assert seen(short_path / "pods" / "u", short_path) == Path("/var/lib/kubelet/pods/u")


async def test_block_volumes_have_a_place_of_their_own(world: Any) -> None:
    volume = persistent(world)
    assert volume.persistent is not None
    volume.persistent["spec"]["volumeMode"] = "Block"
    ready = await csi.set_up(volume)
    assert ready.block and ready.path == world.dir / "pods/u1/volumeDevices/kubernetes.io~csi/pv/dev"
    assert all(request.volume_capability.HasField("block") for _, request in world.driver.calls)
    calls(world)
    await csi.tear_down(world.context, world.dir / "pods" / "u1")
    assert calls(world) == ["NodeUnpublishVolume", "NodeUnstageVolume"]


async def test_drivers_are_asked_again_where_they_want_that_and_told_tokens(world: Any) -> None:
    async def token(pod: Object, audience: str, seconds: int) -> str:
        return f"for-{audience}-{seconds}"

    world.context.tokens = SimpleNamespace(token=token)
    world.cluster.spec |= {
        "requiresRepublish": True,
        "tokenRequests": [{"audience": "vault", "expirationSeconds": 700}],
    }
    ready = await csi.set_up(persistent(world))
    assert ready.until < float("inf")
    told = dict(world.driver.calls[-1][1].volume_context)
    tokens = json.loads(told["csi.storage.k8s.io/serviceAccount.tokens"])
    assert tokens["vault"]["token"] == "for-vault-700" and tokens["vault"]["expirationTimestamp"].endswith("Z")
    calls(world)
    await csi.set_up(persistent(world))
    assert calls(world)[-1] == "NodePublishVolume"


async def test_what_is_on_a_volume_grows_with_it(world: Any) -> None:
    patched: list[Object] = []
    events: list[str] = []

    async def patch(resource: ResourceType, name: str, change: Object, namespace: str, *, subresource: str) -> None:
        patched.append(change)

    world.cluster.patch = patch
    world.context.events = SimpleNamespace(normal=lambda about, reason, message: events.append(reason))
    volume = persistent(world)
    assert volume.persistent is not None
    volume.persistent["spec"]["capacity"] = {"storage": "3Gi"}
    conditions = [{"type": "FileSystemResizePending", "status": "True"}, {"type": "Other", "status": "True"}]
    status = {"capacity": {"storage": "1Gi"}, "conditions": conditions}
    claim = {"metadata": {"name": "c", "namespace": "ns"}, "status": status}
    await csi.set_up(dataclasses.replace(volume, claim=claim))
    name, request = world.driver.calls[-1]
    assert name == "NodeExpandVolume" and request.capacity_range.required_bytes == 3 << 30
    (change,) = patched
    assert change["status"]["capacity"] == {"storage": "3Gi"} and change["status"]["conditions"] == conditions[1:]
    assert events == ["FileSystemResizeSuccessful"] * 2
    calls(world)
    status["capacity"] = {"storage": "3Gi"}
    await csi.set_up(dataclasses.replace(volume, claim=claim))
    assert "NodeExpandVolume" not in calls(world)


@pytest.mark.parametrize(
    ("policy", "modes", "fs_type", "given"),
    [
        ("File", ("ReadWriteMany",), "", True),
        ("None", ("ReadWriteOnce",), "ext4", False),
        ("ReadWriteOnceWithFSType", ("ReadWriteOnce",), "ext4", True),
        ("ReadWriteOnceWithFSType", ("ReadWriteOnce",), "", False),
        ("ReadWriteOnceWithFSType", ("ReadWriteMany",), "ext4", False),
    ],
)
async def test_who_gives_a_volume_to_its_group(
    world: Any, policy: str, modes: tuple[str, ...], fs_type: str, given: bool
) -> None:
    volume = persistent(world, modes=modes, fsType=fs_type)
    volume.pod["spec"]["securityContext"] = {"fsGroup": 5}
    driver = world.context.csi.get(NAME)
    found = csi.Csi(volume, driver, {"fsGroupPolicy": policy}, "h")
    assert csi.gives_group(found) is given
    driver.capabilities = driver.capabilities | {Capability.VOLUME_MOUNT_GROUP}
    assert not csi.gives_group(found) and found.capability().mount.volume_mount_group == "5"
