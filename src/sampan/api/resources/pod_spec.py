"""Defaults of PodSpec and PodTemplateSpec. Source: kubernetes pkg/apis/core/v1/defaults.go and conversion.go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.resources.reading import items
from sampan.schema.objects import Object

CONTAINER_FIELDS = ("initContainers", "containers", "ephemeralContainers")
FILE_MODE = 0o644


def containers(spec: Object) -> Iterator[tuple[str, Object]]:
    """Yield ``(field path, container)`` of every container of a PodSpec."""
    for field in CONTAINER_FIELDS:
        for index, container in enumerate(items(spec, field)):
            yield f"{field}[{index}]", container


def default_pod_spec(spec: Object) -> None:
    """Fill what a PodSpec in a Pod and in a template has in common."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for _, container in containers(spec):
        default_container(container)
    for volume in items(spec, "volumes"):
        default_volume(volume)


def default_pod(pod: Object) -> None:
    """Fill a Pod: what its spec shares with templates, and what only a Pod gets."""
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    for field, container in containers(spec):
        if field.startswith("ephemeral"):
            continue
        limits = container["resources"].get("limits")
        if limits:
            requests = container["resources"].setdefault("requests", {})
            for name, quantity in limits.items():
                requests.setdefault(name, quantity)
        if spec.get("hostNetwork"):
            for port in items(container, "ports"):
                if not port.get("hostPort") and port.get("containerPort"):
                    port["hostPort"] = port["containerPort"]


def default_template(template: Object | None) -> None:
    """Fill a PodTemplateSpec."""
    if template is not None and isinstance(template.get("spec"), dict):
        default_pod_spec(template["spec"])


def default_container(container: Object) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = "Always" if image_tag(container.get("image", "")) == "latest" else "IfNotPresent"
    for port in items(container, "ports"):
        port.setdefault("protocol", "TCP")
    for variable in items(container, "env"):
        default_field_source(variable.get("valueFrom"))
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(field) is not None:
            default_probe(container[field])
    for hook in ("postStart", "preStop"):
        default_action((container.get("lifecycle") or {}).get(hook))


def image_tag(image: str) -> str:
    """Return the tag that decides the pull policy: ``latest`` where neither tag nor digest is given."""
    if "@" in image:
        head = image.partition("@")[0].rpartition("/")[2]
        return head.rpartition(":")[2] if ":" in head else ""
    last = image.rpartition("/")[2]
    return last.rpartition(":")[2] if ":" in last else "latest"


def default_probe(probe: Object) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(field):
            probe[field] = value
    default_action(probe)
    if probe.get("grpc") is not None:
        probe["grpc"].setdefault("service", "")


def default_action(action: Any) -> None:
    if isinstance(action, dict) and action.get("httpGet") is not None:
        get = action["httpGet"]
        if not get.get("path"):
            get["path"] = "/"
        if not get.get("scheme"):
            get["scheme"] = "HTTP"


def default_field_source(source: Any) -> None:
    """Fill a ``valueFrom`` or a downward API item."""
    if not isinstance(source, dict):
        return
    if source.get("fieldRef") is not None:
        source["fieldRef"].setdefault("apiVersion", "v1")
    if source.get("resourceFieldRef") is not None:
        source["resourceFieldRef"].setdefault("divisor", "0")


def default_volume(volume: Object) -> None:
    if len(volume) <= 1:
        volume["emptyDir"] = {}
    for field in ("secret", "configMap", "downwardAPI", "projected"):
        if volume.get(field) is not None:
            volume[field].setdefault("defaultMode", FILE_MODE)
    if volume.get("hostPath") is not None:
        volume["hostPath"].setdefault("type", "")
    for item in items(volume, "downwardAPI", "items"):
        default_field_source(item)
    for source in items(volume, "projected", "sources"):
        if source.get("serviceAccountToken") is not None:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
        for item in items(source, "downwardAPI", "items"):
            default_field_source(item)
    claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if isinstance(claim, dict) and isinstance(claim.get("spec"), dict):
        claim["spec"].setdefault("volumeMode", "Filesystem")
