"""A simulated node for somebody else's Kubernetes: ``python -m tests.foreign_nodes KUBECONFIG``, without logs and exec."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sampan.client.events import EventRecorder
from sampan.client.http import HttpClient
from sampan.client.informer import Informer
from sampan.client.kubeconfig import load
from sampan.client.protocol import ResourceType
from sampan.simulation.simulation import Simulation, SimulationConfig


async def main(kubeconfig: Path) -> None:
    client = HttpClient(load(kubeconfig))
    informers: dict[ResourceType, Informer] = {}
    events = EventRecorder(client, "kubelet")
    async with asyncio.TaskGroup() as group:

        def informer_of(resource: ResourceType) -> Informer:
            if resource not in informers:
                informers[resource] = Informer(client, resource)
                group.create_task(informers[resource].run())
            return informers[resource]

        group.create_task(events.run())
        simulation = Simulation(client, informer_of, events, SimulationConfig(("simulated-0",)))
        group.create_task(simulation.run())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
