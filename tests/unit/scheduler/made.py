"""Nodes and pods made by hand."""

from __future__ import annotations

from typing import Any

from sampan.schema.objects import Object

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def node(name: str, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **changes: Any) -> Object:
    labels = {"kubernetes.io/hostname": name, **changes.pop("labels", {})}
    images = changes.pop("images", [])
    allocatable = {"cpu": cpu, "memory": memory, "pods": pods, **changes.pop("more", {})}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": changes,
        "status": {"capacity": allocatable, "allocatable": allocatable, "images": images},
    }


def pod(name: str = "p", on: str = "", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    requests = spec.pop("requests", {})
    container = {"name": "c", "image": "web:1", "resources": {"requests": requests}, "ports": spec.pop("ports", [])}
    status = spec.pop("status", {})
    body: Object = {"containers": [container], **spec}
    if on:
        body["nodeName"] = on
    metadata = {"name": name, "namespace": "ns", "uid": name, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body, "status": status}


def term(key: str, **labels: str) -> Object:
    return {"labelSelector": {"matchLabels": labels}, "topologyKey": key}
