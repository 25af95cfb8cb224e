"""Pods until Ready, beside raw CRI calls on the same containerd: one pod, and fifty of one Deployment.

The raw figure is what no kubelet can be quicker than: sandbox, create and start of the same container by CRI alone, four at a
time for the fifty."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
import uuid
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from pathlib import Path

from bench.sampan import BIN, Cluster, cluster
from bench.table import Row, median_of
from sampan.client.http import HttpClient
from sampan.client.kubeconfig import load
from sampan.client.resources import PODS
from sampan.cluster.settings import Settings
from sampan.node import cri_pb2 as cri
from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive
from sampan.node.runtime import Runtime
from sampan.schema.objects import Object

IMAGE = "docker.io/library/bench:1"
MANY = 50
AT_ONCE = 4
RUNS = 5


def rows() -> Iterator[Row]:
    with cluster("bench-pods", pods="real") as ours:
        load_image(ours)
        settings = Settings.load(ours.name)
        raw_one = median_of(RUNS, lambda: asyncio.run(raw(settings, 1)))
        one = median_of(RUNS, lambda: asyncio.run(apply_one(ours)))
        yield Row("apply of one pod until Ready", one, "s", raw_one, "raw CRI calls", "<= 2x, <= 0.5 s")
        raw_many = asyncio.run(raw(settings, MANY))
        many = deployment(ours)
        yield Row(
            f"{MANY} pods of a Deployment until all Ready", many, "s", raw_many, "raw CRI, 4 at a time", "<= 1.3x"
        )


def load_image(ours: Cluster) -> None:
    files = {"bin/busybox": ImageFile(Path("/usr/bin/busybox").read_bytes(), 0o755)}
    archive = Path(f"/tmp/{ours.name}.tar")
    docker_archive(archive, [IMAGE], files, ImageConfig(command=("/bin/busybox", "sleep", "1000")))
    try:
        subprocess.run(
            [BIN / "sampan", "image", "load", "--name", ours.name, archive], check=True, stdout=subprocess.DEVNULL
        )
    finally:
        archive.unlink()


def pod(name: str) -> dict[str, object]:
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never"}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


async def apply_one(ours: Cluster) -> float:
    """Return the seconds from the start of ``kubectl apply`` until a watch that was open before says Ready."""
    name = f"one-{uuid.uuid4().hex[:6]}"
    client = HttpClient(load(ours.kubeconfig), agent="bench")
    start = (await client.list(PODS, "default")).resource_version
    watch = aiter(client.watch(PODS, "default", resource_version=start))
    begin = time.perf_counter()
    apply = [BIN / "kubectl", "--kubeconfig", ours.kubeconfig, "apply", "-f", "-"]
    kubectl = await asyncio.create_subprocess_exec(*apply, stdin=PIPE, stdout=DEVNULL)
    applied = asyncio.create_task(kubectl.communicate(json.dumps(pod(name)).encode()))
    async for event in watch:
        if event.object["metadata"]["name"] == name and ready(event.object):
            break
    seconds = time.perf_counter() - begin
    await applied
    await client.delete(PODS, name, "default")
    async for event in watch:
        if event.object["metadata"]["name"] == name and event.type == "DELETED":
            break
    await client.close()
    return seconds


def ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def deployment(ours: Cluster) -> float:
    labels = {"app": "many"}
    template = {"metadata": {"labels": labels}, "spec": pod("-")["spec"]}
    spec = {"replicas": MANY, "selector": {"matchLabels": labels}, "template": template}
    wanted = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"}, "spec": spec}
    begin = time.perf_counter()
    ours.kubectl("apply", "-f", "-", stdin=json.dumps(wanted))
    ours.kubectl("wait", "deployment/many", f"--for=jsonpath={{.status.readyReplicas}}={MANY}", "--timeout=180s")
    return time.perf_counter() - begin


async def raw(settings: Settings, count: int) -> float:
    """Return the seconds for ``count`` pods by CRI calls alone; they are removed afterwards."""
    runtime = Runtime(settings.containerd_socket)
    limit = asyncio.Semaphore(AT_ONCE)
    image = await runtime.image_status(IMAGE)
    assert image is not None
    made: list[str] = []

    async def one(number: int) -> None:
        name = f"raw-{number}-{uuid.uuid4().hex[:6]}"
        sandbox = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name=name, uid=name, namespace="bench"),
            log_directory=str(settings.state_dir / "raw" / name),
            linux=cri.LinuxPodSandboxConfig(cgroup_parent=f"{settings.cgroup}/kubepods/{name}"),
        )
        (settings.state_dir / "raw" / name).mkdir(parents=True)
        container = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name="main"), image=cri.ImageSpec(image=image.id), log_path="0.log"
        )
        async with limit:
            sandbox_id = await runtime.run_pod_sandbox(sandbox)
            made.append(sandbox_id)
            container_id = await runtime.create_container(sandbox_id, container, sandbox)
            await runtime.start_container(container_id)

    begin = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    seconds = time.perf_counter() - begin
    for sandbox_id in made:
        await runtime.stop_pod_sandbox(sandbox_id)
        await runtime.remove_pod_sandbox(sandbox_id)
    runtime.close()
    return seconds
