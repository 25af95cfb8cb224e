"""NodeMetrics and PodMetrics of a kubelet's Summary. Pure."""

from __future__ import annotations

from typing import Any

from sampan.schema.objects import Object
from sampan.schema.quantity import NANO, Quantity, canonical

API_VERSION = "metrics.k8s.io/v1beta1"
HOUSEKEEPING = "10s"
"""The window of a kubelet that does not tell it: how often cAdvisor looks, by default."""


def usage_of(stats: Any) -> Object | None:
    """Return the ``usage`` of a node, pod or container of a Summary; None where it is not known yet."""
    cpu = (stats.get("cpu") or {}).get("usageNanoCores")
    memory = (stats.get("memory") or {}).get("workingSetBytes")
    if cpu is None or memory is None:
        return None
    return {"cpu": canonical(Quantity(int(cpu))), "memory": canonical(Quantity(int(memory) * NANO, "BinarySI"))}


def measured(stats: Any) -> Object:
    """Return ``timestamp`` and ``window``."""
    cpu = stats.get("cpu") or {}
    return {"timestamp": cpu.get("time"), "window": cpu.get("window", HOUSEKEEPING)}


def metadata_of(obj: Object, now: str) -> Object:
    """Return the metadata of the metrics of an object: its name and labels, made now."""
    metadata = obj["metadata"]
    made = {name: metadata[name] for name in ("name", "namespace") if name in metadata}
    made["creationTimestamp"] = now
    if metadata.get("labels"):
        made["labels"] = metadata["labels"]
    return made


def node_metrics(node: Object, summary: Object, now: str) -> Object | None:
    """Return the NodeMetrics of a node, None where nothing is known of it."""
    stats = summary.get("node") or {}
    usage = usage_of(stats)
    if usage is None:
        return None
    head = {"kind": "NodeMetrics", "apiVersion": API_VERSION, "metadata": metadata_of(node, now)}
    return {**head, **measured(stats), "usage": usage}


def pod_metrics(pod: Object, stats: Object, now: str) -> Object | None:
    """Return the PodMetrics of a pod, None until everything of it has been seen twice."""
    containers = []
    for container in stats.get("containers") or ():
        usage = usage_of(container)
        if usage is None:
            return None
        containers.append({"name": container["name"], "usage": usage})
    if not containers:
        return None
    oldest = min(stats["containers"], key=lambda container: (container.get("cpu") or {}).get("time") or "")
    head = {"kind": "PodMetrics", "apiVersion": API_VERSION, "metadata": metadata_of(pod, now)}
    return {**head, **measured(oldest), "containers": containers}


def pods_of(summary: Object) -> dict[str, Object]:
    """Return the pods of a Summary by uid."""
    return {pod["podRef"]["uid"]: pod for pod in summary.get("pods") or ()}
