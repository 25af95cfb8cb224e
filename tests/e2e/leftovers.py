"""What a node has of its pods, counted: to be the same before and after, whatever happened in between."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from sampan.node.runtime import Runtime

from .up_down_cluster import Cluster


def of_node(cluster: Cluster) -> dict[str, int]:
    """Return how many sandboxes, containers, snapshots, network namespaces, mounts, cgroups, folders and shims there are."""
    settings, node = cluster.settings, cluster.parts()["node"]["pid"]

    async def listed() -> tuple[int, int]:
        runtime = Runtime(settings.containerd_socket)
        try:
            return len(await runtime.list_pod_sandboxes()), len(await runtime.list_containers())
        finally:
            runtime.close()

    sandboxes, containers = asyncio.run(listed())
    ctr = ["ctr", "--address", str(settings.containerd_socket), "-n", "k8s.io", "snapshots", "ls"]
    snapshots = subprocess.run(ctr, check=True, capture_output=True, text=True).stdout.splitlines()
    mounts = [line for line in Path(f"/proc/{node}/mountinfo").read_text().splitlines() if f"/{cluster.name}/" in line]
    enter = ["nsenter", "-t", str(node), "-m", "-n"]
    links = subprocess.run([*enter, "ip", "-o", "link"], check=True, capture_output=True, text=True).stdout.splitlines()
    shims = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        shims += b"containerd-shim" in words and str(settings.containerd_socket).encode() in words
    groups = [f for f in Path("/sys/fs/cgroup").glob(f"**/sampan/{cluster.name}/kubepods/**/pod*") if f.is_dir()]
    pods = settings.kubelet_dir / "pods"
    return {
        "sandboxes": sandboxes,
        "containers": containers,
        "snapshots": len([line for line in snapshots if "Active" in line]),
        "mounts": len(mounts),
        "links": len(links),
        "cgroups": len(groups),
        "folders": len(list(pods.iterdir())) if pods.is_dir() else 0,
        "shims": shims,
    }
