"""A device plugin with lamps, over real sockets: what the node's part and its tests of whole clusters speak with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpclib.client import UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.server import Server

from sampan.node.devices import device_plugin_pb2 as api
from sampan.node.unix_channel import UnixChannel, short

RESOURCE = "example.com/lamp"


class Plugin:
    """A plugin with lamps; one of them may burn out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[Any] = []
        self.cdi = ""
        self.ended = asyncio.Event()
        self.told: asyncio.Queue[dict[str, str] | None] = asyncio.Queue()

    def __mapping__(self) -> dict[str, Handler]:
        one, many = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM
        prefix = "/v1beta1.DevicePlugin/"
        return {
            prefix + "ListAndWatch": Handler(self.watch, many, api.Empty, api.ListAndWatchResponse),
            prefix + "Allocate": Handler(self.allocate, one, api.AllocateRequest, api.AllocateResponse),
            prefix + "GetPreferredAllocation": Handler(
                self.prefer, one, api.PreferredAllocationRequest, api.PreferredAllocationResponse
            ),
            prefix + "PreStartContainer": Handler(
                self.before, one, api.PreStartContainerRequest, api.PreStartContainerResponse
            ),
        }

    async def watch(self, stream: Any) -> None:
        await stream.recv_message()
        while (lamps := await self.told.get()) is not None:
            devices = [api.Device(ID=name, health=health) for name, health in lamps.items()]
            await stream.send_message(api.ListAndWatchResponse(devices=devices))
        self.ended.set()

    async def allocate(self, stream: Any) -> None:
        ids = list((await stream.recv_message()).container_requests[0].devices_ids)
        self.asked.append(ids)
        given = api.ContainerAllocateResponse(
            envs={"LAMPS": ",".join(ids), "OWN": "plugin"},
            mounts=[api.Mount(container_path="/lamp", host_path="/tmp", read_only=True)],
            devices=[
                api.DeviceSpec(container_path=f"/dev/lamp-{i}", host_path="/dev/null", permissions="rw") for i in ids
            ],
            annotations={"lamp": "on"},
            cdi_devices=[api.CDIDevice(name=self.cdi)] if self.cdi else [],
        )
        await stream.send_message(api.AllocateResponse(container_responses=[given]))

    async def prefer(self, stream: Any) -> None:
        request = (await stream.recv_message()).container_requests[0]
        last = sorted(request.available_deviceIDs)[-request.allocation_size :]
        answer = api.ContainerPreferredAllocationResponse(deviceIDs=last)
        await stream.send_message(api.PreferredAllocationResponse(container_responses=[answer]))

    async def before(self, stream: Any) -> None:
        self.asked.append(("start", list((await stream.recv_message()).devices_ids)))
        await stream.send_message(api.PreStartContainerResponse())


async def register(folder: Path, name: str = RESOURCE, version: str = "v1beta1", **options: bool) -> None:
    channel = UnixChannel(folder / "device-plugins" / "kubelet.sock")
    method = UnaryUnaryMethod(channel, "/v1beta1.Registration/Register", api.RegisterRequest, api.Empty)
    made = api.DevicePluginOptions(**options)
    try:
        await method(
            api.RegisterRequest(version=version, endpoint="lamp.sock", resource_name=name, options=made), timeout=5
        )
    finally:
        channel.close()


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Plugin]:
    plugin = Plugin(folder)
    server = Server([plugin])
    with short(folder / "device-plugins" / "lamp.sock") as path:
        await server.start(path=path)
    try:
        yield plugin
    finally:
        server.close()
        await server.wait_closed()
