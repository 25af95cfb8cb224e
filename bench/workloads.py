"""One Deployment of many pods on simulated nodes: how long until all are Ready, and what API, controllers, scheduler and
simulation, which are one process, spend on it. In several sizes, each in a cluster of its own, to see whether a pod of many
costs more than a pod of few.

There is no peer in the same run: kwok's own figures are of pods on a cluster of etcd and Kubernetes' own binaries.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator

from bench import processes
from bench.pods import ready as is_ready
from bench.sampan import Cluster, cluster, run
from bench.table import Row
from sampan.client.http import HttpClient
from sampan.client.informer import Informer
from sampan.client.kubeconfig import load
from sampan.client.resources import DEPLOYMENTS, PODS
from sampan.schema.objects import Object

SIZES = 500, 1000, 2000, 5000
NODES = 50


def rows() -> Iterator[Row]:
    costs: dict[int, tuple[float, float]] = {}
    for count in SIZES:
        with cluster(f"bench-workloads-{count}", pods="simulated") as ours:
            make_nodes(ours)
            deploy(ours)
            idle = memory_megabytes(ours)
            made, making = asyncio.run(scaled(ours, count))
            used = memory_megabytes(ours)
            gone, going = asyncio.run(scaled(ours, 0))
        costs[count] = making, going
        name = f"one Deployment, 0 to {count:,} pods Ready"
        yield Row(name, made, "s")
        yield Row(f"{name}, CPU of the control plane a pod", making / count * 1000, "ms")
        yield Row(f"{name}, memory of the control plane", used, "MB")
        yield Row(f"{name}, memory a pod", (used - idle) * 1024 / count, "KB")
        yield Row(f"one Deployment, {count:,} pods to 0", gone, "s")
        yield Row(f"one Deployment, {count:,} pods to 0, CPU a pod", going / count * 1000, "ms")
    few, many = SIZES[0], SIZES[-1]
    for at, what in enumerate(("made", "gone")):
        ratio = costs[many][at] / many / (costs[few][at] / few)
        yield Row(f"CPU a pod {what}, of {many:,} against {few:,}", ratio, "x", aim="linear: <= 1.3")


def make_nodes(ours: Cluster) -> None:
    spec = {"replicas": NODES, "template": {"capacity": {"cpu": 64, "memory": "256Gi", "pods": 250}}}
    group = {"apiVersion": "sim.sampan.dev/v1alpha1", "kind": "NodeGroup", "metadata": {"name": "many"}, "spec": spec}
    ours.kubectl("apply", "-f", "-", stdin=json.dumps(group))
    ready = f"--for=jsonpath={{.status.readyReplicas}}={NODES}"
    ours.kubectl("wait", "nodegroup/many", ready, "--timeout=60s")


def deploy(ours: Cluster) -> None:
    labels = {"app": "many"}
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    wanted = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"}, "spec": spec}
    ours.kubectl("apply", "-f", "-", stdin=json.dumps(wanted))


async def scaled(ours: Cluster, count: int) -> tuple[float, float]:
    """Return the seconds until a Deployment has so many pods, all Ready, and the CPU seconds of the API's process."""
    client = HttpClient(load(ours.kubeconfig), agent="bench")
    pods, done = Informer(client, PODS), asyncio.Event()
    ready: set[str] = set()

    def on_pod(change: str, old: Object | None, new: Object) -> None:
        name = new["metadata"]["name"]
        if change != "DELETED" and is_ready(new):
            ready.add(name)
        else:
            ready.discard(name)
        if len(ready) == len(pods.objects) == count:
            done.set()

    pods.add_handler(on_pod)
    watching = asyncio.create_task(pods.run())
    await pods.synced()
    done.clear()
    before, begun = cpu_seconds(ours), time.perf_counter()
    await client.patch(DEPLOYMENTS, "many", {"spec": {"replicas": count}}, "default")
    await done.wait()
    seconds = time.perf_counter() - begun
    spent = cpu_seconds(ours) - before
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await client.close()
    return seconds, spent


def status(ours: Cluster) -> tuple[int, float]:
    """Return pid and megabytes of the API's process."""
    printed = run("sampan", "status", "--name", ours.name)
    found = re.search(r"^api\s+(\d+).*?([\d.]+) MB", printed, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"no api in:\n{printed}")
    return int(found[1]), float(found[2])


def cpu_seconds(ours: Cluster) -> float:
    return processes.cpu_seconds(status(ours)[0])


def memory_megabytes(ours: Cluster) -> float:
    return status(ours)[1]
