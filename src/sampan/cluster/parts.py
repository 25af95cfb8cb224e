"""The parts of a cluster: which processes there are for a mode of pods, and what each of them runs.

A part of ours is a coroutine that the supervisor runs in a fork of itself; a program is an argv. Both are told apart
here only. A part imports its modules in its own process (``imports``) while ``up`` makes keys and links, so that the
supervisor stays small. What several parts use, it imports before it forks them (``warm``): they share that memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.cluster.settings import Settings, snapshots_root

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.flags import Flags
    from sampan.controllers.builtin import ClientFor
    from sampan.controllers.horizontal_pod_autoscaler import AutoscalerConfig
    from sampan.node.containerd import ContainerdConfig

Ready = Callable[[], None]
API = (
    "sampan.api.server",
    "sampan.api.assembly",
    "sampan.api.local",
    "sampan.api.tls",
    "sampan.controllers.builtin",
    "sampan.scheduler.scheduler",
)
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


def parts_of(settings: Settings, sockets: tuple[socket.socket, ...]) -> list[Part]:
    """Return the parts of the cluster, in the order of their start."""

    async def api(ready: Ready) -> None:
        await run_api(settings, sockets, ready)

    if settings.pods != "real":
        return [Part("api", api, imports=API)]
    from sampan.network import cni_shim
    from sampan.node.containerd import prepare

    async def node(ready: Ready) -> None:
        await run_node(settings, ready)

    async def dns(ready: Ready) -> None:
        await run_dns(settings, ready)

    async def gateway(ready: Ready) -> None:
        await run_gateway(settings, ready)

    # containerd looks for it once at its start
    cni_shim.install(settings.run_dir / "cni", settings.cni_socket)
    return [
        Part("containerd", argv=prepare(containerd_config(settings))),
        Part("api", api, warm=SHARED, imports=API),
        Part("node", node, warm=AGENT, imports=("sampan.node.agent",)),
        Part("dns", dns, imports=("sampan.dns.server",)),
        Part("gateway", gateway, imports=("sampan.gateway.agent",)),
    ]


async def run_api(settings: Settings, sockets: tuple[socket.socket, ...], ready: Ready) -> None:
    """The API with the controllers, the scheduler and the simulated node in its event loop."""
    from sampan.api.flags import parse
    from sampan.api.server import ApiConfig, serve

    real = settings.pods == "real"
    config = ApiConfig(
        pki_dir=settings.pki_dir,
        store_path=settings.store_path,
        store_url=settings.store_url,
        snapshots_dir=snapshots_root(),
        sockets=sockets,
        kubernetes_version=settings.kubernetes_version,
        service_cidr=str(settings.service_cidr),
        pod_cidr=str(settings.pod_cidr),
        advertise=(str(settings.node_ip) if real else "127.0.0.1", settings.api_port),
        cluster_domain=settings.cluster_domain,
        resource_metrics=settings.pods != "none",
        flags=parse(settings.api_flags),
    )

    async def controllers(api: Api) -> None:
        await run_controllers(
            api,
            root_ca=(settings.pki_dir / "ca.crt").read_text(),
            pod_cidr=str(settings.pod_cidr),
            simulated_nodes=(settings.node_name,) if settings.pods == "simulated" else None,
            control_plane_node=settings.node_name if real else "",
            autoscaler=autoscaler_config(config.flags),
            volumes_dir=settings.volumes_dir if real and not settings.store_url else None,
            scheduler_config=Path(settings.scheduler_config) if settings.scheduler_config else None,
            pki_dir=settings.pki_dir,
            api_server=f"https://{config.advertise[0]}:{config.advertise[1]}",
        )

    async def alongside(api: Api) -> None:
        if not settings.store_url:
            await controllers(api)
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(lead(api, settings, lambda: controllers(api)), name="controllers")
            if real:  # every machine makes the volumes of its own node
                provisioner = run_provisioner(api, settings.volumes_dir, settings.node_name)
                group.create_task(provisioner, name="local-provisioner")

    await serve(config, ready, alongside)


async def lead(api: Api, settings: Settings, controllers: Callable[[], Awaitable[None]]) -> None:
    """Run the controllers while this server is the one to do so, of all that share its store."""
    from sampan.api.local import LocalClient
    from sampan.api.request import User
    from sampan.client.leases import Elector, LeaseConfig, LostLease

    client = LocalClient(api, User("system:kube-controller-manager", ("system:masters", "system:authenticated")))
    elector = Elector(client, LeaseConfig("kube-controller-manager", identity(settings)))
    while True:
        with contextlib.suppress(LostLease):
            await elector.run(controllers)


def identity(settings: Settings) -> str:
    """Return who a server is among those that share its store: the same after a restart, which then need not wait for the end
    of its own term, and another on a machine of the same name, with which it would lead at the same time."""
    path = settings.state_dir / "identity"
    kept = path.read_text() if path.exists() else ""
    if not kept:
        kept = f"{socket.gethostname()}_{uuid.uuid4()}"
        path.write_text(kept)
    return kept


def autoscaler_config(flags: Flags) -> AutoscalerConfig:
    from sampan.controllers.autoscaling_replicas import Startup
    from sampan.controllers.horizontal_pod_autoscaler import AutoscalerConfig

    return AutoscalerConfig(
        flags.horizontal_pod_autoscaler_sync_period,
        flags.horizontal_pod_autoscaler_downscale_stabilization,
        flags.horizontal_pod_autoscaler_tolerance,
        Startup(
            flags.horizontal_pod_autoscaler_cpu_initialization_period,
            flags.horizontal_pod_autoscaler_initial_readiness_delay,
        ),
    )


async def run_controllers(
    api: Api,
    *,
    root_ca: str,
    pod_cidr: str,
    simulated_nodes: tuple[str, ...] | None = None,
    control_plane_node: str = "",
    volumes_dir: Path | None = None,
    autoscaler: AutoscalerConfig | None = None,
    scheduler_config: Path | None = None,
    pki_dir: Path | None = None,
    api_server: str = "",
) -> None:
    """Run the controllers and the scheduler until cancelled, each as its own user of the API. ``simulated_nodes``: those to
    begin a simulation with. ``control_plane_node``: the node that is to have the control plane's label. ``volumes_dir``:
    where that node's local volumes are made; simulated nodes have volumes without folders. ``scheduler_config``: a
    KubeSchedulerConfiguration. ``pki_dir``: the CA that signs certificates. ``api_server``: the URL for ``cluster-info``."""
    from sampan.client.resources import NODES
    from sampan.cluster.control_plane import ControlPlaneLabel
    from sampan.controllers.builtin import (
        ControllersConfig,
        EventsOf,
        Informers,
        Runs,
        local_provisioning,
    )
    from sampan.controllers.builtin import run as run_builtin
    from sampan.scheduler.configuration import embedded, read
    from sampan.scheduler.scheduler import Scheduler

    for component in ("scheduler", "controller-manager"):
        api.components[component] = lambda: None  # they live and die with the loop that answers

    def beside(client_for: ClientFor, informers: Informers, events_of: EventsOf) -> list[Runs]:
        client = client_for(Scheduler.name)
        version = api.types.version
        major, minor = (int(part) for part in version.split("."))
        events = events_of("default-scheduler")
        configuration = embedded(read(scheduler_config)) if scheduler_config else None
        scheduler = Scheduler(client, informers.of, events, configuration, (major, minor))
        api.metric_sources.append(scheduler.metrics.families)
        made: list[Runs] = [scheduler]
        if control_plane_node:
            label = client_for(ControlPlaneLabel.name)
            made.append(ControlPlaneLabel(label, informers.of(NODES), control_plane_node))
        if volumes_dir is not None:
            made += local_provisioning(client_for, informers, events_of, volumes_dir, control_plane_node)
        if simulated_nodes is not None:
            made += local_provisioning(client_for, informers, events_of, None, None)
            from sampan.simulation.simulation import Simulation, SimulationConfig

            config = SimulationConfig(simulated_nodes, pod_cidr, kubernetes_version=version)
            simulation = Simulation(client_for("simulation"), informers.of, events_of("kubelet"), config)
            api.kubelet_of = simulation.kubelet_of
            made.append(simulation)
        return made

    from sampan.controllers import job_metrics
    from sampan.controllers.horizontal_pod_autoscaler import AutoscalerConfig

    config = ControllersConfig(
        root_ca,
        autoscaler or AutoscalerConfig(),
        pki_dir,
        device_claims=api.catalog.get("resource.k8s.io", "v1", "resourceclaims") is not None,
        api_server=api_server,
    )
    api.metric_sources.append(job_metrics.families)
    await run_builtin(clients_of(api), config, beside)


async def run_provisioner(api: Api, volumes_dir: Path, own_node: str) -> None:
    """Make and delete the local volumes of a node until cancelled, whoever runs the controllers."""
    from sampan.controllers.builtin import local_provisioning, run_these

    clients = clients_of(api)
    await run_these(
        clients, lambda informers, events_of: local_provisioning(clients, informers, events_of, volumes_dir, own_node)
    )


def clients_of(api: Api) -> ClientFor:
    """Return who makes the clients of controllers: each is a user of its own."""
    from sampan.api.local import LocalClient
    from sampan.api.request import User

    groups = ("system:masters", "system:authenticated")
    return lambda name: LocalClient(api, User(f"system:kube-{name}" if "-" not in name else f"system:{name}", groups))


def containerd_config(settings: Settings) -> ContainerdConfig:
    from sampan.node.containerd import ContainerdConfig

    return ContainerdConfig(
        root=settings.containerd_dir,
        run_dir=settings.run_dir / "containerd",
        socket=settings.containerd_socket,
        cni_dir=settings.run_dir / "cni",
        cgroup=settings.cgroup,
    )


async def run_node(settings: Settings, ready: Ready) -> None:
    from sampan.network.agent import NetworkConfig
    from sampan.node import kubelet_config
    from sampan.node.agent import NodeConfig, serve

    network = NetworkConfig(
        kubeconfig=settings.kubeconfig("network"),
        cni_socket=settings.cni_socket,
        cni_dir=settings.run_dir / "cni",
        state_dir=settings.state_dir / "network",
        pod_cidr=settings.pod_cidr,
        node_ip=settings.node_ip,
        cluster_cidr=settings.cluster_cidr,
        load_balancer_cidr=settings.load_balancer_cidr,
    )
    config = NodeConfig(
        name=settings.node_name,
        ip=str(settings.node_ip),
        kubeconfig=settings.kubeconfig("node"),
        containerd_socket=settings.containerd_socket,
        kubelet_dir=settings.kubelet_dir,
        pod_log_dir=settings.pod_log_dir,
        pki_dir=settings.pki_dir,
        cgroup=settings.cgroup,
        cluster_dns=str(settings.dns_service_ip),
        cluster_domain=settings.cluster_domain,
        kubernetes_version=settings.kubernetes_version,
        network=network,
        kubelet=kubelet_config.read(settings.kubelet_config),
    )
    await serve(config, ready)


async def run_dns(settings: Settings, ready: Ready) -> None:
    from sampan.dns.server import DnsConfig, serve

    config = DnsConfig(
        kubeconfig=settings.kubeconfig("dns"),
        listen=str(settings.node_ip),
        service_ip=str(settings.dns_service_ip),
        cluster_domain=settings.cluster_domain,
    )
    await serve(config, ready)


async def run_gateway(settings: Settings, ready: Ready) -> None:
    from sampan.gateway.agent import GatewayConfig, serve

    config = GatewayConfig(
        kubeconfig=settings.kubeconfig("gateway"),
        node_ip=str(settings.node_ip),
        run_dir=settings.run_dir / "gateway",
        state_dir=settings.state_dir / "gateway",
        log_dir=settings.log_dir,
    )
    await serve(config, ready)
