"""Pods until Ready and until gone, beside raw CRI calls on the same containerd and ``podman kube play``: one pod, and a
hundred of one Deployment.

The raw figure is what no kubelet can be quicker than: sandbox (with the same CNI plugin), create and start of the same
container with as many mounts by CRI alone, four at a time for the hundred, and for their end stop and removal of the sandbox.
podman plays the hundred pods from one file. A client's own process (`kubectl`, `podman`: 0.08 s and more) stands in both
figures of a row or in neither: one pod is created by a client that runs already beside raw calls alone, and applied by
kubectl beside podman, and beside a kubectl that applies a ConfigMap followed by raw calls.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.sampan import BIN, Cluster, cluster, run
from bench.table import Row, medians_of
from sampan.client.http import HttpClient
from sampan.client.kubeconfig import load
from sampan.client.resources import DEPLOYMENTS, PODS
from sampan.cluster.settings import Settings
from sampan.node import cri_pb2 as cri
from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive
from sampan.node.runtime import Runtime
from sampan.schema.objects import Object

IMAGE = "docker.io/library/bench:1"
MANY = 100
AT_ONCE = 4
RUNS = 5


def rows() -> Iterator[Row]:
    with ExitStack() as stack:
        ours = stack.enter_context(cluster("bench-pods", pods="real"))
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        archive = Path(directory) / "image.tar"
        make_image(archive)
        run("sampan", "image", "load", "--name", ours.name, str(archive))
        settings = Settings.load(ours.name)
        raw_one, created, one, by_kubectl = medians_of(
            RUNS,
            lambda: asyncio.run(raw(settings, 1))[0],
            lambda: asyncio.run(one_pod(ours, create)),
            lambda: asyncio.run(one_pod(ours, apply)),
            lambda: kubectl_then_raw(ours, settings),
        )
        yield Row("one pod created until Ready", created, "s", raw_one, "raw CRI calls", "<= 1.6x")
        yield Row("apply of one pod until Ready", one, "s", by_kubectl, "kubectl, then raw CRI", "<= 1.6x, <= 0.5 s")
        podman = stack.enter_context(Podman(Path(directory), archive)) if shutil.which("podman") else None
        if podman is not None:
            played, again = medians_of(2 * RUNS, lambda: podman.play(1), lambda: asyncio.run(one_pod(ours, apply)))
            yield Row("apply of one pod until Ready", again, "s", played, "podman kube play", "<= 1x")
        raw_many, raw_gone = asyncio.run(raw(settings, MANY))
        many = deployment(ours)
        name = f"{MANY} pods of a Deployment until all Ready"
        yield Row(name, many, "s", raw_many, "raw CRI, 4 at a time", "<= 1.6x")
        gone = asyncio.run(deleted(ours, settings))
        yield Row(f"{MANY} pods deleted with no grace", gone, "s", raw_gone, "raw CRI, 4 at a time", "<= 1.3x")
        if podman is not None:
            yield Row(name, many, "s", podman.play(MANY), "podman kube play", "<= 1x")


def make_image(archive: Path) -> None:
    files = {"bin/busybox": ImageFile(Path("/usr/bin/busybox").read_bytes(), 0o755)}
    docker_archive(archive, [IMAGE], files, ImageConfig(command=("/bin/busybox", "sleep", "1000")))


def pod(name: str) -> dict[str, object]:
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never"}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


Making = Callable[[Cluster, HttpClient, str], Coroutine[object, object, None]]


async def create(ours: Cluster, client: HttpClient, name: str) -> None:
    await client.create(PODS, pod(name), "default")


async def apply(ours: Cluster, client: HttpClient, name: str) -> None:
    command = [str(BIN / "kubectl"), "--kubeconfig", ours.kubeconfig, "apply", "-f", "-"]
    kubectl = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=DEVNULL)
    await kubectl.communicate(json.dumps(pod(name)).encode())


async def one_pod(ours: Cluster, make: Making) -> float:
    """Return the seconds from the beginning of ``make`` until a watch that was open before says Ready."""
    name = f"one-{uuid.uuid4().hex[:6]}"
    client = HttpClient(load(ours.kubeconfig), agent="bench")
    start = (await client.list(PODS, "default")).resource_version
    watch = aiter(client.watch(PODS, "default", resource_version=start))
    begin = time.perf_counter()
    made = asyncio.create_task(make(ours, client, name))
    async for event in watch:
        if event.object["metadata"]["name"] == name and ready(event.object):
            break
    seconds = time.perf_counter() - begin
    await made
    await client.delete(PODS, name, "default")
    async for event in watch:
        if event.object["metadata"]["name"] == name and event.type == "DELETED":
            break
    await client.close()
    return seconds


def kubectl_then_raw(ours: Cluster, settings: Settings) -> float:
    """Return the seconds of a kubectl that applies a new ConfigMap, and of a pod by CRI calls after it."""
    name = f"one-{uuid.uuid4().hex[:6]}"
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}
    begin = time.perf_counter()
    ours.kubectl("apply", "-f", "-", stdin=json.dumps(wanted))
    seconds = time.perf_counter() - begin
    ours.kubectl("delete", "configmap", name)
    return seconds + asyncio.run(raw(settings, 1))[0]


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


async def deleted(ours: Cluster, settings: Settings) -> float:
    """Return the seconds from the deletion of the Deployment until containerd has no sandbox any more."""
    client, runtime = HttpClient(load(ours.kubeconfig), agent="bench"), Runtime(settings.containerd_socket)
    begin = time.perf_counter()
    await client.delete(DEPLOYMENTS, "many", "default")
    while await runtime.list_pod_sandboxes({"app": "many"}):  # noqa: ASYNC110  (containerd 1.6 tells no events)
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - begin
    runtime.close()
    await client.close()
    return seconds


async def raw(settings: Settings, count: int) -> tuple[float, float]:
    """Return the seconds for ``count`` pods by CRI calls alone, and for their end."""
    runtime = Runtime(settings.containerd_socket)
    limit = asyncio.Semaphore(AT_ONCE)
    image = await runtime.image_status(IMAGE)
    assert image is not None
    made: list[str] = []
    files = settings.state_dir / "raw" / "files"
    (files / "serviceaccount").mkdir(parents=True, exist_ok=True)
    for name in ("hosts", "termination-log", "serviceaccount/token"):
        (files / name).touch()

    async def one(number: int) -> None:
        name = f"raw-{number}-{uuid.uuid4().hex[:6]}"
        sandbox = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name=name, uid=name, namespace="bench"),
            log_directory=str(settings.state_dir / "raw" / name),
            linux=cri.LinuxPodSandboxConfig(cgroup_parent=f"{settings.cgroup}/kubepods/{name}"),
        )
        (settings.state_dir / "raw" / name).mkdir(parents=True)
        mounts = [
            cri.Mount(container_path=path, host_path=str(files / path.rpartition("/")[2]), readonly="secrets" in path)
            for path in ("/etc/hosts", "/dev/termination-log", "/var/run/secrets/kubernetes.io/serviceaccount")
        ]
        container = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name="main"),
            image=cri.ImageSpec(image=image.id),
            log_path="0.log",
            mounts=mounts,
        )
        async with limit:
            sandbox_id = await runtime.run_pod_sandbox(sandbox)
            made.append(sandbox_id)
            container_id = await runtime.create_container(sandbox_id, container, sandbox)
            await runtime.start_container(container_id)

    async def end(sandbox_id: str) -> None:
        async with limit:
            await runtime.stop_pod_sandbox(sandbox_id)
            await runtime.remove_pod_sandbox(sandbox_id)

    begin = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    started = time.perf_counter()
    await asyncio.gather(*(end(sandbox_id) for sandbox_id in made))
    ended = time.perf_counter()
    runtime.close()
    return started - begin, ended - started


class Podman:
    """podman with a store of its own below a directory, by the same runc, within the limits that this user may set."""

    def __init__(self, directory: Path, archive: Path) -> None:
        self.file, self.config = directory / "pods.json", directory / "containers.conf"
        own = ["--root", str(directory / "root"), "--runroot", str(directory / "run")]
        self.command = ["podman", *own, "--runtime", "runc", "--cgroup-manager", "cgroupfs"]
        self.config.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n')
        self.podman("load", "-q", "-i", str(archive))

    def podman(self, *arguments: str) -> None:
        environment = {**os.environ, "CONTAINERS_CONF": str(self.config)}
        command = [*self.command, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)

    def play(self, count: int) -> float:
        """Return the seconds until so many pods run; they are taken down afterwards."""
        self.file.write_text("\n---\n".join(json.dumps(pod(f"played-{number}")) for number in range(count)))
        begin = time.perf_counter()
        self.podman("kube", "play", str(self.file))
        seconds = time.perf_counter() - begin
        self.podman("kube", "down", str(self.file))
        return seconds

    def __enter__(self) -> Podman:
        return self

    def __exit__(self, *_: object) -> None:
        self.podman("system", "reset", "--force")
