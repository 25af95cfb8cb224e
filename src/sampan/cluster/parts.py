"""The parts of a cluster: which processes there are for a mode of pods, and what each of them runs.

A part of ours is a coroutine that the supervisor runs in a fork of itself; a program is an argv. Both are told apart
here only. A part imports its modules in its own process (``imports``) while ``up`` makes keys and links, so that the
supervisor stays small: what it imports itself, like this module, does without ``typing`` and ``dataclasses``. What several
parts use, it imports before it forks them (``warm``): they share that memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from sampan.cluster.settings import Settings
    from sampan.node.containerd import ContainerdConfig

Ready = Callable[[], None]
API = (
    "sampan.cluster.settings",
    "sampan.cluster.api_part",
    "sampan.api.server",
    "sampan.api.assembly",
    "sampan.api.local",
    "sampan.api.tls",
)
CONTROLLERS = ("sampan.controllers.builtin", "sampan.scheduler.scheduler", "sampan.scheduler.configuration")
"""What runs beside the API once it serves."""
AGENT = (
    "uvloop",
    "orjson",
    "sampan.client.informer",
    "google.protobuf.message",
    "yarl",
    "aiohttp",
    "sampan.client.http",
    "sampan.client.kubeconfig",
    "grpclib.client",
)
"""What the agents have in common."""


class Part:
    """One process. Exactly one of ``serve`` and ``argv`` is set; a program counts as ready when it runs.

    ``warm``: modules that the supervisor imports before it forks this part. ``imports``: those that its process imports
    before it begins. ``after``: the part that is to serve before anything is done for this one: what asks the API has it
    start alone. ``leave_seconds``: how long it may take to end, with all others still there (the node, whose pods end first).
    ``early``: what begins it, for the first time, in a process that waits for that (as ``part_process.start`` does).
    """

    __slots__ = ("after", "argv", "early", "imports", "leave_seconds", "name", "serve", "warm")

    def __init__(
        self,
        name: str,
        serve: Callable[[Ready], Awaitable[None]] | None = None,
        argv: tuple[str, ...] = (),
        warm: tuple[str, ...] = (),
        imports: tuple[str, ...] = (),
        leave_seconds: int = 0,
        after: str = "",
        early: Callable[[str, int, int], int] | None = None,
    ) -> None:
        self.name, self.serve, self.argv = name, serve, argv
        self.warm, self.imports, self.leave_seconds, self.after = warm, imports, leave_seconds, after
        self.early = early


def api_part(given: dict[str, Any], sockets: tuple[socket.socket, ...]) -> Part:
    """Return the part that is there for every mode of pods; ``given`` is what ``Settings`` are made of."""

    async def api(ready: Ready) -> None:
        from sampan.cluster.api_part import run_api
        from sampan.cluster.settings import Settings

        await run_api(Settings(**given), sockets, ready)

    return Part("api", api, imports=API)


def real_parts(settings: Settings, api: Part) -> list[Part]:
    """Return the parts of a cluster with real pods, in the order of their start."""
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
    leaving = leave_seconds(settings)
    own = [] if settings.cri_endpoint else [Part("containerd", argv=prepare(containerd_config(settings)))]
    agent_gateway = Part("gateway", gateway, imports=("sampan.gateway.agent",), after="api")
    return [
        *own,
        api,
        Part("node", node, warm=AGENT, imports=("sampan.node.agent",), leave_seconds=leaving, after="api"),
        Part("dns", dns, imports=("sampan.dns.server",), after="api"),
        *([agent_gateway] if settings.gateway == "sampan" else []),
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
