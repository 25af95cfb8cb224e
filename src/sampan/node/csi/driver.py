"""One CSI driver: the calls of its node service, over gRPC on its Unix socket. Source: the CSI specification."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, TypeVar

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.exceptions import GRPCError, StreamTerminatedError

from sampan.node.csi import csi_pb2 as csi
from sampan.node.csi.paths import USUAL, here, seen
from sampan.node.unix_channel import UnixChannel

NODE = "/csi.v1.Node/"
SECONDS = 120.0
"""How long a call may take: the kubelet's own limit."""
Answer = TypeVar("Answer")
Capability = csi.NodeServiceCapability.RPC


class CsiFailure(Exception):
    """A driver refused a call, or is not there; the message is its own."""


async def call(channel: Channel, path: str, request: Any, answer: type[Answer], seconds: float = SECONDS) -> Answer:
    """Return the answer to one call. Raises ``CsiFailure``."""
    method = UnaryUnaryMethod(channel, path, type(request), answer)
    try:
        return await method(request, timeout=seconds)  # type: ignore[no-any-return]
    except GRPCError as error:
        raise CsiFailure(f"rpc error: code = {error.status.name} desc = {error.message or ''}") from error
    except TimeoutError as error:
        raise CsiFailure(f"{path} did not answer within {seconds:.0f} s") from error
    except (OSError, StreamTerminatedError) as error:
        raise CsiFailure(f"{path}: {error}") from error


class CsiDriver:
    """A driver that has registered itself. ``kubelet_dir`` is this node's; see ``paths.py``."""

    def __init__(self, name: str, endpoint: Path, kubelet_dir: Path) -> None:
        self.name = name
        self.kubelet_dir = kubelet_dir
        self.is_in_pod = endpoint.is_relative_to(USUAL)
        self.channel = UnixChannel(here(endpoint, kubelet_dir))
        self.capabilities: frozenset[int] = frozenset()
        self.info = csi.NodeGetInfoResponse()
        self.locks: dict[str, asyncio.Lock] = {}
        """One call about a volume at a time, by its handle."""

    async def learn(self) -> None:
        """Ask what the driver can and what it calls this node. Raises ``CsiFailure``."""
        answer = await self._call(
            "NodeGetCapabilities", csi.NodeGetCapabilitiesRequest(), csi.NodeGetCapabilitiesResponse
        )
        self.capabilities = frozenset(one.rpc.type for one in answer.capabilities)
        self.info = await self._call("NodeGetInfo", csi.NodeGetInfoRequest(), csi.NodeGetInfoResponse)

    def can(self, capability: int) -> bool:
        return capability in self.capabilities

    def close(self) -> None:
        self.channel.close()

    def lock(self, handle: str) -> asyncio.Lock:
        return self.locks.setdefault(handle, asyncio.Lock())

    def told(self, path: Path) -> str:
        """Return a path of ours in the driver's words."""
        return str(seen(path, self.kubelet_dir) if self.is_in_pod else path)

    async def _call(self, name: str, request: Any, answer: type[Answer]) -> Answer:
        return await call(self.channel, NODE + name, request, answer)

    async def stage(self, request: csi.NodeStageVolumeRequest, path: Path) -> None:
        request.staging_target_path = self.told(path)
        await self._call("NodeStageVolume", request, csi.NodeStageVolumeResponse)

    async def unstage(self, handle: str, path: Path) -> None:
        request = csi.NodeUnstageVolumeRequest(volume_id=handle, staging_target_path=self.told(path))
        await self._call("NodeUnstageVolume", request, csi.NodeUnstageVolumeResponse)

    async def publish(self, request: csi.NodePublishVolumeRequest, path: Path, staged: Path | None) -> None:
        request.target_path = self.told(path)
        request.staging_target_path = self.told(staged) if staged is not None else ""
        await self._call("NodePublishVolume", request, csi.NodePublishVolumeResponse)

    async def unpublish(self, handle: str, path: Path) -> None:
        request = csi.NodeUnpublishVolumeRequest(volume_id=handle, target_path=self.told(path))
        await self._call("NodeUnpublishVolume", request, csi.NodeUnpublishVolumeResponse)

    async def expand(self, request: csi.NodeExpandVolumeRequest, path: Path, staged: Path | None) -> int:
        """Return the size in bytes that the volume has now."""
        request.volume_path = self.told(path)
        request.staging_target_path = self.told(staged) if staged is not None else ""
        answer = await self._call("NodeExpandVolume", request, csi.NodeExpandVolumeResponse)
        return int(answer.capacity_bytes)

    async def stats(self, handle: str, path: Path) -> csi.NodeGetVolumeStatsResponse:
        request = csi.NodeGetVolumeStatsRequest(volume_id=handle, volume_path=self.told(path))
        return await self._call("NodeGetVolumeStats", request, csi.NodeGetVolumeStatsResponse)
