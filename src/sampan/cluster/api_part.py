"""The process of the API: the API server with controllers, scheduler and simulated nodes in its event loop.

Modules are imported inside the functions: what a server does not run is not imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import socket
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.cluster.parts import CONTROLLERS, Ready
from sampan.cluster.settings import Settings, snapshots_root

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.flags import Flags
    from sampan.controllers.builtin import ClientFor
    from sampan.controllers.horizontal_pod_autoscaler import AutoscalerConfig


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
        service_cidr=",".join(map(str, settings.service_cidrs)),
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
            service_cidr=config.service_cidr,
            api_server=f"https://{config.advertise[0]}:{config.advertise[1]}",
        )

    async def alongside(api: Api) -> None:
        await asyncio.to_thread(import_controllers)  # requests are answered meanwhile
        if not settings.store_url:
            await controllers(api)
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(lead(api, settings, lambda: controllers(api)), name="controllers")
            if real:  # every machine makes the volumes of its own node
                provisioner = run_provisioner(api, settings.volumes_dir, settings.node_name)
                group.create_task(provisioner, name="local-provisioner")

    await serve(config, ready, alongside)


def import_controllers() -> None:
    for module in CONTROLLERS:
        importlib.import_module(module)


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
    service_cidr: str = "",
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
    from sampan.controllers.autoscaling_to_zero import zero_of
    from sampan.controllers.horizontal_pod_autoscaler import AutoscalerConfig

    minor = int(api.types.version.split(".")[1])
    zero = zero_of(minor, api.features.enabled("HPAScaleToZero"))
    config = ControllersConfig(
        root_ca,
        replace(autoscaler or AutoscalerConfig(), zero=zero),
        pki_dir,
        service_cidr=service_cidr if api.catalog.get("networking.k8s.io", "v1", "servicecidrs") is not None else "",
        device_claims=api.catalog.get("resource.k8s.io", "v1", "resourceclaims") is not None,
        device_taints=minor >= 36,
        suspended_jobs_forget_their_start=minor >= 36,
        unused_claims=minor >= 37,
        volume_attributes=api.catalog.get("storage.k8s.io", "v1", "volumeattributesclasses") is not None,
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
