"""Creates per second and lists of 10,000 objects over TLS: ours against etcd + a generic Kubernetes API server.

Both serve the same custom resource with a structural schema to the same client (``wrk``)."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Iterator

from bench.peers.etcd_apiserver import Peer, running
from bench.sampan import Cluster, cluster
from bench.table import Row
from bench.wrk import requests_per_second

GROUP = "bench.sampan.dev"
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"widgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "size": {"type": "integer", "minimum": 0},
                                    "color": {"type": "string", "maxLength": 32},
                                },
                            }
                        },
                    }
                },
            }
        ],
    },
}
WIDGET = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Widget",
    "metadata": {"generateName": "widget-", "labels": {"app": "bench"}},
    "spec": {"size": 3, "color": "blue"},
}
COLLECTION = f"/apis/{GROUP}/v1/namespaces/default/widgets"
LISTED = 10_000


def rows() -> Iterator[Row]:
    with cluster("bench-api", pods="none") as ours:
        our_creates, our_lists = measure(ours.url, ours.token)
    with running() as peer:
        peer_creates, peer_lists = measure(peer.url, "")
    name = "etcd + generic apiserver"
    yield Row("creates, 16 clients, TLS", our_creates, "1/s", peer_creates, name, ">= 2,000/s")
    yield Row(f"list of {LISTED:,}, one client", 1 / our_lists, "s", 1 / peer_lists, name, "<= 0.1 s")


def measure(url: str, token: str) -> tuple[float, float]:
    """Return creates per second and lists per second of ``LISTED`` objects."""
    call(url, token, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    wait_served(url, token)
    body = json.dumps(WIDGET)
    requests_per_second(url + COLLECTION, connections=16, seconds=1, token=token, method="POST", body=body)
    creates = requests_per_second(url + COLLECTION, connections=16, token=token, method="POST", body=body)
    have = count(url, token)
    if have < LISTED:
        seconds = int((LISTED - have) / creates) + 2
        requests_per_second(url + COLLECTION, connections=16, seconds=seconds, token=token, method="POST", body=body)
    lists = requests_per_second(f"{url}{COLLECTION}?limit={LISTED}", connections=1, seconds=8, token=token)
    return creates, lists


def wait_served(url: str, token: str) -> None:
    for _ in range(200):
        try:
            count(url, token)
            return
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise


def count(url: str, token: str) -> int:
    """Return how many widgets there are."""
    page = call(url, token, "GET", f"{COLLECTION}?limit=1")
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))


def call(url: str, token: str, method: str, path: str, body: object = None) -> dict[str, object]:
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(url + path, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=60) as answer:
        return json.load(answer)


__all__ = ["Cluster", "Peer", "rows"]
