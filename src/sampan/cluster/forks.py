"""A new cluster from a snapshot: what a cluster is made of, at home in another one's addresses and on its node. Pure.

Services keep their place in the range; pods are to be scheduled anew, as new pods; what was the old machine's own is gone.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterable
from typing import Any

import orjson

from sampan.schema.canonical import dumps
from sampan.store import Put, Record

SERVICES = "/registry/services/specs/"
PODS = "/registry/pods/"
NODES = "/registry/minions/"
NODE_LEASES = "/registry/coordination.k8s.io/leases/kube-node-lease/"
LEASES = "/registry/coordination.k8s.io/leases/kube-system/"
ENDED = ("Succeeded", "Failed")

Network = ipaddress.IPv4Network


def rehomed(records: Iterable[Record], old: tuple[Network, str], new: tuple[Network, str]) -> list[Put]:
    """Return the writes of a new cluster. ``old`` and ``new`` are range of Services and name of the node."""
    puts = []
    for record in records:
        if record.key in (f"{NODES}{old[1]}", f"{NODE_LEASES}{old[1]}") or record.key.startswith(LEASES):
            continue
        obj = orjson.loads(record.value)
        if record.key.startswith(SERVICES):
            readdress(obj, old[0], new[0])
        elif record.key.startswith(PODS) and obj["spec"].get("nodeName") == old[1]:
            unschedule(obj)
        puts.append(Put(record.key, dumps(obj), expected=0))
    return puts


def readdress(service: dict[str, Any], old: Network, new: Network) -> None:
    def moved(address: str) -> str:
        try:
            at = ipaddress.IPv4Address(address)
        except ValueError:
            return address  # "None", or IPv6
        return str(new[int(at) - int(old.network_address)]) if at in old else address

    spec = service["spec"]
    if spec.get("clusterIP"):
        spec["clusterIP"] = moved(spec["clusterIP"])
    if spec.get("clusterIPs"):
        spec["clusterIPs"] = [moved(address) for address in spec["clusterIPs"]]
    service["status"] = {"loadBalancer": {}}


def unschedule(pod: dict[str, Any]) -> None:
    if pod.get("status", {}).get("phase") in ENDED:
        return
    del pod["spec"]["nodeName"]
    pod["status"] = {"phase": "Pending", "qosClass": pod.get("status", {}).get("qosClass", "BestEffort")}
    pod["metadata"]["uid"] = str(uuid.uuid4())
