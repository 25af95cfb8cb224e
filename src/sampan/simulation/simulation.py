"""The simulation as one part: kinds, nodes, stages, heartbeats and the kubelet, run beside the controllers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from sampan.client.discovery import ResourceMap, UnknownResource
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS, NODES, PODS
from sampan.schema.objects import Object
from sampan.simulation import nodes
from sampan.simulation.groups import NodeGroups
from sampan.simulation.heartbeats import Heartbeats
from sampan.simulation.kinds import NODE_GROUPS, RESOURCE_USAGES, STAGES, definitions
from sampan.simulation.kubelet import SimulatedKubelet
from sampan.simulation.logs import LogBook
from sampan.simulation.player import BY_NODE, Player
from sampan.simulation.stages import Stage, StageError, compiled
from sampan.simulation.usage import UsageError, Usages
from sampan.simulation.usage import compiled as declared

logger = logging.getLogger("sampan.simulation")

InformerOf = Callable[[ResourceType], Informer]
UNKNOWN_KIND_SECONDS = 1.0
"""How soon a kind that a stage names and nobody serves yet is looked for again."""


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """``nodes``: those that are there from the beginning."""

    nodes: tuple[str, ...]
    pod_cidr: str = "10.244.0.0/16"
    node_cidr: str = "100.64.0.0/16"
    kubernetes_version: str = "1.37"


class Simulation:
    """Everything that pretends. ``run`` is a task of its owner's group; ``kubelet`` answers for the pods."""

    name = "simulation"

    def __init__(
        self, client: Client, informer_of: InformerOf, events: EventRecorder, config: SimulationConfig
    ) -> None:
        self.client = client
        self.config = config
        self.log_book = LogBook()
        self._informer_of = informer_of
        self._resources = ResourceMap(client)
        self._changed = asyncio.Event()
        pods, node_informer = informer_of(PODS), informer_of(NODES)
        self.player = Player(
            client,
            pods,
            node_informer,
            events,
            self.log_book,
            pod_cidr=config.pod_cidr,
            node_cidr=config.node_cidr,
            kubelet_version=f"v{config.kubernetes_version}.0-simulated",
        )
        self.heartbeats = Heartbeats(client, node_informer, self.player.silenced)
        self.usages = Usages(pods, BY_NODE)
        self.kubelet = SimulatedKubelet(pods, node_informer, self.log_book, self.usages)

    def kubelet_of(self, node_name: str) -> SimulatedKubelet | None:
        """Return who answers for the pods of a node, None when it is none of ours."""
        return self.kubelet if self.player.simulated(node_name) is not None else None

    async def run(self) -> None:
        """Pretend until cancelled."""
        for number, name in enumerate(self.config.nodes):
            # pods of all nodes have addresses of one range; the first node shows it
            ranges = {"podCIDR": self.config.pod_cidr, "podCIDRs": [self.config.pod_cidr]} if number == 0 else {}
            await self._create(NODES, nodes.node_object(name, labels={"type": "simulated"}, spec=ranges))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.player.run(), name="simulation-player")
            group.create_task(self.heartbeats.run(), name="simulation-heartbeats")
            for definition in definitions():
                await self._create(CUSTOM_RESOURCE_DEFINITIONS, definition)
            stages = self._informer_of(STAGES)
            stages.add_handler(lambda change, old, new: self._changed.set())
            usages = self._informer_of(RESOURCE_USAGES)
            usages.add_handler(lambda change, old, new: self._declare(usages))
            groups = NodeGroups(self.client, self._informer_of(NODE_GROUPS), self._informer_of(NODES))
            group.create_task(groups.run(), name=groups.name)
            await stages.synced()
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._take(stages)

    def _declare(self, informer: Informer) -> None:
        """Take what ResourceUsages declare now; what cannot be understood is told and left out."""
        found = []
        for obj in informer:
            try:
                found.append(declared(obj))
            except UsageError as error:
                logger.error("%s", error)
        self.usages.declare(found)

    async def _create(self, resource: ResourceType, obj: Object) -> None:
        try:
            await self.client.create(resource, obj)
        except ApiError as error:
            if not error.already_exists:
                raise

    async def _take(self, informer: Informer) -> None:
        """Play with the stages there are now; what cannot be understood is told and left out."""
        stages: list[Stage] = []
        for obj in informer.all():
            try:
                stages.append(compiled(obj))
            except StageError as error:
                logger.error("%s", error)
        for api_version, kind in {stage.resource for stage in stages}:
            if (api_version, kind) in (("v1", "Pod"), ("v1", "Node")):
                continue
            try:
                resource = await self._resources.of_kind(api_version, kind)
            except UnknownResource as error:
                logger.info("%s; looking again", error)
                asyncio.get_running_loop().call_later(UNKNOWN_KIND_SECONDS, self._changed.set)
                continue
            self.player.follow(resource, self._informer_of(resource))
        self.player.play_with(stages)
