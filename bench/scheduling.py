"""The scheduler at scale: pods that wait are bound to simulated nodes, API and scheduler in one process, state in memory.

kube-scheduler's own benchmark (scheduler_perf) makes nodes and pods in the same way, without kubelets.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.table import Row
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.api.server import ApiConfig, open_api
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import ResourceType
from sampan.client.resources import NODES, PODS
from sampan.scheduler.scheduler import Scheduler

Object = dict[str, Any]
NODES_COUNT, PODS_COUNT, FEWER = 1000, 5000, 1000
ZONE = "topology.kubernetes.io/zone"
APART = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
        ]
    }
}
EVENLY = [
    {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
]


def rows() -> Iterator[Row]:
    name = f"pods bound, {NODES_COUNT} nodes"
    yield Row(f"{PODS_COUNT} {name}", measured(PODS_COUNT, {}), "pods/s")
    yield Row(f"{FEWER} {name}, anti-affinity by host", measured(FEWER, {"affinity": APART}), "pods/s")
    yield Row(f"{FEWER} {name}, even over zones", measured(FEWER, {"topologySpreadConstraints": EVENLY}), "pods/s")


def measured(pods: int, spec: Object) -> float:
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(bind_all(Path(directory), pods, spec))


async def bind_all(directory: Path, count: int, spec: Object) -> float:
    """Return how many pods a second were bound, all of them waiting when the scheduler begins."""
    from tests.conftest import Authority

    api = await open_api(ApiConfig(pki_dir=Authority(directory / "pki").directory))
    client = LocalClient(api, User("admin", ("system:masters", "system:authenticated")))
    await asyncio.gather(*(make_node(client, number) for number in range(NODES_COUNT)))
    await asyncio.gather(*(client.create(PODS, pod(number, spec)) for number in range(count)))
    informers: dict[ResourceType, Informer] = {}
    try:
        async with asyncio.TaskGroup() as group:
            tasks = []

            def informer_of(resource: ResourceType) -> Informer:
                if resource not in informers:
                    informers[resource] = Informer(client, resource)
                    tasks.append(group.create_task(informers[resource].run()))
                return informers[resource]

            events = EventRecorder(client, "default-scheduler")
            bound, done = 0, asyncio.Event()

            def on_pod(change: str, old: Object | None, new: Object) -> None:
                nonlocal bound
                bound += bool(new["spec"].get("nodeName"))
                if bound == count:
                    done.set()

            informer_of(PODS).add_handler(on_pod)
            scheduler = Scheduler(client, informer_of, events)
            for informer in list(informers.values()):
                await informer.synced()
            begun = time.perf_counter()
            tasks += [group.create_task(events.run()), group.create_task(scheduler.run())]
            await done.wait()
            seconds = time.perf_counter() - begun
            for task in tasks:
                task.cancel()
    finally:
        await api.close()
    return count / seconds


async def make_node(client: LocalClient, number: int) -> None:
    name = f"node-{number}"
    sizes = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    labels = {"kubernetes.io/hostname": name, ZONE: f"zone-{number % 3}"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
    made = await client.create(NODES, node)
    made = await client.update(NODES, {**made, "spec": {}})  # it is ready: no taint
    status = {"capacity": sizes, "allocatable": sizes, "conditions": [{"type": "Ready", "status": "True"}]}
    await client.update(NODES, {**made, "status": status}, subresource="status")


def pod(number: int, spec: Object) -> Object:
    container = {"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}
    metadata = {"name": f"web-{number}", "namespace": "default", "labels": {"app": "web"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}
