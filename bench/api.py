"""The API under load, over TLS: ours against etcd + a generic Kubernetes API server, one after the other in one run.

Both serve the same custom resources with structural schemas to the same clients (``wrk`` and ``load``): creates, server-side
applies, updates that fight for few objects, lists whole and in pages, watches, and the memory that 10,000 objects take.
"""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bench import load
from bench.peers.etcd_apiserver import Peer, running
from bench.processes import pss_kib
from bench.sampan import Cluster, cluster, run
from bench.table import Row
from bench.wrk import requests_per_second

GROUP = "bench.sampan.dev"
SPEC = {"size": {"type": "integer", "minimum": 0}, "color": {"type": "string", "maxLength": 32}}
WIDGET = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Widget",
    "metadata": {"generateName": "widget-", "labels": {"app": "bench"}},
    "spec": {"size": 3, "color": "blue"},
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WATCHED = 100
"""Namespaces with watches: each of the 1,000 watches sees a hundredth of the writes."""
LISTED, PODS = 10_000, 30_000
PEER = "etcd + generic apiserver"


def definition(plural: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": {"type": "object", **spec}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


CRD = definition("widgets", "Widget", {"properties": SPEC})
POD_CRD = definition("benchpods", "BenchPod", {"x-kubernetes-preserve-unknown-fields": True})
POD_SPEC = {
    "nodeName": "node-1",
    "serviceAccountName": "default",
    "containers": [
        {
            "name": name,
            "image": f"registry.example.com/team/{name}:1.2.3",
            "env": [{"name": f"VARIABLE_{number}", "value": "a value of some length"} for number in range(6)],
            "ports": [{"containerPort": 8080, "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        }
        for name in ("main", "side")
    ],
    "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300}],
}


@dataclass
class Server:
    """One of the two that are measured. ``memory`` returns the megabytes of all its processes."""

    url: str
    token: str
    memory: Callable[[], float]
    figures: dict[str, float] = field(default_factory=dict)

    def collection(self, plural: str = "widgets", namespace: str = "default") -> str:
        return f"/apis/{GROUP}/v1/namespaces/{namespace}/{plural}"


def rows() -> Iterator[Row]:
    with cluster("bench-api", pods="none") as ours:
        server = Server(ours.url, ours.token, lambda: status_megabytes(ours))
        for number in range(WATCHED):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"bench-{number}"}}
            call(server, "POST", "/api/v1/namespaces", namespace)
        found = measure(server)
    with running() as peer:
        theirs = measure(Server(peer.url, "", lambda: sum(map(pss_megabytes, peer.pids))))

    def row(work: str, name: str, unit: str, aim: str) -> Row:
        return Row(work, found[name], unit, theirs[name], PEER, aim)

    yield row("creates, 16 clients, TLS", "creates", "1/s", ">= 2.5x")
    yield row("server-side applies, 16 clients", "applies", "1/s", ">= 2x")
    yield row("updates with conflicts, 16 clients on 32", "updates", "1/s", ">= 2x")
    yield row(f"memory with {LISTED:,} objects", "memory", "MB", "<= 0.15x")
    yield row(f"lists of {LISTED:,}, 4 clients", "lists", "1/s", ">= 25x")
    yield row(f"the same {LISTED:,} in pages of 500, 4 clients", "pages", "1/s", ">= 25x")
    yield row(f"{PODS:,} pod-sized objects in pages, 4 clients", "pods", "1/s", ">= 25x")
    yield row("1,000 watches, 1,000 writes/s: lag p99", "lag", "ms", "<= 0.5x")
    yield row("the same: writes there were", "writes", "1/s", "1,000/s")


def measure(server: Server) -> dict[str, float]:
    """Return every figure of one server, in the order in which its state grows."""
    figures = server.figures
    call(server, "POST", DEFINITIONS, CRD)
    call(server, "POST", DEFINITIONS, POD_CRD)
    wait_served(server, server.collection())
    wait_served(server, server.collection("benchpods"))
    url, token = server.url, server.token
    load.run(url, token, "fill", objects=LISTED)
    figures["lists"] = load.run(url, token, "list", seconds=8, clients=4)["rate"]
    figures["pages"] = load.run(url, token, "page", seconds=8, clients=4)["rate"]
    figures["memory"] = server.memory()
    for seconds in (1, 5):
        figures["applies"] = load.run(url, token, "apply", seconds=seconds)["rate"]
    for seconds in (1, 5):
        figures["updates"] = load.run(url, token, "update", seconds=seconds, objects=32)["rate"]
    lags = load.run(url, token, "watch", namespaces=WATCHED, watchers=1000, rate=1000, seconds=6)
    figures["lag"], figures["writes"] = lags["p99"], lags["writes"]
    target, body = url + server.collection(), json.dumps(WIDGET)
    for seconds in (1, 5):
        figures["creates"] = requests_per_second(
            target, connections=16, seconds=seconds, token=token, method="POST", body=body
        )
    pods: dict[str, float | str] = {"plural": "benchpods", "kind": "BenchPod"}
    load.run(url, token, "fill", objects=PODS, spec=json.dumps(POD_SPEC), **pods)
    figures["pods"] = load.run(url, token, "page", seconds=8, clients=4, **pods)["rate"]
    return figures


def status_megabytes(ours: Cluster) -> float:
    """Return the memory of the whole cluster, as ``sampan status`` adds it up."""
    for line in run("sampan", "status", "--name", ours.name).splitlines():
        found = re.search(r"^all\s.*?([\d.]+) MB", line)
        if found:
            return float(found[1])
    raise AssertionError("sampan status printed no memory")


def pss_megabytes(pid: int) -> float:
    """Return the memory of a process, in the megabytes of ``sampan status``."""
    return pss_kib(pid) * 1024 / 1e6


def wait_served(server: Server, path: str) -> None:
    for _ in range(200):
        try:
            call(server, "GET", f"{path}?limit=1")
            return
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise


def call(server: Server, method: str, path: str, body: object = None) -> dict[str, Any]:
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json"}
    if server.token:
        headers["Authorization"] = f"Bearer {server.token}"
    request = urllib.request.Request(server.url + path, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=60) as answer:
        return dict(json.load(answer))


__all__ = ["Cluster", "Peer", "rows"]
