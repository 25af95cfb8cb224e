"""The parts of a cluster: which processes there are for a mode of pods, and what each of them runs.

A part of ours is a coroutine that the supervisor runs in a fork of itself; a program is an argv. Both are told apart
here only. A part imports its modules in its own process (``imports``) while ``up`` makes keys and links, so that the
supervisor stays small. What several parts use, it imports before it forks them (``warm``): they share that memory.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sampan.cluster.settings import Settings

if TYPE_CHECKING:
    from sampan.node.containerd import ContainerdConfig

Ready = Callable[[], None]
API = (
    "sampan.api.server",
    "sampan.api.assembly",
    "sampan.api.local",
    "sampan.api.tls",
)
CONTROLLERS = ("sampan.controllers.builtin", "sampan.scheduler.scheduler", "sampan.scheduler.configuration")
"""What runs beside the API once it serves."""
SHARED = ("uvloop", "orjson", "sampan.client.informer")
"""What the API and the agents have in common."""
AGENT = (
    "google.protobuf.message",
    "yarl",
    "aiohttp",
    "sampan.client.http",
    "sampan.client.kubeconfig",
    "grpclib.client",
)
"""What the agents have in common beyond that."""


@dataclass(frozen=True)
class Part:
    """One process. Exactly one of ``serve`` and ``argv`` is set; a program counts as ready when it runs."""

    name: str
    serve: Callable[[Ready], Awaitable[None]] | None = None
    argv: tuple[str, ...] = ()
    warm: tuple[str, ...] = ()
    """Modules that the supervisor imports before it forks this part."""
    imports: tuple[str, ...] = ()
    """Modules that its process imports before it begins."""
    leave_seconds: int = 0
    """How long it may take to end, with all others still there: the node, whose pods end first."""


def parts_of(settings: Settings, sockets: tuple[socket.socket, ...]) -> list[Part]:
    """Return the parts of the cluster, in the order of their start."""

    async def api(ready: Ready) -> None:
        from sampan.cluster.api_part import run_api

        await run_api(settings, sockets, ready)

    if settings.pods != "real":
        return [Part("api", api, imports=API)]
    from sampan.network import cni_shim
    from sampan.node.containerd import prepare

    async def node(ready: Ready) -> None:
        from sampan.cluster.agent_parts import run_node

        await run_node(settings, ready)

    async def dns(ready: Ready) -> None:
        from sampan.cluster.agent_parts import run_dns

        await run_dns(settings, ready)

    async def gateway(ready: Ready) -> None:
        from sampan.cluster.agent_parts import run_gateway

        await run_gateway(settings, ready)

    # containerd looks for it once at its start
    cni_shim.install(settings.run_dir / "cni", settings.cni_socket)
    own = [] if settings.cri_endpoint else [Part("containerd", argv=prepare(containerd_config(settings)))]
    return [
        *own,
        Part("api", api, warm=SHARED, imports=API),
        Part("node", node, warm=AGENT, imports=("sampan.node.agent",), leave_seconds=leave_seconds(settings)),
        Part("dns", dns, imports=("sampan.dns.server",)),
        *([Part("gateway", gateway, imports=("sampan.gateway.agent",))] if settings.gateway == "sampan" else []),
    ]


def leave_seconds(settings: Settings) -> int:
    """Return how long the pods of a cluster may take to end when it goes down; 0: they are killed."""
    if not settings.kubelet_config:
        return 0
    from sampan.node import kubelet_config
    from sampan.node.shutdown import seconds_of

    return seconds_of(kubelet_config.read(settings.kubelet_config))


def containerd_config(settings: Settings) -> ContainerdConfig:
    from sampan.node.containerd import ContainerdConfig

    return ContainerdConfig(
        root=settings.containerd_dir,
        run_dir=settings.run_dir / "containerd",
        socket=settings.containerd_socket,
        cni_dir=settings.run_dir / "cni",
        cgroup=settings.cgroup,
    )
