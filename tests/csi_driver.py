"""A CSI driver of folders, as a real gRPC server on Unix sockets: for tests, in their process or as a program of its own.

A volume is a folder below ``data``; staging and publishing are bind mounts, where the driver may make them. Each call is
noted, one JSON object a line. As a program: ``csi_driver.py KUBELET_DIR DATA NAME``, ended by SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grpclib import GRPCError
from grpclib.const import Cardinality, Handler, Status
from grpclib.server import Server, Stream

from sampan.node import mounts
from sampan.node.csi import csi_pb2 as csi
from sampan.node.csi import plugin_registration_pb2 as registration
from sampan.node.unix_channel import short

Capability = csi.NodeServiceCapability.RPC
CAPABILITIES = (Capability.STAGE_UNSTAGE_VOLUME, Capability.EXPAND_VOLUME, Capability.GET_VOLUME_STATS)


class Service:
    """Methods of a gRPC service: ``path -> (request type, answer type, function)``."""

    def __init__(self, methods: dict[str, tuple[type[Any], type[Any], Callable[[Any], Any]]]) -> None:
        self.methods = methods

    def __mapping__(self) -> dict[str, Handler]:
        def handler(request_type: type[Any], answer_type: type[Any], answer: Callable[[Any], Any]) -> Handler:
            async def handle(stream: Stream[Any, Any]) -> None:
                request = await stream.recv_message()
                await stream.send_message(answer(request))

            return Handler(handle, Cardinality.UNARY_UNARY, request_type, answer_type)

        return {path: handler(*method) for path, method in self.methods.items()}


class CsiDriver:
    def __init__(self, name: str, data: Path, *, mounting: bool = True, topology: dict[str, str] | None = None) -> None:
        self.name, self.data, self.mounting = name, data, mounting
        self.topology = topology or {}
        self.calls: list[tuple[str, Any]] = []
        self.failing: dict[str, str] = {}
        """Calls that are refused, with what is said."""
        self.told: asyncio.Queue[registration.RegistrationStatus] = asyncio.Queue()

    def node_service(self) -> Service:
        names = (
            "NodeGetCapabilities", "NodeGetInfo", "NodeStageVolume", "NodeUnstageVolume", "NodePublishVolume",
            "NodeUnpublishVolume", "NodeExpandVolume", "NodeGetVolumeStats",
        )  # fmt: skip
        return Service(
            {
                f"/csi.v1.Node/{name}": (
                    getattr(csi, f"{name}Request"),
                    getattr(csi, f"{name}Response"),
                    self._asked(name),
                )
                for name in names
            }
        )

    def registration_service(self, endpoint: Path) -> Service:
        def info(request: Any) -> Any:
            return registration.PluginInfo(
                type="CSIPlugin", name=self.name, endpoint=str(endpoint), supported_versions=["1.0.0"]
            )

        def told(status: registration.RegistrationStatus) -> Any:
            self.told.put_nowait(status)
            return registration.RegistrationStatusResponse()

        path = "/pluginregistration.Registration/"
        return Service(
            {
                path + "GetInfo": (registration.InfoRequest, registration.PluginInfo, info),
                path + "NotifyRegistrationStatus": (
                    registration.RegistrationStatus,
                    registration.RegistrationStatusResponse,
                    told,
                ),
            }
        )

    def _asked(self, name: str) -> Callable[[Any], Any]:
        def answer(request: Any) -> Any:
            self.calls.append((name, request))
            self.note(name, request)
            if name in self.failing:
                raise GRPCError(Status.INTERNAL, self.failing[name])
            return getattr(self, name)(request)

        return answer

    def note(self, name: str, request: Any) -> None:
        """A program notes its calls; see ``main``."""

    def NodeGetCapabilities(self, request: Any) -> Any:
        listed = [csi.NodeServiceCapability(rpc=Capability(type=one)) for one in CAPABILITIES]
        return csi.NodeGetCapabilitiesResponse(capabilities=listed)

    def NodeGetInfo(self, request: Any) -> Any:
        topology = csi.Topology(segments=self.topology)
        return csi.NodeGetInfoResponse(node_id="the-node", max_volumes_per_node=7, accessible_topology=topology)

    def NodeStageVolume(self, request: Any) -> Any:
        folder = self.data / request.volume_id
        folder.mkdir(parents=True, exist_ok=True)
        self._bind(folder, Path(request.staging_target_path))
        return csi.NodeStageVolumeResponse()

    def NodeUnstageVolume(self, request: Any) -> Any:
        self._unbind(Path(request.staging_target_path))
        return csi.NodeUnstageVolumeResponse()

    def NodePublishVolume(self, request: Any) -> Any:
        staged = Path(request.staging_target_path) if request.staging_target_path else self.data / request.volume_id
        staged.mkdir(parents=True, exist_ok=True)
        self._bind(staged, Path(request.target_path), read_only=request.readonly)
        if self.mounting and not request.readonly:
            (staged / "context.json").write_text(json.dumps(dict(request.volume_context)))
        return csi.NodePublishVolumeResponse()

    def NodeUnpublishVolume(self, request: Any) -> Any:
        self._unbind(Path(request.target_path))
        return csi.NodeUnpublishVolumeResponse()

    def NodeExpandVolume(self, request: Any) -> Any:
        return csi.NodeExpandVolumeResponse(capacity_bytes=request.capacity_range.required_bytes)

    def NodeGetVolumeStats(self, request: Any) -> Any:
        usage = csi.VolumeUsage(available=6, total=10, used=4, unit=csi.VolumeUsage.BYTES)
        return csi.NodeGetVolumeStatsResponse(usage=[usage])

    def _bind(self, source: Path, target: Path, *, read_only: bool = False) -> None:
        target.mkdir(parents=True, exist_ok=True)
        if self.mounting and not mounts.is_mounted(target):
            mounts.bind(source, target, read_only=read_only)

    def _unbind(self, target: Path) -> None:
        while mounts.is_mounted(target):
            mounts.unmount(target)
        if target.is_dir():
            target.rmdir()


async def serve(driver: CsiDriver, kubelet_dir: Path) -> list[Server]:
    """Serve a driver where a kubelet looks for it, as node-driver-registrar does; return the servers."""
    socket = kubelet_dir / "plugins" / driver.name / "csi.sock"
    socket.parent.mkdir(parents=True, exist_ok=True)
    registry = kubelet_dir / "plugins_registry" / f"{driver.name}-reg.sock"
    registry.parent.mkdir(parents=True, exist_ok=True)
    servers = [Server([driver.node_service()]), Server([driver.registration_service(socket)])]
    for server, path in zip(servers, (socket, registry), strict=True):
        path.unlink(missing_ok=True)
        with short(path) as found:
            await server.start(path=found)
    return servers


async def main(kubelet_dir: Path, data: Path, name: str) -> None:
    driver = CsiDriver(name, data)
    log = data / "calls.jsonl"

    def note(call: str, request: Any) -> None:
        with log.open("a") as file:
            file.write(json.dumps([call, str(getattr(request, "volume_id", ""))]) + "\n")

    driver.note = note  # type: ignore[method-assign]
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    servers = await serve(driver, kubelet_dir)
    print("ready", flush=True)
    await ended.wait()
    for server in servers:
        server.close()
    (kubelet_dir / "plugins_registry" / f"{name}-reg.sock").unlink(missing_ok=True)


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
