"""A new cluster from a snapshot: what a cluster is made of, at home in another one's addresses and on its node. Pure.

Services keep their place in the range; pods are to be scheduled anew, as new pods; volumes that were folders of the old
machine are folders of the new one, and empty; what else was the old machine's own is gone.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from sampan.cluster.settings import Network
from sampan.controllers.local_provisioner import PROVISIONER, Folders
from sampan.schema.canonical import dumps
from sampan.schema.quantity import parse
from sampan.schema.volume_matching import PROVISIONED_BY, SELECTED_NODE
from sampan.store import Put, Record
from sampan.store.layout import prefix_of

SERVICES = prefix_of("services")
PODS = prefix_of("pods")
NODES = prefix_of("nodes")
VOLUMES = prefix_of("persistentvolumes")
CLAIMS = prefix_of("persistentvolumeclaims")
NODE_LEASES = prefix_of("leases.coordination.k8s.io") + "kube-node-lease/"
LEASES = prefix_of("leases.coordination.k8s.io") + "kube-system/"
ENDED = ("Succeeded", "Failed")

Networks = Sequence[Network]
"""Of Services: one range, or one of each family."""


def rehomed(
    records: Iterable[Record], old: tuple[Networks, str], new: tuple[Networks, str], folders: Folders | None = None
) -> list[Put]:
    """Return the writes of a new cluster. ``old`` and ``new`` are ranges of Services and name of the node; ``folders``:
    where the volumes of the new node are, and nothing is made there."""
    puts = []
    for record in records:
        if record.key in (f"{NODES}{old[1]}", f"{NODE_LEASES}{old[1]}") or record.key.startswith(LEASES):
            continue
        obj = orjson.loads(record.value)
        if record.key.startswith(SERVICES):
            readdress(obj, old[0], new[0])
        elif record.key.startswith(PODS) and obj["spec"].get("nodeName") == old[1]:
            unschedule(obj)
        elif record.key.startswith(VOLUMES) and is_folder_of(obj, old[1]):
            move(obj, new[1], folders or Folders(None))
        elif record.key.startswith(CLAIMS):
            annotations = obj["metadata"].get("annotations") or {}
            if annotations.get(SELECTED_NODE) == old[1]:
                annotations[SELECTED_NODE] = new[1]
        puts.append(Put(record.key, dumps(obj), expected=0))
    return puts


def readdress(service: dict[str, Any], old: Networks, new: Networks) -> None:
    def moved(address: str) -> str:
        try:
            at = ipaddress.ip_address(address)
        except ValueError:
            return address  # "None"
        for was, now in zip(old, new, strict=False):
            if at in was:
                return str(now[int(at) - int(was[0])])
        return address

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


def expressions(volume: dict[str, Any]) -> list[dict[str, Any]]:
    terms = volume["spec"].get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms", [])
    return [expression for term in terms for expression in term.get("matchExpressions", [])]


def is_folder_of(volume: dict[str, Any], node: str) -> bool:
    """Tell whether our provisioner made the volume on a node."""
    ours = (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY) == PROVISIONER
    return ours and "local" in volume["spec"] and any(e.get("values") == [node] for e in expressions(volume))


def move(volume: dict[str, Any], node: str, folders: Folders) -> None:
    local = volume["spec"]["local"]
    local["path"] = str(folders.path(Path(local["path"]).name))
    for expression in expressions(volume):
        expression["values"] = [node]


def make_folders(puts: Iterable[Put], node: str, folders: Folders) -> int:
    """Make the folders of a node's volumes, empty, and return how many there are."""
    made = 0
    for put in puts:
        volume = orjson.loads(put.value) if put.key.startswith(VOLUMES) and put.value else None
        if volume is not None and is_folder_of(volume, node):
            spec = volume["spec"]
            size = parse(spec["capacity"]["storage"]).value() if spec.get("volumeMode") == "Block" else None
            folders.make(Path(spec["local"]["path"]), size)
            made += 1
    return made
