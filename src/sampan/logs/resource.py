"""Where a stream is from, in the words of OpenTelemetry's semantic conventions: its resource, and what all its records have.

Source: semantic-conventions, registry of k8s, container, service and log attributes, and "Populating resource attributes
in Kubernetes" (how the service's name, version and instance are found).
"""

from __future__ import annotations

from collections.abc import Mapping

Value = str | int | float | bool | list["Value"] | dict[str, "Value"] | None

RESOURCE = {
    "namespace": "k8s.namespace.name",
    "pod": "k8s.pod.name",
    "pod_uid": "k8s.pod.uid",
    "container": "k8s.container.name",
    "node": "k8s.node.name",
}
ATTRIBUTES = {"file": "log.file.path", "stream": "log.iostream"}
LABEL, WORKLOAD, GIVEN = "labels.", "workload.", "resource."
"""How labels of a stream begin that are a pod's label, its owner, and its annotation ``resource.opentelemetry.io/…``."""
WORKLOADS = ("deployment", "replicaset", "statefulset", "daemonset", "cronjob", "job")
"""In the order in which a service is named after them."""


def resource_of(labels: Mapping[str, str]) -> dict[str, Value]:
    """Return the attributes of a stream's resource."""
    found: dict[str, Value] = {RESOURCE[name]: value for name, value in labels.items() if name in RESOURCE}
    if labels.get("restart", "").isdigit():
        found["k8s.container.restart_count"] = int(labels["restart"])
    name, tag, digest = image_of(labels.get("image", ""))
    if name:
        found["container.image.name"] = name
    if tag:
        found["container.image.tags"] = [tag]
    for label, value in labels.items():
        if label.startswith(LABEL):
            found[f"k8s.pod.label.{label.removeprefix(LABEL)}"] = value
        elif label.startswith(WORKLOAD):
            found[f"k8s.{label.removeprefix(WORKLOAD)}.name"] = value
    found |= service_of(labels, f"{tag}@{digest}" if tag and digest else digest or tag)
    found.update((name.removeprefix(GIVEN), value) for name, value in labels.items() if name.startswith(GIVEN))
    return found


def service_of(labels: Mapping[str, str], version: str) -> dict[str, Value]:
    if not labels.get("pod"):
        return {}
    owners = (labels.get(f"{WORKLOAD}{kind}", "") for kind in WORKLOADS)
    well_known = (labels.get(f"{LABEL}app.kubernetes.io/{name}", "") for name in ("instance", "name"))
    instance = ".".join(labels[part] for part in ("namespace", "pod", "container") if labels.get(part))
    service = {
        "service.name": next(filter(None, (*well_known, *owners, labels["pod"]))),
        "service.namespace": labels.get("namespace", ""),
        "service.version": labels.get(f"{LABEL}app.kubernetes.io/version") or version,
        "service.instance.id": instance,
    }
    return {name: value for name, value in service.items() if value}


def image_of(reference: str) -> tuple[str, str, str]:
    """Return name, tag and digest of a reference to an image."""
    rest, _, digest = reference.partition("@")
    name, colon, tag = rest.rpartition(":")
    return (name, tag, digest) if colon and "/" not in tag else (rest, "", digest)


def attributes_of(labels: Mapping[str, str]) -> dict[str, Value]:
    """Return the attributes that every record of a stream has."""
    return {ATTRIBUTES[name]: value for name, value in labels.items() if name in ATTRIBUTES}
