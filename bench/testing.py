"""A fresh cluster for a test, beside etcd + a generic Kubernetes API server (envtest starts such); pods at scale."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import sampan
from bench.peers.etcd_apiserver import running
from bench.table import Row, median_of

FIRST = """
import time
begun = time.perf_counter()
import sampan
with sampan.Cluster():
    print(time.perf_counter() - begun)
"""
RUNS = 5
FURTHER = 20
PODS, NODES, DEPLOYMENTS = 1000, 100, 10


def rows() -> Iterator[Row]:
    with running():
        pass  # the first start builds it
    peer = median_of(RUNS, start_peer)
    name = "etcd + generic apiserver"
    yield Row("first cluster of a test run", median_of(RUNS, first), "s", peer, name, "<= 0.5 s")
    with sampan.Cluster():
        begun, ended = zip(*(further() for _ in range(FURTHER)), strict=True)
    yield Row("every further cluster", statistics.median(begun), "s", peer, name, "<= 0.05 s")
    yield Row("its end", statistics.median(ended), "s")
    yield Row(f"{PODS} simulated pods on {NODES} nodes", scale(), "pods/s")


def start_peer() -> float:
    with running() as peer:
        return peer.ready_seconds


def first() -> float:
    """Return the seconds from a test process' first import until its cluster was ready."""
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout)


def further() -> tuple[float, float]:
    cluster = sampan.Cluster()
    begun = time.perf_counter()
    cluster.__enter__()
    ready = time.perf_counter()
    cluster.__exit__()
    return ready - begun, time.perf_counter() - ready


def scale() -> float:
    with sampan.Cluster(nodes=NODES) as cluster:
        begun = time.perf_counter()
        cluster.apply([deployment(f"web-{number}", PODS // DEPLOYMENTS) for number in range(DEPLOYMENTS)])
        for number in range(DEPLOYMENTS):
            cluster.wait_for(f"deployment/web-{number}", timeout=300)
        return PODS / (time.perf_counter() - begun)


def deployment(name: str, replicas: int) -> dict[str, object]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "shop:1"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
