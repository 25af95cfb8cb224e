"""The objects that are converted, and what each kind of source needs of the others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sampan.gateway.convert.notes import Note, Notes
from sampan.schema.objects import Object

GATEWAY_API = "gateway.networking.k8s.io/v1"
NAME_BYTES = 253


@dataclass
class Sources:
    objects: list[Object]
    gateway_class: str
    entry_points: dict[str, int]
    notes: list[Note]

    def of(self, group: str, *kinds: str) -> Iterator[Object]:
        for obj in self.objects:
            if obj.get("kind") in kinds and str(obj.get("apiVersion", "")).rpartition("/")[0] == group:
                if not (obj.get("metadata") or {}).get("name"):
                    raise ValueError(f"a {obj['kind']} has no metadata.name")
                yield obj

    def about(self, source: Object) -> Notes:
        return Notes(source, self.notes)

    def service_port(self, namespace: str, name: str, port: str) -> int | None:
        """Return the number of a Service's named port, None where the Service is not among the sources."""
        for service in self.of("", "Service"):
            if service["metadata"]["name"] == name and namespace_of(service) == namespace:
                for entry in (service.get("spec") or {}).get("ports") or ():
                    if entry.get("name") == port:
                        return int(entry["port"])
        return None


def namespace_of(obj: Object) -> str:
    """Return the namespace an object says, ``""`` where it leaves that to kubectl."""
    return str(obj["metadata"].get("namespace") or "")


def made(kind: str, name: str, namespace: str, spec: Object, labels: Object | None = None) -> Object:
    """Return an object of Gateway API v1."""
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": GATEWAY_API, "kind": kind, "metadata": metadata, "spec": spec}


def name_from(*parts: str) -> str:
    """Return a name for an object (RFC 1123) made of parts that may be host names: ``*`` is spelled ``wildcard``."""
    joined = "-".join(part for part in parts if part).lower().replace("*", "wildcard")
    return re.sub(r"[^a-z0-9]+", "-", joined).strip("-")[:NAME_BYTES]
