"""The node as a long-running part: one worker a pod, the Node object, the kubelet's server and the node's network.

What flows: an informer of the pods bound here starts, wakes and ends workers; containerd's events of exits wake the worker
whose container it was; changes of the ConfigMaps and Secrets that pods here use wake the workers of their namespace. On
start the pods that the runtime still has are adopted, and those that the API no longer knows are removed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sampan.client.events import EventRecorder
from sampan.client.http import HttpClient
from sampan.client.informer import Informer
from sampan.client.kubeconfig import load
from sampan.client.resources import PODS, SERVICES
from sampan.network import agent as network_agent
from sampan.node import images
from sampan.node.allocations import Allocations
from sampan.node.containerd import PAUSE_IMAGE
from sampan.node.context import NodeContext
from sampan.node.csi.attaching import Attaching
from sampan.node.csi.driver import CsiFailure
from sampan.node.csi.registration import CsiPlugins
from sampan.node.host_features import host_features
from sampan.node.image_puller import ImagePuller
from sampan.node.kubelet_config import KubeletConfig
from sampan.node.materials import Materials
from sampan.node.node_cgroups import NodeCgroups
from sampan.node.node_status import NodeReporter, reserved
from sampan.node.patience import patiently
from sampan.node.pod_config import UID
from sampan.node.pod_plan import ENDED
from sampan.node.pod_worker import PodWorker
from sampan.node.runtime import Runtime, RuntimeFailure
from sampan.node.server import KubeletServer
from sampan.node.tokens import Tokens
from sampan.node.volumes import csi, removal
from sampan.scheduler.pod_info import amount
from sampan.schema.objects import Object
from sampan.schema.quantity import parse

logger = logging.getLogger("sampan.node")

RUNTIME_SECONDS = 30.0
"""How long the runtime may take until it answers for the first time."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    name: str
    ip: str
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


class Node:
    """The workers of this node, by the uid of their pods."""

    def __init__(self, context: NodeContext, pods: Informer, group: asyncio.TaskGroup) -> None:
        self.context = context
        self.pods = pods
        self.workers: dict[str, PodWorker] = {}
        self._group = group

    def on_pod(self, change: str, old: Object | None, new: Object) -> None:
        uid = new["metadata"]["uid"]
        worker = self.workers.get(uid)
        if worker is not None:
            if change == "DELETED":  # deleted without grace: everything of it must go here too
                gone = {"deletionTimestamp": "now", **new["metadata"], "deletionGracePeriodSeconds": 0}
                new = {**new, "metadata": gone}
            worker.update(new)
        elif change != "DELETED":
            if (new.get("status") or {}).get("phase") not in ENDED and self.context.allocations.is_kept(uid):
                self.context.allocations.admit(new)  # before pods that are new here
            worker = self.workers[uid] = PodWorker(self.context, new)
            self._group.create_task(self._run(uid, worker), name=f"pod-{worker.key}")

    async def _run(self, uid: str, worker: PodWorker) -> None:
        while True:
            try:
                await worker.run()
                break
            except* Exception as errors:
                # a defect of one pod's worker must not end the others; it begins anew from what is there
                logger.error("pod %s: %s", worker.key, errors.exceptions[0], exc_info=errors)
                worker.wake_after(1.0)
        del self.workers[uid]
        worker.local.disown()
        self.context.tokens.forget(uid)
        self.context.materials.release(uid)
        still = self.pods.get(worker.key)
        if still is not None and still["metadata"]["uid"] != uid:
            self.on_pod("ADDED", None, still)

    def on_material(self, namespace: str) -> None:
        """A ConfigMap or Secret changed: the pods of its namespace look at it again."""
        for worker in self.workers.values():
            if worker.pod["metadata"]["namespace"] == namespace:
                worker.wake()

    def on_allocation(self) -> None:
        """What pods were given changed: those that wait for more look at it again, the most important ones first."""
        waiting = [worker for worker in self.workers.values() if worker.view.resize_pending is not None]
        for worker in sorted(waiting, key=lambda worker: -(worker.pod["spec"].get("priority") or 0)):
            worker.wake()

    async def follow_exits(self) -> None:
        """Wake workers by containerd's events; other runtimes are looked at every second while pods run."""
        while True:
            try:
                async for container_id in self.context.runtime.exits():
                    on_exit = self.context.owners.get(container_id)
                    if on_exit is not None:
                        on_exit(container_id)
            except RuntimeFailure as error:
                logger.warning("events of the runtime: %s", error)
            await asyncio.sleep(1.0)
            for worker in self.workers.values():  # what happened meanwhile
                worker.wake()

    async def remove_strangers(self) -> None:
        """Remove sandboxes of pods that the API does not know (any more), and their folders."""
        known = {pod["metadata"]["uid"] for pod in self.pods}
        for sandbox in await self.context.runtime.list_pod_sandboxes():
            uid = sandbox.labels.get(UID, "")
            if uid and uid not in known:
                await self.context.runtime.stop_pod_sandbox(sandbox.id)
                await self.context.runtime.remove_pod_sandbox(sandbox.id)
        await self.remove_folders()

    async def remove_folders(self) -> None:
        """Remove what is left on disk of pods that are not known here; what cannot go yet (its CSI driver is not there) goes
        when a driver comes."""
        known = {pod["metadata"]["uid"] for pod in self.pods} | self.workers.keys()
        for uid in await asyncio.to_thread(names_in, self.context.kubelet_dir / "pods"):
            if uid not in known:
                try:
                    await removal.tear_down(self.context, self.context.kubelet_dir / "pods" / uid)
                except OSError as error:
                    logger.warning("volumes of pod %s: %s", uid, error)

    def on_plugins(self) -> None:
        """CSI drivers came or went: pods that wait for one look again, and what was left to one is cleaned up."""
        for worker in self.workers.values():
            worker.wake()
        self._group.create_task(self._clean_with_drivers(), name="csi-clean-up")

    async def _clean_with_drivers(self) -> None:
        await self.remove_folders()
        try:
            await csi.clean_staged(self.context)
        except (CsiFailure, OSError) as error:
            logger.warning("staged volumes: %s", error)


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


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
        ip=config.ip,
        pod_cidr=str(config.network.pod_cidr),
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

        allocations = Allocations(config.kubelet_dir / "pods", reporter.allocatable, on_allocation)

        def on_plugins() -> None:
            if node is not None:
                node.on_plugins()

        plugins = CsiPlugins(client, config.name, config.kubelet_dir, on_plugins)
        attaching = Attaching(client, config.name, reporter.changed.set)
        reporter.volumes_in_use = attaching.in_use
        context = context_of(
            config, client, runtime, events, materials, services, reporter, allocations, plugins, attaching
        )
        whole = reporter.capacity
        for_pods = parse(whole["memory"]).value() - reserved(config.kubelet, "memory")
        cgroups.make(amount("cpu", whole["cpu"]) - reserved(config.kubelet, "cpu"), for_pods)
        informers = (services, pods)
        for informer in informers:
            group.create_task(patiently(informer.run, "informer"), name=f"informer-{informer.resource.plural}")
        group.create_task(events.run(), name="events")
        context.runtime_name = await until_serving(runtime)
        context.host = host_features(await runtime.status(), config.kubelet_dir / "seccomp")
        await asyncio.to_thread(ensure_pause_image, config.containerd_socket, await runtime.image_status(PAUSE_IMAGE))
        node = Node(context, pods, group)
        await asyncio.gather(network_up.wait(), *(informer.synced() for informer in informers))
        await node.remove_strangers()
        group.create_task(node.follow_exits(), name="exits")
        group.create_task(patiently(plugins.run, "csi plugins"), name="csi-plugins")
        pods.add_handler(node.on_pod)
        server = KubeletServer(node.workers, runtime, config)
        group.create_task(server.run(), name="kubelet-server")
        group.create_task(patiently(reporter.heartbeat, "heartbeat"), name="heartbeat")
        group.create_task(patiently(lambda: reporter.run(ready), "node status"), name="node-status")


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
) -> NodeContext:
    return NodeContext(
        node_name=config.name,
        node_ip=config.ip,
        client=client,
        runtime=runtime,
        images=ImagePuller(runtime),
        events=events,
        tokens=Tokens(client),
        materials=materials,
        services=services,
        kubelet_dir=config.kubelet_dir,
        pod_log_dir=config.pod_log_dir,
        cgroup=config.cgroup,
        cluster_dns=config.cluster_dns,
        cluster_domain=config.cluster_domain,
        capacity=reporter.capacity,
        allocatable=reporter.allocatable(),
        logger=logger,
        kubelet=config.kubelet,
        allocations=allocations,
        csi=plugins,
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
