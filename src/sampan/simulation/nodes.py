"""Simulated nodes as objects, and how they stay alive: registered with a status, heard by their leases.

A Node is simulated when it has the annotation ``sim.sampan.dev/simulated``: those of ``sampan up`` and of NodeGroups have it,
and anybody may create more (an autoscaler under test does). What such a Node lacks of a status is filled in.
"""

from __future__ import annotations

import datetime

from sampan.client.events import timestamp
from sampan.schema.objects import Object
from sampan.simulation.kinds import SIMULATED

CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "5000", "ephemeral-storage": "1Ti"}
LEASE_SECONDS = 40
HEALTHY = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def is_simulated(node: Object) -> bool:
    return SIMULATED in (node["metadata"].get("annotations") or {})


def node_object(
    name: str, *, labels: Object | None = None, annotations: Object | None = None, spec: Object | None = None
) -> Object:
    """Return a simulated Node to create."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                **(labels or {}),
            },
            "annotations": {SIMULATED: "true", **(annotations or {})},
        },
        "spec": spec or {},
    }


def status_of(node: Object, address: str, kubelet_version: str) -> Object:
    """Return the status of a Node that has registered: what it has is kept, what a kubelet would say is added."""
    now = timestamp()
    have = node.get("status") or {}
    name = node["metadata"]["name"]
    capacity = {**CAPACITY, **(have.get("capacity") or {})}
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    conditions = [
        {"type": kind, "status": "False", "reason": reason, "message": message, **times}
        for kind, reason, message in HEALTHY
    ]
    conditions.append(
        {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "simulated node is ready", **times}
    )
    return {
        **have,
        "capacity": capacity,
        "allocatable": {**capacity, **(have.get("allocatable") or {})},
        "addresses": have.get("addresses")
        or [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
        "conditions": conditions,
        "nodeInfo": {
            "kubeletVersion": kubelet_version,
            "containerRuntimeVersion": "simulated://1",
            "osImage": "simulated",
            "kernelVersion": "simulated",
            "operatingSystem": "linux",
            "architecture": "amd64",
            **dict.fromkeys(("machineID", "systemUUID", "bootID", "kubeProxyVersion"), ""),
        },
    }


def is_ready(node: Object) -> bool:
    """Whether a Node says that it is Ready (Unknown after it was silent: it is not)."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def needs_registration(node: Object) -> bool:
    """Whether a Node has no Ready condition yet, or one that the node lifecycle wrote while nobody was heard."""
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition["type"] == "Ready":
            return bool(condition["status"] == "Unknown")
    return True


def internal_ip(node: Object) -> str:
    addresses = (node.get("status") or {}).get("addresses") or ()
    return next((str(a["address"]) for a in addresses if a["type"] == "InternalIP"), "127.0.0.1")


def lease(node: Object) -> Object:
    """Return a renewed Lease of a node, owned by it."""
    name = node["metadata"]["name"]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"].get("uid", "")}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease", "ownerReferences": [owner]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now},
    }
