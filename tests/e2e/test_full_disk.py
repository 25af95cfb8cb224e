"""The whole disk of a cluster is full: store, logs, images, volumes. What runs goes on, reads are answered, writes say why
not, and all is well when there is room again."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.cluster.settings import state_root

from .conftest import busybox_archive
from .eventually import eventually
from .space import Space, pod, state
from .up_down_cluster import Cluster, new_cluster, unable

SETTINGS = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {memory.available: 1Mi}
"""


@pytest.fixture
def small_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster on a disk of its own, of 160 MB, whose node evicts nobody for that."""
    if unable() or not Path("/usr/bin/busybox").exists():
        pytest.skip(unable() or "busybox-static is not installed")
    cluster = new_cluster(tmp_path)
    home = state_root() / cluster.name
    home.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "small", str(home)], check=True)
    try:
        (tmp_path / "kubelet.yaml").write_text(SETTINGS)
        cluster.up("--kubelet-config", str(tmp_path / "kubelet.yaml"))
        busybox_archive(tmp_path / "busybox.tar")
        cluster.sampan("image", "load", "--name", cluster.name, str(tmp_path / "busybox.tar"))
        yield cluster
    finally:
        cluster.sampan("down", "--name", cluster.name, check=False)  # it cannot remove what is mounted
        subprocess.run(["umount", "-l", str(home)], check=True)
        if home.exists():
            home.rmdir()


def test_a_cluster_outlives_a_full_disk(small_cluster: Cluster) -> None:
    space = Space(small_cluster)
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    space.apply(pod("before", "while true; do echo line; sleep 0.1; done", readinessProbe=probe))
    space.ready("before")
    before = state(space, "before")
    home = state_root() / small_cluster.name
    inside = ["nsenter", "-t", str(small_cluster.parts()["node"]["pid"]), "-m"]
    subprocess.run(
        [*inside, "sh", "-c", f"cat /dev/zero > {home}/filler"], capture_output=True
    )  # until there is no room

    numbers = itertools.count()

    def refused() -> bool:
        another = pod(
            f"during-{next(numbers)}", "sleep 1000"
        )  # one that was made while there was room is no write any more
        done = space.run("apply", "-f", "-", stdin=json.dumps(another))
        return done.returncode == 1 and "the disk is full, free some space and try again" in done.stderr

    eventually("writes are refused, and say why", refused)
    assert space("exec", "before", "--", "echo", "well") == "well\n"
    assert state(space, "before") == before and "line" in space("logs", "before", "--tail=1")
    parts = small_cluster.parts()
    assert all(row["restarts"] == 0 for name, row in parts.items() if name != "supervisor"), parts
    subprocess.run([*inside, "rm", f"{home}/filler"], check=True)
    eventually("there is room again", lambda: space.run("create", "configmap", "room").returncode == 0)
    space.apply(pod("after", "sleep 1000"))
    space.ready("after")
    space("delete", "pod", "before", "--timeout=60s")
