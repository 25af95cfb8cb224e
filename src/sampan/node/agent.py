"""The node as a long-running part: one worker a pod, the Node object, the kubelet's server and the node's network.

What flows: an informer of the pods bound here starts, wakes and ends workers; containerd's events of exits wake the worker
whose container it was; changes of the ConfigMaps and Secrets that pods here use wake the workers of their namespace. On
start the pods that the runtime still has are adopted, and those that the API no longer knows are removed.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from sampan.client.clock_jumps import follow_jumps
from sampan.client.events import EventRecorder
from sampan.client.http import HttpClient
from sampan.client.informer import Informer
from sampan.client.kubeconfig import load
from sampan.client.resources import NODES, PODS, SERVICES
from sampan.network import agent as network_agent
from sampan.node import images
from sampan.node.access import Access
from sampan.node.allocations import Allocations
from sampan.node.containerd import PAUSE_IMAGE
from sampan.node.context import NodeContext
from sampan.node.cpu_sets import CpuSets
from sampan.node.csi.attaching import Attaching
from sampan.node.csi.registration import CsiPlugins
from sampan.node.devices.plugins import Devices
from sampan.node.host_features import host_features
from sampan.node.housekeeping import Housekeeping
from sampan.node.image_puller import ImagePuller
from sampan.node.kubelet_config import KubeletConfig, reserved_cpus
from sampan.node.materials import Materials
from sampan.node.memory_sets import MemorySets
from sampan.node.node import Node
from sampan.node.node_cgroups import NodeCgroups
from sampan.node.node_status import NodeReporter, reserved
from sampan.node.numa import STRICT, memory_of, numa_nodes
from sampan.node.patience import patiently
from sampan.node.pod_certificates import PodCertificates
from sampan.node.runtime import Runtime, RuntimeFailure
from sampan.node.server import KubeletServer
from sampan.node.shutdown import PROBLEM, NodeShutdown, phases_of
from sampan.node.static_pods import StaticPods
from sampan.node.tokens import Tokens
from sampan.scheduler.pod_info import amount
from sampan.schema.objects import Object
from sampan.schema.quantity import parse

logger = logging.getLogger("sampan.node")

RUNTIME_SECONDS = 30.0
"""How long the runtime may take until it answers for the first time."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    name: str
    ips: tuple[str, ...]
    """One of each family, the main one first: the kubelet answers at it."""
    kubeconfig: Path
    containerd_socket: Path
    kubelet_dir: Path
    pod_log_dir: Path
    pki_dir: Path
    cgroup: str
    cluster_dns: str
    cluster_domain: str
    kubernetes_version: str
    network: network_agent.NetworkConfig
    kubelet: KubeletConfig = field(default_factory=KubeletConfig)
    own_runtime: bool = True
    """Whether the runtime is the cluster's own containerd."""

    @property
    def ip(self) -> str:
        return self.ips[0]


async def serve(config: NodeConfig, ready: Callable[[], None]) -> None:
    """Run the node until cancelled."""
    async with asyncio.TaskGroup() as group:
        network_up = asyncio.Event()
        group.create_task(network_agent.serve(config.network, network_up.set), name="network")
        client = HttpClient(load(config.kubeconfig), agent="kubelet")
        runtime = Runtime(config.containerd_socket)
        try:
            await run(config, client, runtime, network_up, ready)
        finally:
            runtime.close()
            await client.close()


async def run(
    config: NodeConfig, client: HttpClient, runtime: Runtime, network_up: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Everything but the network; ``ready`` is called when the node is Ready and its network stands."""
    events = EventRecorder(client, "kubelet", config.name)
    reporter = NodeReporter(
        client,
        runtime,
        name=config.name,
        ips=config.ips,
        pod_cidrs=tuple(map(str, config.network.pod_cidrs)),
        kubernetes_version=config.kubernetes_version,
        kubelet_dir=config.kubelet_dir,
        kubelet=config.kubelet,
    )
    pods = Informer(client, PODS, field_selector=f"spec.nodeName={config.name}")
    async with asyncio.TaskGroup() as group:
        node: Node | None = None

        def on_material(namespace: str) -> None:
            if node is not None:
                node.on_material(namespace)

        materials = Materials(client, group, on_material)
        services = Informer(client, SERVICES)
        cgroups = NodeCgroups(config.cgroup)

        def on_allocation() -> None:
            cgroups.share(allocations.pods())
            if node is not None:
                node.on_allocation()

        allocations = Allocations(config.kubelet_dir / "pods", reporter.of_machine, on_allocation)

        def on_plugins() -> None:
            if node is not None:
                node.on_plugins()

        plugins = CsiPlugins(client, config.name, config.kubelet_dir, on_plugins)
        attaching = Attaching(client, config.name, reporter.changed.set)
        devices = reporter.devices = Devices(config.kubelet_dir, reporter.changed.set)
        reporter.volumes_in_use = attaching.in_use
        own = Informer(client, NODES, field_selector=f"metadata.name={config.name}")

        def own_node() -> Object:
            return own.get(config.name) or reporter.fresh()

        def on_certificate(uid: str) -> None:
            if node is not None:
                node.on_certificate(uid)

        minor = int(config.kubernetes_version.split(".")[1])

        def on_cpus() -> None:
            if node is not None:
                node.on_cpus()

        cpus = CpuSets(config.kubelet_dir / "pods", reserved_cpus(config.kubelet), on_cpus)
        memory = MemorySets(config.kubelet_dir / "pods", memory_of(config.kubelet, reporter.capacity), numa_nodes()[0])
        devices.aligned_to = frozenset(numa_nodes()) if config.kubelet.topology_manager_policy in STRICT else None
        certificates = PodCertificates(client, group, own_node, minor, on_certificate)
        context = context_of(
            config,
            client,
            runtime,
            events,
            materials,
            services,
            reporter,
            allocations,
            plugins,
            attaching,
            devices,
            cpus,
            memory,
            certificates,
        )
        context.node = own_node
        whole = reporter.capacity
        for_pods = parse(whole["memory"]).value() - reserved(config.kubelet, "memory")
        cgroups.make(amount("cpu", whole["cpu"]) - reserved(config.kubelet, "cpu"), for_pods)
        informers = (services, pods, own)
        for informer in informers:
            group.create_task(patiently(informer.run, "informer"), name=f"informer-{informer.resource.plural}")
        group.create_task(events.run(), name="events")
        context.runtime_name = await until_serving(runtime)
        context.host = host_features(
            await runtime.status(), config.kubelet_dir / "seccomp", seccomp_default=config.kubelet.seccomp_default
        )
        if config.own_runtime:
            present = await runtime.image_status(PAUSE_IMAGE)
            await asyncio.to_thread(ensure_pause_image, config.containerd_socket, present)
        node = Node(context, pods, group, reporter.changed.set)
        await asyncio.gather(network_up.wait(), *(informer.synced() for informer in informers))
        static = run_static_pods(config, client, pods, node) if config.kubelet.static_pod_path else None
        await node.remove_strangers()
        if static is not None:
            group.create_task(static, name="static-pods")
        group.create_task(node.follow_exits(), name="exits")
        group.create_task(follow_jumps(node.on_clock), name="clock")
        group.create_task(patiently(plugins.run, "csi plugins"), name="csi-plugins")
        group.create_task(patiently(devices.run, "device plugins"), name="device-plugins")
        pods.add_handler(node.on_pod)
        housekeeping = Housekeeping(context, node, reporter.changed.set)
        context.pressures = reporter.pressures = lambda: housekeeping.conditions
        reporter.leaving = lambda: PROBLEM if context.shutting_down else ""
        housekeeping.start(group)
        server = KubeletServer(node.workers, runtime, config, Access(client, config.name))
        group.create_task(server.run(), name="kubelet-server")
        if phases_of(config.kubelet):
            shutdown = NodeShutdown(context, node.workers, events, reporter.changed.set)
            leave_gracefully(shutdown.run, group)
        group.create_task(patiently(reporter.heartbeat, "heartbeat"), name="heartbeat")
        group.create_task(patiently(lambda: reporter.run(ready), "node status"), name="node-status")


def leave_gracefully(work: Callable[[], Coroutine[None, None, None]], group: asyncio.TaskGroup) -> None:
    """At the first SIGTERM do ``work``, then end this task; at the second end at once."""
    task = asyncio.current_task()
    assert task is not None
    begun = False

    async def leave() -> None:
        try:
            await work()
        finally:
            task.cancel()

    def on_signal() -> None:
        nonlocal begun
        if begun:
            task.cancel()
        else:
            begun = True
            group.create_task(leave(), name="shutdown")

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_signal)


def run_static_pods(config: NodeConfig, client: HttpClient, pods: Informer, node: Node) -> Coroutine[None, None, None]:
    """Begin the pods of the folder of manifests; return what follows it."""
    from sampan.api.resources.pod_spec import default_pod

    def defaulted(pod: Object) -> Object:
        default_pod(pod)
        return pod

    static = StaticPods(Path(config.kubelet.static_pod_path), config.name, client, pods, defaulted, node.on_pod)
    static.load()
    return patiently(static.run, "static pods")


def context_of(
    config: NodeConfig,
    client: HttpClient,
    runtime: Runtime,
    events: EventRecorder,
    materials: Materials,
    services: Informer,
    reporter: NodeReporter,
    allocations: Allocations,
    plugins: CsiPlugins,
    attaching: Attaching,
    devices: Devices,
    cpus: CpuSets,
    memory: MemorySets,
    certificates: PodCertificates,
) -> NodeContext:
    return NodeContext(
        node_name=config.name,
        node_ips=config.ips,
        client=client,
        runtime=runtime,
        images=ImagePuller(
            runtime,
            1 if config.kubelet.serialize_image_pulls else config.kubelet.max_parallel_image_pulls,
            config.kubelet_dir / "image_pulls.json",
        ),
        events=events,
        tokens=Tokens(client),
        certificates=certificates,
        materials=materials,
        services=services,
        kubelet_dir=config.kubelet_dir,
        pod_log_dir=config.pod_log_dir,
        cgroup=config.cgroup,
        cluster_dns=config.cluster_dns,
        cluster_domain=config.cluster_domain,
        capacity=reporter.capacity,
        allocatable=reporter.of_machine(),
        logger=logger,
        kubelet=config.kubelet,
        own_runtime=config.own_runtime,
        allocations=allocations,
        csi=plugins,
        devices=devices,
        cpus=cpus,
        memory=memory,
        attaching=attaching,
    )


def ensure_pause_image(socket: Path, present: object) -> None:
    if present is None:
        images.ensure_pause(socket)


async def until_serving(runtime: Runtime) -> str:
    """Return the runtime's name when it answers. Raises ``RuntimeFailure`` when it does not within its time."""
    deadline = time.monotonic() + RUNTIME_SECONDS
    while True:
        try:
            return str((await runtime.version()).runtime_name)
        except RuntimeFailure:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)  # its socket is not there yet, and nothing tells when it will be
