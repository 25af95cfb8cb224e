"""Device plugins: they register at a socket of this node, their devices are watched, containers are given some.

What a container was given is kept in its pod's folder before it starts, with the plugin's answer, so that a node or a
container that starts again has the same devices. A plugin that goes away leaves its resource with nothing to give;
containers that have devices keep them. When the node starts, the folder is emptied of sockets: plugins see that and
register anew; until they have, the resources that were known before are known to have nothing, so that no pod starts
without the devices it asks for. Source: the device plugin API v1beta1.
"""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.server import Server

from sampan.node import cri_pb2 as cri
from sampan.node import json_file
from sampan.node.devices import allocation
from sampan.node.devices import device_plugin_pb2 as api
from sampan.node.devices.allocation import Given, NotEnough
from sampan.node.restart_policy import is_sidecar
from sampan.node.unix_channel import UnixChannel, short
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.node")

VERSION, HEALTHY = "v1beta1", "Healthy"
FILE = "devices.json"
REGISTERED = "registered.json"
"""The names of the resources that plugins have offered here."""
SECONDS = 30.0
PLUGIN = "/v1beta1.DevicePlugin/"
FAILURES = (GRPCError, OSError, StreamTerminatedError, TimeoutError)


@dataclass(slots=True)
class Resource:
    """What one plugin offers."""

    endpoint: Path
    options: api.DevicePluginOptions
    devices: dict[str, bool] = field(default_factory=dict)
    """Id → whether it is well."""
    nodes: dict[str, frozenset[int]] = field(default_factory=dict)
    """Id → the NUMA nodes that it is near to, of those that tell."""
    watch: asyncio.Task[None] | None = None


class Devices:
    """The devices of a node. ``changed`` is called when what there is changes."""

    def __init__(self, kubelet_dir: Path, changed: Callable[[], None]) -> None:
        self._folder = kubelet_dir / "device-plugins"
        self._pods_dir = kubelet_dir / "pods"
        self._changed = changed
        self._resources: dict[str, Resource] = {
            name: Resource(self._folder / "gone", api.DevicePluginOptions()) for name in self._known()
        }
        self._given: dict[str, dict[str, dict[str, Any]]] = {}
        """Pod uid → container → resource → ids and the plugin's answer."""
        self.aligned_to: frozenset[int] | None = None
        """The NUMA nodes that devices which tell theirs must be near to; None: they need not be."""
        self._choosing = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None

    def _known(self) -> list[str]:
        return list(json_file.read(self._folder / REGISTERED) or ())

    @property
    def capacity(self) -> dict[str, str]:
        return {name: str(len(resource.devices)) for name, resource in self._resources.items()}

    @property
    def allocatable(self) -> dict[str, str]:
        return {name: str(sum(r.devices.values())) for name, r in self._resources.items()}

    async def run(self) -> None:
        """Serve the registration until cancelled."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        server = Server([self])
        async with asyncio.TaskGroup() as group:
            self._group = group
            with short(self._folder / "kubelet.sock") as address:
                await server.start(path=address)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                server.close()

    def __mapping__(self) -> dict[str, Handler]:
        """The service that plugins call (grpclib's own shape)."""
        path = "/v1beta1.Registration/Register"
        return {path: Handler(self._register, Cardinality.UNARY_UNARY, api.RegisterRequest, api.Empty)}

    async def _register(self, stream: Any) -> None:
        request = await stream.recv_message()
        if request.version != VERSION:
            raise GRPCError(Status.INVALID_ARGUMENT, f"device plugin version {request.version} is not {VERSION}")
        if "/" not in request.resource_name or request.resource_name.split("/")[0].endswith("kubernetes.io"):
            raise GRPCError(Status.INVALID_ARGUMENT, f"{request.resource_name} is no name of an extended resource")
        known = self._resources.get(request.resource_name)
        if known is not None and known.watch is not None:
            known.watch.cancel()
        resource = Resource(self._folder / Path(request.endpoint).name, request.options)
        resource.devices = dict.fromkeys(known.devices if known is not None else (), False)
        self._resources[request.resource_name] = resource
        if known is None:
            json_file.write(self._folder / REGISTERED, sorted(self._resources))
        assert self._group is not None
        resource.watch = self._group.create_task(self._watch(request.resource_name, resource), name="device-plugin")
        await stream.send_message(api.Empty())

    async def _watch(self, name: str, resource: Resource) -> None:
        """Follow what a plugin has until it goes."""
        try:
            with connected(resource.endpoint) as channel:
                method = UnaryStreamMethod(channel, PLUGIN + "ListAndWatch", api.Empty, api.ListAndWatchResponse)
                async with method.open() as stream:
                    await stream.send_message(api.Empty(), end=True)
                    async for answer in stream:
                        resource.devices = {device.ID: device.health == HEALTHY for device in answer.devices}
                        resource.nodes = {
                            device.ID: frozenset(node.ID for node in device.topology.nodes)
                            for device in answer.devices
                            if device.topology.nodes
                        }
                        self._changed()
        except FAILURES as error:
            logger.warning("device plugin of %s: %s", name, error)
        resource.devices = dict.fromkeys(resource.devices, False)
        self._changed()

    # containers

    def adopt(self, uid: str) -> None:
        """Take back what a pod was given before this node came back."""
        given = json_file.read(self._pods_dir / uid / FILE)
        if given is not None:
            self._given[uid] = given

    def release(self, uid: str) -> None:
        self._given.pop(uid, None)

    async def admit(self, uid: str, pod: Object) -> None:
        """Give a new pod the devices that its containers ask for. An ordinary init container's are its followers', too.
        Raises ``NotEnough``."""
        lent: dict[str, set[str]] = {}
        async with self._choosing:
            for container in pod["spec"].get("initContainers") or ():
                for resource, ids in (await self._admit_container(uid, container, lent)).items():
                    if is_sidecar(container):
                        lent.get(resource, set()).difference_update(ids)
                    else:
                        lent.setdefault(resource, set()).update(ids)
            for container in pod["spec"]["containers"]:
                for resource, ids in (await self._admit_container(uid, container, lent)).items():
                    lent.get(resource, set()).difference_update(ids)

    async def _admit_container(self, uid: str, container: Object, lent: dict[str, set[str]]) -> dict[str, list[str]]:
        found = {}
        had = self._given.get(uid, {}).get(container["name"], {})
        for resource, count in allocation.wanted(container, self._resources).items():
            mine = had.get(resource) or await self._allocate(
                uid, container["name"], resource, count, lent.get(resource, ())
            )
            found[resource] = list(mine["ids"])
        return found

    async def give(self, uid: str, container: Object, config: cri.ContainerConfig) -> None:
        """Put the devices that a container asks for into its configuration: those it has, or free ones. Raises
        ``NotEnough``."""
        had = self._given.get(uid, {}).get(container["name"], {})
        for resource, count in allocation.wanted(container, {*had, *self._resources}).items():
            mine = had.get(resource)
            if mine is None:
                async with self._choosing:
                    mine = await self._allocate(uid, container["name"], resource, count)
            allocation.apply(config, mine["answer"], resource)
            await self._before_start(resource, mine["ids"])

    def _taken(self, resource: str) -> set[str]:
        pods = (containers for containers in self._given.values())
        given = (found.get(resource) for containers in pods for found in containers.values())
        return {device for one in given if one is not None for device in one["ids"]}

    async def _allocate(
        self, uid: str, container: str, name: str, count: int, lent: Collection[str] = ()
    ) -> dict[str, Any]:
        """Give a container devices: first of those that the pod was lent already, then free ones."""
        resource = self._resources[name]
        healthy = [device for device, well in resource.devices.items() if well]
        if self.aligned_to is not None and resource.nodes:
            healthy = [device for device in healthy if resource.nodes.get(device, frozenset()) & self.aligned_to]
            near = allocation.near(name, count, healthy, self._taken(name) - set(lent))
            lent = [device for device in lent if device in near]
        reused = sorted(lent)[:count]
        ids = [*reused, *allocation.choose(name, count - len(reused), healthy, self._taken(name))]
        try:
            with connected(resource.endpoint) as channel:
                if resource.options.get_preferred_allocation_available and not reused:
                    ids = await self._preferred(channel, name, count, ids)
                asked = api.ContainerAllocateRequest(devices_ids=ids)
                request = api.AllocateRequest(container_requests=[asked])
                answer = await call(channel, "Allocate", request, api.AllocateResponse)
        except FAILURES as error:
            raise NotEnough(f"rpc error of {name}: {error}") from error
        mine = {"ids": ids, "answer": as_given(answer.container_responses[0])}
        self._given.setdefault(uid, {}).setdefault(container, {})[name] = mine
        self._save(uid)
        return mine

    async def _preferred(self, channel: Channel, name: str, count: int, otherwise: list[str]) -> list[str]:
        taken = self._taken(name)
        free = [device for device, well in self._resources[name].devices.items() if well and device not in taken]
        asked = api.ContainerPreferredAllocationRequest(available_deviceIDs=free, allocation_size=count)
        request = api.PreferredAllocationRequest(container_requests=[asked])
        answer = await call(channel, "GetPreferredAllocation", request, api.PreferredAllocationResponse)
        chosen = list(answer.container_responses[0].deviceIDs) if answer.container_responses else []
        return chosen if len(chosen) == count and set(chosen) <= set(free) else otherwise

    async def _before_start(self, name: str, ids: list[str]) -> None:
        resource = self._resources.get(name)
        if resource is None or not resource.options.pre_start_required:
            return
        try:
            with connected(resource.endpoint) as channel:
                request = api.PreStartContainerRequest(devices_ids=ids)
                await call(channel, "PreStartContainer", request, api.PreStartContainerResponse)
        except FAILURES as error:
            raise NotEnough(f"PreStartContainer of {name} failed: {error}") from error

    def _save(self, uid: str) -> None:
        json_file.write(self._pods_dir / uid / FILE, self._given[uid])


def as_given(answer: api.ContainerAllocateResponse) -> Given:
    """Return a plugin's answer as it is kept."""
    found = MessageToDict(answer, preserving_proto_field_name=True)
    cdi = [entry["name"] for entry in found.pop("cdi_devices", ())]
    return {**found, "cdi": cdi}


@contextmanager
def connected(endpoint: Path) -> Iterator[Channel]:
    channel = UnixChannel(endpoint)
    try:
        yield channel
    finally:
        channel.close()


async def call(channel: Channel, name: str, request: Any, answer: type[Any]) -> Any:
    method = UnaryUnaryMethod(channel, PLUGIN + name, type(request), answer)
    return await method(request, timeout=SECONDS)
