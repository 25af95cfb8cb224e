"""A runtime that is there already (``--cri-endpoint``): pods run in it, and only ours go with the cluster.

``SAMPAN_TEST_CRI_ENDPOINT=unix:///run/crio/crio.sock`` runs this with a runtime of yours (CRI-O, say) that has the image
``docker.io/library/busybox:1``; ``SAMPAN_TEST_CONTAINERD=FOLDER`` all tests with another containerd.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.network import cni_shim
from sampan.node import cri_pb2 as cri
from sampan.node.containerd import ContainerdConfig, prepare
from sampan.node.images import ensure_pause
from sampan.node.runtime import Runtime

from .conftest import busybox_archive
from .eventually import eventually
from .space import Space, pod
from .up_down_cluster import new_cluster, unable

SCRIPT = "test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo here; exit 3"


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Path]:
    """The socket of a containerd that belongs to nobody, or of the runtime that the environment names."""
    if given := os.environ.get("SAMPAN_TEST_CRI_ENDPOINT"):
        yield Path(given.removeprefix("unix://"))
        return
    if unable() or not Path("/usr/bin/busybox").exists():
        pytest.skip(unable() or "busybox-static is not installed")
    run_dir = Path("/run") / f"cri-{uuid.uuid4().hex[:8]}"  # a socket's path is short
    socket = run_dir / "c.sock"
    config = ContainerdConfig(tmp_path / "root", run_dir, socket, tmp_path / "cni", "/sampan/none")
    command = prepare(config)
    cni_shim.install(tmp_path / "cni", tmp_path / "nobody.sock")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as served:
        try:
            wait_for(socket)
            ensure_pause(socket)
            yield socket
        finally:
            served.terminate()
            served.wait()
            shutil.rmtree(run_dir, ignore_errors=True)


def wait_for(socket: Path) -> None:
    async def answers() -> None:
        runtime = Runtime(socket)
        try:
            await runtime.version()
        finally:
            runtime.close()

    deadline = time.monotonic() + 60
    while True:
        try:
            return asyncio.run(answers())
        except Exception as error:
            assert time.monotonic() < deadline, f"containerd does not answer: {error}"
            time.sleep(0.05)


def sandboxes(socket: Path, *, make: bool = False, remove: bool = False) -> list[str]:
    """Return the names of the sandboxes there are; one of somebody else can be made, and removed."""

    async def ask() -> list[str]:
        runtime = Runtime(socket)
        try:
            if make:
                other = cri.PodSandboxMetadata(name="other", uid="o", namespace="o")
                labels = {"io.kubernetes.pod.uid": "o"}
                config = cri.PodSandboxConfig(metadata=other, labels=labels, log_directory="/tmp")  # CRI-O wants one
                options = config.linux.security_context.namespace_options
                options.network, options.pid = cri.NODE, cri.CONTAINER
                await runtime.run_pod_sandbox(config)
            found = await runtime.list_pod_sandboxes()
            for sandbox in [one for one in found if one.metadata.uid == "o"] if remove else ():
                await runtime.stop_pod_sandbox(sandbox.id)
                await runtime.remove_pod_sandbox(sandbox.id)
            return [sandbox.metadata.name for sandbox in found]
        finally:
            runtime.close()

    return asyncio.run(ask())


def test_pods_run_in_a_runtime_that_is_there(runtime: Path, tmp_path: Path) -> None:
    cluster = new_cluster(tmp_path)
    sandboxes(runtime, make=True)
    try:
        cluster.up("--cri-endpoint", f"unix://{runtime}")
        assert "containerd" not in cluster.parts()
        busybox_archive(tmp_path / "busybox.tar")
        own = "SAMPAN_TEST_CRI_ENDPOINT" not in os.environ
        cluster.sampan("image", "load", "--name", cluster.name, str(tmp_path / "busybox.tar"), check=own)
        space = Space(cluster)
        space.apply(pod("guest", SCRIPT, {"hostNetwork": True, "restartPolicy": "Never"}))
        eventually("its exit is heard", lambda: space.pod("guest").get("status", {}).get("phase") == "Failed")
        assert space("logs", "guest") == "here\n", "it has its token"
        space.apply(pod("server", "sleep 1000", {"hostNetwork": True, "terminationGracePeriodSeconds": 0}))
        space.ready("server")
        said = "its streaming server is in another network than the node"
        assert space("exec", "server", "--", "sh", "-c", "cat /proc/1/comm") == "sleep\n", said
        assert {"guest", "other", "server"} <= set(sandboxes(runtime))
    finally:
        cluster.sampan("down", "--name", cluster.name, check=False)
    left = sandboxes(runtime, remove=True)
    assert "other" in left and not {"guest", "server"} & set(left)


def test_crun_is_a_handler_of_runtime_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with both cgroup trees, too. ``SAMPAN_TEST_CRUN=FOLDER`` has one that is not installed."""
    if given := os.environ.get("SAMPAN_TEST_CRUN"):
        monkeypatch.setenv("PATH", os.pathsep.join([given, os.environ["PATH"]]))
    if unable() or not shutil.which("crun") or not Path("/usr/bin/busybox").exists():
        pytest.skip(unable() or "crun or busybox-static is not installed")
    cluster = new_cluster(tmp_path)
    try:
        cluster.up()
        busybox_archive(tmp_path / "busybox.tar")
        cluster.sampan("image", "load", "--name", cluster.name, str(tmp_path / "busybox.tar"))
        space = Space(cluster)
        by_crun = {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": "crun"},
            "handler": "crun",
        }
        limits = {"limits": {"memory": "64Mi", "cpu": "200m"}}
        space.apply(by_crun, pod("light", "sleep 1000", {"runtimeClassName": "crun"}, resources=limits))
        space.ready("light")
        assert space("exec", "light", "--", "sh", "-c", "cat /proc/1/comm") == "sleep\n"
        shown = cluster.sampan("oci", "explain", "light", "-n", space.name, "--name", cluster.name).stdout
        assert "memory.limit_in_bytes=67108864" in shown or "memory.max=67108864" in shown
    finally:
        cluster.sampan("down", "--name", cluster.name, check=False)
