"""Defaults of PodSpec and PodTemplateSpec. Source: kubernetes pkg/apis/core/v1/defaults.go and conversion.go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sampan.api.resources.claims import default_claim_spec
from sampan.api.resources.pod_resources import default_pod_resources
from sampan.api.resources.quantities import rounded_up
from sampan.api.resources.reading import items
from sampan.schema.objects import Object
from sampan.schema.remembering import remembered

_host = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])"
_path = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_digest = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
REFERENCE = re.compile(
    rf"(?![a-f0-9]{{64}}\Z)(?:{_host}(?::[0-9]+)?/)?{_path}(?:/{_path})*(?::\w[\w.-]{{0,127}})?(?:@{_digest})?",
    re.ASCII,
)
"""The name of an image. Source of the grammar: distribution/reference."""
CONTAINER_FIELDS = ("initContainers", "containers", "ephemeralContainers")
FILE_MODE = 0o644
SOURCE_DEFAULTS: dict[str, tuple[tuple[str, Any], ...]] = {
    "azureDisk": (("cachingMode", "ReadWrite"), ("fsType", "ext4"), ("readOnly", False), ("kind", "Shared")),
    "configMap": (("defaultMode", FILE_MODE),),
    "downwardAPI": (("defaultMode", FILE_MODE),),
    "hostPath": (("type", ""),),
    "iscsi": (("iscsiInterface", "default"),),
    "projected": (("defaultMode", FILE_MODE),),
    "rbd": (("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")),
    "scaleIO": (("storageMode", "ThinProvisioned"), ("fsType", "xfs")),
    "secret": (("defaultMode", FILE_MODE),),
}


def containers(spec: Object) -> Iterator[tuple[str, Object]]:
    """Yield ``(field path, container)`` of every container of a PodSpec."""
    for field in CONTAINER_FIELDS:
        for index, container in enumerate(items(spec, field)):
            yield f"{field}[{index}]", container


def fill(obj: Object, key: str, value: Any) -> None:
    """Set a field that is missing or empty: Go cannot tell the two apart where there is no pointer."""
    if not obj.get(key):
        obj[key] = value


def default_pod_spec(spec: Object) -> None:
    """Fill what a PodSpec in a Pod and in a template has in common."""
    fill(spec, "restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    fill(spec, "dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    fill(spec, "schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for field in CONTAINER_FIELDS:
        for container in spec.get(field) or ():
            default_container(container)
    for volume in spec.get("volumes") or ():
        default_volume(volume)
    if spec.get("overhead"):
        rounded_up(spec["overhead"])


def default_pod(pod: Object) -> None:
    """Fill a Pod: what its spec shares with templates, and what only a Pod gets."""
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            limits = container["resources"].get("limits")
            if limits:
                requests = container["resources"].setdefault("requests", {})
                for name, quantity in limits.items():
                    requests.setdefault(name, quantity)
            if spec.get("hostNetwork"):
                for port in container.get("ports") or ():
                    if not port.get("hostPort") and port.get("containerPort"):
                        port["hostPort"] = port["containerPort"]
    default_pod_resources(spec)


def default_template(template: Object | None) -> None:
    """Fill a PodTemplateSpec; one without a spec has an empty one, as a struct of Go has."""
    if template is not None:
        spec = template.setdefault("spec", {})
        if isinstance(spec, dict):
            default_pod_spec(spec)


def default_container(container: Object) -> None:
    resources = container.setdefault("resources", {})
    if resources:
        for kind in ("limits", "requests"):
            if resources.get(kind):
                rounded_up(resources[kind])
    fill(container, "terminationMessagePath", "/dev/termination-log")
    fill(container, "terminationMessagePolicy", "File")
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image") or "")
    for port in container.get("ports") or ():
        fill(port, "protocol", "TCP")
    for variable in container.get("env") or ():
        if "valueFrom" in variable:
            default_field_source(variable["valueFrom"])
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(field) is not None:
            default_probe(container[field])
    if container.get("lifecycle"):
        for hook in ("postStart", "preStop"):
            default_action(container["lifecycle"].get(hook))


@remembered(1024, longest=512)
def pull_policy(image: str) -> str:
    """Return what is done about an image of which nothing is said: one without a tag is pulled; what is no image's name has
    none either, but is not taken for one (``parsers.ParseImageName``)."""
    return "Always" if REFERENCE.fullmatch(image) and image_tag(image) == "latest" else "IfNotPresent"


def image_tag(image: str) -> str:
    """Return the tag that decides the pull policy: ``latest`` where neither tag nor digest is given."""
    if "@" in image:
        head = image.partition("@")[0].rpartition("/")[2]
        return head.rpartition(":")[2] if ":" in head else ""
    last = image.rpartition("/")[2]
    return last.rpartition(":")[2] if ":" in last else "latest"


def default_probe(probe: Object) -> None:
    fill(probe, "timeoutSeconds", 1)
    fill(probe, "periodSeconds", 10)
    fill(probe, "successThreshold", 1)
    fill(probe, "failureThreshold", 3)
    default_action(probe)
    if probe.get("grpc") is not None:
        probe["grpc"].setdefault("service", "")


def default_action(action: Any) -> None:
    if isinstance(action, dict) and action.get("httpGet") is not None:
        fill(action["httpGet"], "path", "/")
        fill(action["httpGet"], "scheme", "HTTP")


def default_field_source(source: Any) -> None:
    """Fill a ``valueFrom`` or a downward API item."""
    if not isinstance(source, dict):
        return
    if source.get("fieldRef") is not None:
        fill(source["fieldRef"], "apiVersion", "v1")
    if source.get("resourceFieldRef") is not None:
        source["resourceFieldRef"].setdefault("divisor", "0")
    if source.get("fileKeyRef") is not None:
        source["fileKeyRef"].setdefault("optional", False)


def default_volume(volume: Object) -> None:
    """Fill a volume of a pod; one that says nothing is an empty directory."""
    given = [key for key in volume if key != "name"]
    if not given:
        volume["emptyDir"] = {}
    for kind in given:
        source = volume[kind]
        if isinstance(source, dict):
            default_source(kind, source)


def default_source(kind: str, source: Object) -> None:
    """Fill what is behind a volume, of a pod or persistent."""
    for key, value in SOURCE_DEFAULTS.get(kind, ()):
        source.setdefault(key, value)
    if kind == "downwardAPI":
        for item in source.get("items") or ():
            default_field_source(item)
    elif kind == "image":
        if not source.get("pullPolicy"):
            source["pullPolicy"] = pull_policy(source.get("reference") or "")
    elif kind == "projected":
        for part in source.get("sources") or ():
            if part.get("serviceAccountToken") is not None:
                part["serviceAccountToken"].setdefault("expirationSeconds", 3600)
            if part.get("podCertificate") is not None:
                part["podCertificate"].setdefault("maxExpirationSeconds", 86400)
            for item in items(part, "downwardAPI", "items"):
                default_field_source(item)
    elif kind == "ephemeral":
        template = source.get("volumeClaimTemplate")
        if isinstance(template, dict):
            default_claim_spec(template.setdefault("spec", {}))
