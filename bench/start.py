"""``sampan up`` until ``/readyz`` and until the node is Ready, beside etcd + a generic Kubernetes API server."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator

from bench.peers.etcd_apiserver import running
from bench.sampan import cluster
from bench.table import Row, median_of

RUNS = 5


def rows() -> Iterator[Row]:
    with running():
        pass  # the first start builds it
    peer = median_of(RUNS, start_peer)
    api_only = median_of(RUNS, lambda: start("none"))
    yield Row("up --pods=none until /readyz", api_only, "s", peer, "etcd + generic apiserver", "<= 0.4x")
    ready, node = zip(*(start_real() for _ in range(RUNS)), strict=True)
    yield Row("up until the API is ready", statistics.median(ready), "s", peer, "etcd + generic apiserver", "<= 0.4x")
    yield Row("up until the node is Ready", statistics.median(node), "s", None, "", "<= 2 s")


def start_peer() -> float:
    with running() as peer:
        return peer.ready_seconds


def start(pods: str) -> float:
    with cluster("bench-start", pods=pods) as ours:
        return ours.steps["api"]


def start_real() -> tuple[float, float]:
    """Return the seconds from the command until the API and until the node were ready, as ``up`` measured them."""
    with cluster("bench-start", pods="real") as ours:
        nodes = json.loads(ours.kubectl("get", "nodes", "-o", "json"))
        conditions = {c["type"]: c["status"] for c in nodes["items"][0]["status"]["conditions"]}
        if conditions.get("Ready") != "True":
            raise AssertionError(f"up returned before the node was Ready: {conditions}")
        return ours.steps["api"], ours.steps["node"]
